"""EDM's network pickles become safetensors that denoise the same; what is none of them is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.convert import convert
from latent_atelier.checkpoints.errors import LayoutError
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.pipelines.langevin.preconditioning import NetworkPrior, build_prior
from latent_atelier.pipelines.langevin.samplers import karras_levels, sample_heun
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator
from network_pickle import write_network_pickle

CASES = {
    "edm": {"network": "song", "sigma_data": 0.4, "labels": 3, "width": 8},
    "vp": {"network": "song", "width": 8, "augment": 9},
    "ve": {"network": "song", "width": 8, "embedding": "fourier", "noise_multiplier": 2, "encoder": "residual",
           "taps": [1, 3, 3, 1]},
    "iddpm": {"network": "adm", "width": 64, "labels": 3, "embedding_multiplier": 1},
}


def network(kind: str) -> NetworkPrior:
    torch.manual_seed(4)
    found = build_prior(preconditioning=kind, resolution=16, channels=3, multipliers=[1, 2], blocks=1, attention=[8],
                        **CASES[kind])
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return found.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", CASES)
def test_network_pickles(tmp_path: Path, kind: str) -> None:
    original = network(kind)
    source = write_network_pickle(tmp_path / "edm.pkl", ema=original)
    info = convert(source, tmp_path / "net.safetensors", license="CC BY-NC-SA 4.0")
    assert (info.architecture, info.license) == ("edm-denoiser", "CC BY-NC-SA 4.0")
    assert (info.config["preconditioning"], info.config["sigma_data"]) == (kind, CASES[kind].get("sigma_data", 0.5))
    loaded = load_checkpoint(tmp_path / "net.safetensors").module
    assert isinstance(loaded, type(original))
    x, sigma = torch.randn(2, 3, 16, 16), torch.tensor([0.05, 3.0])
    labels = torch.randn(2, 3) if original.label_dim else None
    assert torch.equal(loaded(x, sigma, labels), original(x, sigma, labels))
    levels = karras_levels(3, low=0.02, high=9.0, round_sigma=loaded.round_sigma)
    drawn = [sample_heun(lambda x, s, n=n: n(x, s, labels), x, levels) for n in (loaded, original)]
    assert torch.equal(*drawn)


def test_another_network_as_average_is_refused(tmp_path: Path) -> None:
    source = write_network_pickle(tmp_path / "other.pkl", ema=Discriminator(c_dim=0, resolution=8, channels={4: 8, 8: 8}))
    with pytest.raises(LayoutError, match="'Discriminator', expected one of EDMPrecond"):
        convert(source, tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()
