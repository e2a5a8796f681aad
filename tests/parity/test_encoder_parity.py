"""The published encoders and the recognition network give the official numbers."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from latent_atelier.pipelines.editgan.style_encoders import PyramidEncoder, StyleEncoder, embedder, restyle
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.ir_se import FaceIdentity
from latent_atelier.pipelines.stylegan2.generator import Generator
from torch import nn


def recipe(facts: dict) -> dict[str, torch.Tensor]:
    """The weights that a fixture describes: seeded normal numbers n under one of four rules per tensor."""
    state = {}
    for key, (shape, rule) in facts["params"].items():
        seed = (zlib.crc32(key.encode()) + facts["seed"]) % 2**32
        n = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
        if rule == "n/sqrt(fan_in)":
            value = n / np.float32(math.sqrt(math.prod(shape[1:])))
        elif rule == "exp(0.2n)":
            value = np.exp(np.float32(0.2) * n)
        else:
            offset, _, factor = rule.rpartition("+")
            value = np.float32(offset or 0) + np.float32(factor.rstrip("n")) * n
        state[key] = torch.from_numpy(value)
    return state


def loaded(module: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    result = module.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert {key.rpartition(".")[2] for key in result.missing_keys} <= {"num_batches_tracked", "w_avg"}
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize(("name", "form"), [
    ("psp_gradual", {}), ("e4e", {"progressive": True}), ("restyle_psp_backbone", {"pyramid": False, "in_channels": 6}),
    ("restyle_e4e_backbone", {"pyramid": False, "in_channels": 6, "progressive": True})])
def test_style_encoders(optional_fixture, name: str, form: dict) -> None:
    f = optional_fixture(f"encoder_{name}")
    encoder = loaded(StyleEncoder(num_ws=14, **form), recipe(f.facts))
    f.match("output", encoder.offsets(f.tensors["input"].float()))


def test_identity(optional_fixture) -> None:
    f = optional_fixture("encoder_arcface_ir_se50")
    f.match("output", loaded(FaceIdentity(), recipe(f.facts)).embed(f.tensors["input"].float()))


def test_editgan_encoder_at_full_width(optional_fixture) -> None:
    f = optional_fixture("encoder_editgan_fpn")
    f.match("output", loaded(PyramidEncoder(num_ws=14), recipe(f.facts))(f.tensors["input"].float()))


def test_editgan_encoder_at_reduced_width(fixture) -> None:
    f = fixture("encoder")
    encoder = PyramidEncoder(num_ws=10, w_dim=16, width=2, features=16)
    encoder.load_state_dict(f.state(), strict=True)
    encoder.eval().requires_grad_(False)
    f.match("out.wplus", encoder(f.tensors["in.x"]))
    for name, level in zip(("p4", "p3", "p2"), encoder.FPN_module(f.tensors["in.x"]), strict=True):
        f.match(f"out.{name}", level[:1])


def small(**options: object) -> tuple[StyleEncoder, Generator]:
    torch.manual_seed(4)
    encoder = StyleEncoder(num_ws=6, w_dim=8, width=16, pyramid=False, in_channels=6, **options).eval().requires_grad_(False)
    encoder.w_avg.normal_()
    generator = Generator(z_dim=8, c_dim=0, w_dim=8, resolution=16, channels={4: 8, 8: 8, 16: 8}, mapping_layers=2)
    return encoder, generator.eval().requires_grad_(False)


def test_restyle_improves_on_what_it_sees() -> None:
    """Each step adds what the network gives for the picture beside the reconstruction of the codes before."""
    encoder, generator = small(rows=[32, 224])
    images = torch.randn(2, 3, 16, 16).clamp(-1, 1)
    codes = encoder.w_avg.expand(2, -1, -1)
    for steps in (1, 2, 3):
        seen = torch.cat([images, generator.synthesis(codes)[0]], dim=1)
        codes = codes + encoder.offsets(nn.functional.interpolate(seen, (256, 256), mode="area")[:, :, 32:224])
        assert torch.allclose(restyle(encoder, generator, images, steps=steps), codes, atol=1e-5)
    assert torch.equal(embedder(encoder, generator)(images), restyle(encoder, generator, images))


def test_an_encoder_of_another_generator_is_refused() -> None:
    encoder, _ = small()
    other = Generator(z_dim=8, c_dim=0, w_dim=8, resolution=8, channels={4: 8, 8: 8}, mapping_layers=2)
    with pytest.raises(InvalidInputError, match=r"codes \[6, 8\], the generator takes \[4, 8\]"):
        embedder(encoder, other)


def test_identity_looks_at_the_face_alone() -> None:
    torch.manual_seed(0)
    network = FaceIdentity(width=16, embedding=8, size=32).eval().requires_grad_(False)
    images = torch.rand(2, 3, 512, 512) * 2 - 1
    around = images.clone()
    around[:, :, :70] = 0
    around[:, :, :, 440:] = 0
    vectors = network(images)
    assert torch.allclose(vectors.square().sum(dim=1), torch.ones(2), atol=1e-5)
    assert torch.equal(network(around), vectors)
    around[:, :, 70:] = 0
    assert not torch.allclose(network(around), vectors, atol=1e-3)
