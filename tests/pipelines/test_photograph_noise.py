"""Photographs carried to a noise level, and what a denoiser makes of them from elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.demo.models import WEIGHTS
from latent_atelier.demo.objects import make_object
from latent_atelier.pipelines.langevin.denoiser import NetworkDenoiser
from latent_atelier.pipelines.langevin.fields.cameras import Cameras, joined, orbit
from latent_atelier.pipelines.langevin.fields.photograph_noise import FLOW, framed, nearest, noisy_photographs
from latent_atelier.pipelines.langevin.seeds import seeded_normal
from shots import shots
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")


class ByAzimuth:
    """A Gaussian prior of variance sigma_data^2 around a mean that is the camera's azimuth over 360."""

    sigma_data = 0.5

    def mean(self, cameras: Cameras) -> Tensor:
        return (cameras.azimuth / 360)[:, None, None, None]

    def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
        assert isinstance(view, Cameras)
        share = self.sigma_data**2 / (self.sigma_data**2 + sigma**2)
        return share * x + (1 - share) * self.mean(view)


def test_the_flow_of_a_gaussian_is_known() -> None:
    """It scales what differs from the mean by the ratio of the deviations; the mean is the photograph's own camera's."""
    prior, cameras, level = ByAzimuth(), orbit([-60.0, 120.0]), 4.0
    pictures = torch.stack([seeded_normal((3, 8, 8), 1, i) for i in range(2)])
    found = noisy_photographs(pictures, cameras, level, prior, size=(8, 8))
    away, began = (x - prior.mean(cameras) for x in (found, pictures))
    scale = float((away * began).sum() / began.square().sum())
    assert float((away - scale * began).square().mean().sqrt()) < 0.02 * scale  # but for the little noise it starts from
    exact = math.sqrt((prior.sigma_data**2 + level**2) / prior.sigma_data**2)
    assert 0.85 * exact < scale < exact  # twelve steps of Euler's fall short


def test_each_photograph_is_carried_alone_and_in_the_size_of_the_views() -> None:
    prior, cameras = ByAzimuth(), orbit([0.0, 90.0, 180.0])
    colours = seeded_normal((3, 3), 2)[:, :, None, None]
    large, done = colours.expand(-1, -1, 20, 20), []
    found = noisy_photographs(large, cameras, 2.0, prior, size=(8, 8), seed=3, check=lambda: done.append(None))
    assert len(done) == 3 * FLOW.calls
    assert torch.equal(found[:1], noisy_photographs(large[:1], cameras[0], 2.0, prior, size=(8, 8), seed=3))
    assert torch.allclose(found, noisy_photographs(colours.expand(-1, -1, 8, 8), cameras, 2.0, prior, size=(8, 8), seed=3))
    assert not torch.equal(found, noisy_photographs(large, cameras, 2.0, prior, size=(8, 8), seed=4))


@pytest.mark.parametrize("size", [64, 32])
@pytest.mark.parametrize("width", [40, 64, 96])
def test_a_photograph_of_another_shape_keeps_its_proportions(width: int, size: int) -> None:
    """Pictures of the directions in which pixels look: those of the camera in the other size, as far as they were taken."""
    camera = orbit([30.0], 20.0)
    taken, wanted = (camera.rays(h, w)[1].permute(0, 3, 1, 2) for h, w in ((64, width), (size, size)))
    found = framed(taken, (size, size))
    margin = max(0, size * (64 - width) // 128)
    inner = slice(margin + 1, size - margin - 1)
    assert found.shape == wanted.shape
    assert torch.allclose(found[:, :, 1:-1, inner], wanted[:, :, 1:-1, inner], atol=1e-4)
    assert torch.equal(found[..., :margin], found[..., margin:margin + 1].expand(-1, -1, -1, margin))


def test_a_view_goes_by_the_photograph_from_its_own_side() -> None:
    cameras = joined([orbit([0.0], 20.0, 3.0), orbit([120.0], 20.0, 9.0), orbit([240.0], 20.0, 1.5), orbit([240.0], 80.0)])
    views = orbit([10.0, 100.0, 350.0, 230.0, 230.0], [0.0, 40.0, 20.0, 10.0, 75.0])
    assert nearest(views, cameras).tolist() == [0, 1, 0, 2, 3]


@pytest.mark.parametrize(("kind", "gain"), [("tree", 4.0), ("car", 0.5), ("house", 0.0)])
def test_the_shipped_denoiser_sees_the_photographed_object_from_elsewhere(kind: str, gain: float) -> None:
    """At a level where noise alone is the mean of all objects: decibels against the renderer, from five other sides, gained by
    the noise of the photograph over noise of anything else. Trees look alike from all sides, houses do not."""
    network = load_checkpoint(WEIGHTS / "denoisers" / "objects_64.safetensors").module
    denoiser = NetworkDenoiser(network, sigma_data=network.sigma_data, label=network.labels.condition(kind))
    camera, elsewhere, level = orbit([30.0], 20.0), orbit([60.0, 120.0, 180.0, 240.0, 300.0], 20.0), 6.0
    gained: list[float] = []
    with torch.no_grad():
        for number in range(4):
            body = make_object(kind, (8600, number))
            photograph, truth = (shots(body, cameras, 64)[0] * 2 - 1 for cameras in (camera, elsewhere))
            own = noisy_photographs(photograph, camera, level, denoiser, size=(64, 64)).expand(5, -1, -1, -1)
            other = level * torch.stack([seeded_normal((3, 64, 64), 5, number, i) for i in range(5)])
            mistakes = [(denoiser(x, level, elsewhere) - truth).square().flatten(1).mean(dim=1).log10() for x in (other, own)]
            gained.append(10 * float((mistakes[0] - mistakes[1]).mean()))
    assert sum(gained) / 4 > gain, gained
