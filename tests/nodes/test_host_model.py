"""The nodes of the host's models where there is no host, and pictures drawn on latents."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from latent_atelier.nodes.canvases import painted, report
from latent_atelier.nodes.host_model import DenoiserFromModel, LangevinSampler
from latent_atelier.nodes.langevin import LangevinExtend, LangevinPanorama
from latent_atelier.nodes.prior_model import PriorModel
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.presets import Preset
from latent_atelier.pipelines.langevin.prior import PriorSettings
from latent_atelier.runtime.comfy_denoiser import HostPrior

QUICK = Preset(PriorSettings(sweeps=6, sigma_max=1, inversion=Inversion("picard", 2)), start=16)


class Halves:
    """A codec whose canvas has half the pictures' sides and four channels, the last one unused."""

    scale, colours = 2, 3

    def encode(self, pictures, wrap):
        found = torch.nn.functional.avg_pool2d(pictures, 2)
        return torch.cat([found, found[:, :1]], dim=1)

    def decode(self, canvas, wrap):
        return canvas[:, :3].repeat_interleave(2, 2).repeat_interleave(2, 3)

    def preview(self, canvas):
        return canvas[:, :3]


class Flat:
    """The exact denoiser of white latents of a mean and the deviation 0.1."""

    sigma_data = 0.1

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, x, sigma, view=None):
        return self.value + 0.01 / (0.01 + sigma**2) * (x - self.value)


def model(value: float = 0.5) -> PriorModel:
    return PriorModel("flat", 4, (8, 8), 8, torch.device("cpu"), lambda body: body(Flat(value)), codec=Halves())


def test_without_the_host_they_say_so() -> None:
    with pytest.raises(InvalidInputError, match=r"Denoiser from Model works with the models that ComfyUI loads.*--server"):
        DenoiserFromModel.execute(None, [], [], None, 7.0, 512, 4)
    with pytest.raises(InvalidInputError, match="Langevin Sampler"):
        LangevinSampler.execute(QUICK, 512, False, False, 4)


def test_a_panorama_on_latents() -> None:
    image, text = LangevinPanorama.execute(model(), QUICK, 45, 17, False, False, 2, 0).args
    assert image.shape == (2, 17, 45, 3)
    assert image.mean() == pytest.approx(0.75, abs=0.02)
    assert "6 sweeps" in text
    with pytest.raises(InvalidInputError, match="A side that wraps is a multiple of 2 pixels"):
        LangevinPanorama.execute(model(), QUICK, 45, 18, True, False, 1, 0)


def test_what_is_given_stays_pixel_for_pixel() -> None:
    given = torch.rand(1, 20, 21, 3, generator=torch.Generator().manual_seed(0))
    image, added, _ = LangevinExtend.execute(model(), QUICK, given, 3, 0, 15, 0, False, 0).args
    assert image.shape == (1, 20, 39, 3)
    assert torch.allclose(image[:, :, 3:24], given, atol=1e-6)
    assert image[:, :, 28:].mean() == pytest.approx(0.75, abs=0.02)
    assert added.sum() == 20 * 18


def test_inpainting_on_latents() -> None:
    start = torch.full((1, 3, 16, 32), -0.5)
    mask = torch.zeros(1, 16, 32)
    mask[..., :16] = 1
    found, _ = painted(model(), QUICK, start, wrap=(False, False), seed=0, known=(start, mask))
    assert torch.equal(found[..., :16], start[..., :16])
    assert found[..., 16:].mean() == pytest.approx(0.5, abs=0.04)


def test_crops_of_the_hosts_models_shrink_with_the_canvas() -> None:
    prior = HostPrior(SimpleNamespace(model_size=lambda: 2**31), [], [], 1.0, (64, 64))
    found = PriorModel("sd", 4, (64, 64), 8, torch.device("cpu"), lambda body: None, codec=Halves(), host=prior)
    assert found.crop_on((32, 200)) == (32, 64)
    assert found.crop_on((70, 45)) == (64, 40)
    assert model().crop_on((4, 4)) == (8, 8)
    done = painted(model(), QUICK, torch.zeros(1, 3, 16, 16), wrap=(False, False), seed=0)[1]
    costly = Preset(PriorSettings(sweeps=1, inversion=Inversion("backprop")))
    assert "a second copy of it was loaded (2.0 GB)" in report(done, found, costly)
    assert "copy" not in report(done, found, QUICK)
