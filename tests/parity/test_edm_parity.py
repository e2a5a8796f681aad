"""EDM's networks, preconditionings, losses and sampler give the official numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from latent_atelier.pipelines.langevin.edm_network import DhariwalUNet, SongUNet, UNetShape
from latent_atelier.pipelines.langevin.losses import denoising_loss, edm_levels, edm_weight, ve_levels, vp_levels
from latent_atelier.pipelines.langevin.preconditioning import PRECONDITIONINGS, NetworkPrior
from latent_atelier.pipelines.langevin.samplers import Churn, karras_levels, sample_heun
from safetensors.torch import load_file
from torch import Tensor

COMMITTED = Path(__file__).parents[1] / "parity_data" / "langevin"
SHARED = Path(os.environ.get("ATELIER_PARITY", Path(__file__).parents[3] / "shared" / "parity")) / "langevin"
CASES = ("edm_ddpmpp", "edm_ncsnpp", "vp_ddpmpp", "ve_ncsnpp", "iddpm_adm", "edm_adm")
KINDS = {"EDMPrecond": "edm", "VPPrecond": "vp", "VEPrecond": "ve", "iDDPMPrecond": "iddpm"}
TOLERANCE = 1e-5
"""Largest error in units of the largest value; the fixtures' own is ten times as much."""

Case = tuple[dict[str, Any], dict[str, Tensor], NetworkPrior]


@pytest.fixture(params=[f"{where}-{name}" for where in ("committed", "full") for name in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    where, name = request.param.split("-")
    folder = COMMITTED if where == "committed" else SHARED
    if not (folder / f"{name}.safetensors").is_file():
        pytest.skip("this fixture is not here; the others are compared")
    facts, tensors = json.loads((folder / f"{name}.json").read_text()), load_file(folder / f"{name}.safetensors")
    network = official_network(facts)
    network.load_state_dict({k[3:]: v for k, v in tensors.items() if k.startswith("sd.")}, strict=True)
    return facts, tensors, network.eval().requires_grad_(False)


def official_network(facts: dict[str, Any]) -> NetworkPrior:
    """From the official constructor arguments."""
    a, kind = facts["kwargs"], PRECONDITIONINGS[KINDS[facts["precond"]]]
    channels = a["img_channels"]
    shape = UNetShape(a["img_resolution"], channels, channels * (2 if kind.doubled else 1), labels=a["label_dim"],
                      augment=a.get("augment_dim", 0), width=a["model_channels"], multipliers=a["channel_mult"],
                      blocks=a["num_blocks"], attention=a["attn_resolutions"])
    if a["model_type"] == "DhariwalUNet":
        return kind(DhariwalUNet(shape))
    return kind(SongUNet(shape, embedding=a["embedding_type"], noise_multiplier=a["channel_mult_noise"],
                         encoder=a["encoder_type"], decoder=a["decoder_type"], taps=a["resample_filter"]))


def close(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert found.shape == expected.shape
    error = float((found.double() - expected.double()).abs().max())
    assert error <= tolerance * float(expected.abs().max()), error


def test_denoiser(case: Case) -> None:
    _, t, network = case
    labels = t.get("labels")
    close(network(t["x"], t["sigma"], labels), t["D"])
    if "D_nolabel" in t:
        close(network(t["x"], t["sigma"]), t["D_nolabel"])
    if "D_aug" in t:
        close(network(t["x"], t["sigma"], labels, t["augment_labels"]), t["D_aug"])


def test_gradient(case: Case) -> None:
    _, t, network = case
    x = t["x"].clone().requires_grad_(True)
    gradient, = torch.autograd.grad((network(x, t["sigma"], t.get("labels")) * t["vjp_v"]).sum(), x)
    close(gradient, t["vjp_grad"])


def test_levels(case: Case) -> None:
    facts, t, network = case
    torch.testing.assert_close(network.round_sigma(t["round_sigma_in"]), t["round_sigma_out"], rtol=0, atol=0)
    assert network.sigma_min == pytest.approx(facts["sigma_min"], rel=1e-6)
    assert min(network.sigma_max, 1e9) == pytest.approx(facts["sigma_max"], rel=1e-6)
    if "sd.u" in t:
        torch.testing.assert_close(type(network)(network.model).u, t["sd.u"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["edm", "vp", "ve"])
def test_losses(case: Case, kind: str) -> None:
    facts, t, network = case
    random = t[f"loss.{kind}.rnd"].flatten()
    sigma = {"edm": edm_levels, "vp": vp_levels, "ve": ve_levels}[kind](random)
    weight = edm_weight(sigma, 0.5) if kind == "edm" else 1 / sigma.square()
    found = denoising_loss(network, t["loss.y"], sigma, t[f"loss.{kind}.unit_noise"], weight, t.get("labels"))
    close(found, t[f"loss.{kind}.per_sample_mean"], 2e-5)
    assert float(found.mean()) == pytest.approx(facts["loss"][kind], rel=2e-5)


def sampled(network: NetworkPrior, t: dict[str, Tensor], steps: int, churn: Churn | None = None) -> Tensor:
    levels = karras_levels(steps, low=max(0.002, network.sigma_min), high=min(80.0, network.sigma_max),
                           round_sigma=network.round_sigma)
    labels = t["labels"][:2] if "labels" in t else None
    noise = iter(t["sampler.churn.noise"])
    return sample_heun(lambda x, sigma: network(x, sigma, labels), t["sampler.latents"], levels, churn=churn,
                       noise=lambda _: next(noise), round_sigma=network.round_sigma)


def test_deterministic_sampler(case: Case) -> None:
    facts, t, network = case
    close(sampled(network, t, facts["sampler"]["det"]["num_steps"]), t["sampler.det.out"], 1e-4)


def test_stochastic_sampler(case: Case) -> None:
    facts, t, network = case
    a = facts["sampler"]["churn"]
    found = sampled(network, t, a["num_steps"], Churn(a["S_churn"], a["S_min"], a["S_max"], a["S_noise"]))
    close(found, t["sampler.churn.out"], 1e-4)
