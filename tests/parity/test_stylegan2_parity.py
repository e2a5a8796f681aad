"""Generators and discriminators give the official numbers, forward and gradient."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.rosinality import from_rosinality
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator
from latent_atelier.pipelines.stylegan2.generator import Generator, standard_channels

GRADIENT_TOLERANCE = 2e-5
NEAR_A_KINK = ("ada_generator_resnet", "ada_generator_cond")
"""Fixtures of which one activation lies within rounding of zero, 2e-7 of a deviation of 0.65 in the first."""


def generator(facts: dict, state: dict) -> Generator:
    made = facts.get("constructor")
    if made is None:
        config = facts["config"]
        network = Generator(z_dim=config["z_dim"], c_dim=0, w_dim=config["w_dim"], resolution=64, conv_clamp=1.0,
                            mapping_layers=config["mapping_layers"],
                            channels={int(r): c for r, c in config["channels"].items()})
    else:
        synthesis = made["synthesis_kwargs"]
        network = Generator(z_dim=made["z_dim"], c_dim=made["c_dim"], w_dim=made["w_dim"],
                            resolution=made["img_resolution"], mapping_layers=made["mapping_kwargs"]["num_layers"],
                            architecture=synthesis["architecture"],
                            channels=standard_channels(64, channel_base=synthesis["channel_base"],
                                                       channel_max=synthesis["channel_max"]))
    network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["ada_generator_skip", "ada_generator_resnet", "ada_generator_cond"])
def test_ada_generator(fixture, name: str) -> None:
    f = fixture(name)
    network, t = generator(f.facts, f.state()), f.tensors
    z, c, wplus = t["in.z"], t.get("in.c"), t["in.wplus"]
    f.match("out.ws", network.map(z, c))
    f.match("out.ws_psi0.7", network.map(z, c, psi=0.7))
    f.match("out.ws_psi0.5_cut3", network.map(z, c, psi=0.5, cutoff=3))
    f.match("out.img_psi0.7_const", network(z, c, psi=0.7)[:1])
    f.match("out.img_w_none", network(z, c, noise="none")[:1])
    image, features = network.synthesis(wplus)
    f.match("out.img_wplus_const", image)
    f.match("out.img_wplus_none", network.synthesis(wplus[:1], noise="none")[0])
    layers = ["b4.conv1"] + [f"b{r}.conv{i}" for r in (8, 16, 32, 64) for i in (0, 1)]
    for layer, feature in zip(layers, features[1:], strict=True):
        if f"feat0.{layer}" in t:
            f.match(f"feat0.{layer}", feature[:1])
    near_a_kink = name in NEAR_A_KINK and os.environ["MKL_CBWR"] != "COMPATIBLE"  # see the test below
    for dtype in (torch.float64,) if near_a_kink else (torch.float32, torch.float64):
        codes = wplus[:1].detach().to(dtype, copy=True).requires_grad_(True)
        with torch.enable_grad():
            (network.to(dtype).synthesis(codes, dtype=dtype)[0] * probe(t).to(dtype)).sum().backward()
        f.match("out.grad_wplus", codes.grad, GRADIENT_TOLERANCE)


def test_the_gradient_near_a_kink_in_float32() -> None:
    """An activation lies within rounding of zero, where some sums take the leaky ReLU's other slope. It has a process of its
    own, with MKL's sums that are the same on every processor, too slow for all tests."""
    command = [sys.executable, "-I", "-m", "pytest", "-q", __file__, "-k", "test_ada_generator and (cond or resnet)"]
    done = subprocess.run(command, env=os.environ | {"MKL_CBWR": "COMPATIBLE"}, cwd=Path(__file__).parents[2],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def probe(tensors: dict) -> torch.Tensor:
    return tensors["in.probe" if "in.probe" in tensors else "cotangent"]


@pytest.mark.parametrize("folded", [True, False])
def test_one_picture_without_gradient_takes_a_path_of_its_own(fixture, folded: bool) -> None:
    f = fixture("ada_generator_skip")
    network = generator(f.facts, f.state())
    with torch.set_grad_enabled(not folded):
        alone = network.synthesis(f.tensors["in.wplus"][:1])[0]
    together = network.synthesis(f.tensors["in.wplus"])[0][:1]
    assert float((alone - together).abs().max()) <= 1e-5 * float(together.std())


def test_clamped_generator(fixture) -> None:
    f = fixture("ada_clamp")
    network, t = generator(f.facts, f.state()), f.tensors
    f.match("image_z_const", network(t["z"]))
    f.match("image_z_none", network(t["z"], noise="none"))
    f.match("image_z_psi07_const", network(t["z"], psi=0.7))
    codes = t["wplus"].clone().requires_grad_(True)
    image = network.synthesis(codes)[0]
    f.match("image_wplus_const", image)
    (image * t["cotangent"]).sum().backward()
    f.match("grad_wplus", codes.grad, GRADIENT_TOLERANCE)


def test_rosinality_generator(fixture) -> None:
    f = fixture("rosinality_generator")
    t = f.tensors
    channels = {int(r): c for r, c in f.facts["channels"].items()}
    network = Generator(z_dim=64, c_dim=0, w_dim=64, resolution=64, mapping_layers=4, channels=channels)
    network.load_state_dict(from_rosinality(f.state(), t["latent_avg"]), strict=True)
    network.eval().requires_grad_(False)
    f.match("out.w", network.mapping(t["in.z"]))
    f.match("out.img_z_fixednoise", network(t["in.z"])[:1])
    f.match("out.img_psi0.7", network(t["in.z"], psi=0.7)[:1])
    image, features = network.synthesis(t["in.wplus"])
    f.match("out.img_wplus_buf", image)
    for i, feature in enumerate(features):
        f.match(f"feat0.{i}", feature[:1])
    f.match("out.img_wplus_list", network.synthesis(t["in.wplus"], noise=[t[f"in.noise.{i}"] for i in range(9)])[0])
    f.match("out.img_wplus_zero", network.synthesis(t["in.wplus"][:1], noise="none")[0])
    codes = t["in.wplus"][:1].clone().requires_grad_(True)
    (network.synthesis(codes)[0] * t["in.probe"]).sum().backward()
    f.match("out.grad_wplus", codes.grad, GRADIENT_TOLERANCE)


@pytest.mark.parametrize("name", ["ada_discriminator_skip", "ada_discriminator_resnet", "ada_discriminator_cond"])
def test_ada_discriminator(fixture, name: str) -> None:
    f = fixture(name)
    made, t = f.facts["constructor"], f.tensors
    network = Discriminator(c_dim=made["c_dim"], resolution=64, architecture=made["architecture"],
                            channels=standard_channels(64, channel_base=1024, channel_max=32),
                            mbstd_group_size=made.get("epilogue_kwargs", {}).get("mbstd_group_size", 4))
    network.load_state_dict(f.state(), strict=True)
    images, c = t["in.img"].clone().requires_grad_(True), t.get("in.c")
    logits = network(images, c)
    f.match("out.logits", logits, 2e-5)
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    kinks = 3e-2 if name == "ada_discriminator_resnet" else GRADIENT_TOLERANCE  # see the test below
    f.match("out.grad_img0", gradient[:1], kinks)
    single = torch.cat([network(images[i:i + 1], None if c is None else c[i:i + 1]) for i in range(len(images))])
    f.match("out.logits_single", single, 2e-5)


def test_the_loose_gradient_is_a_kink_of_the_fixture(fixture) -> None:
    """One activation of that fixture lies within rounding of the leaky ReLU's kink, and the official float32 run took
    the other slope: it differs from float64 in one patch, ours does not."""
    f = fixture("ada_discriminator_resnet")
    network = Discriminator(c_dim=0, resolution=64, architecture=f.facts["constructor"]["architecture"],
                            channels=standard_channels(64, channel_base=1024, channel_max=32))
    network.load_state_dict(f.state(), strict=True)
    official = f.tensors["out.grad_img0"]

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        images = f.tensors["in.img"].to(dtype).requires_grad_(True)
        (found,) = torch.autograd.grad(network.to(dtype)(images, dtype=dtype).sum(), images)
        return f.thinned(found[:1]).double()

    single, double = gradient(torch.float32), gradient(torch.float64)
    assert float((single - double).abs().max() / official.std()) < GRADIENT_TOLERANCE
    assert float(((single - official).abs() / official.std()).quantile(0.9)) < GRADIENT_TOLERANCE
