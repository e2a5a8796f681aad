"""Networks of every parameterisation as denoisers, against the closed form of Gaussian data."""

from __future__ import annotations

import math

import pytest
import torch
from latent_atelier.pipelines.langevin.coordinates import Converted, Coordinates
from latent_atelier.pipelines.langevin.denoiser import Region, Regions, View, levels_known
from latent_atelier.pipelines.langevin.joint import tile_sigmas
from latent_atelier.pipelines.langevin.prior import PriorSettings
from torch import Tensor

VARIANCE, MEAN = 0.7, 0.4


def exact(x: Tensor, sigma: float) -> Tensor:
    """D for data of N(MEAN, VARIANCE)."""
    return MEAN + VARIANCE / (VARIANCE + sigma**2) * (x - MEAN)


def eps(x: Tensor, sigma: float, _: View | None) -> Tensor:
    """A network trained on x / sqrt(sigma^2 + 1) to give the noise: the regression E[n | x]."""
    scaled = x / math.sqrt(sigma**2 + 1)
    noise = (scaled * math.sqrt(sigma**2 + 1) - MEAN) * sigma / (VARIANCE + sigma**2)
    return x - sigma * noise


def velocity(x: Tensor, sigma: float, _: View | None) -> Tensor:
    """One trained to give v = (n - sigma x0) / sqrt(sigma^2 + 1)."""
    root = math.sqrt(sigma**2 + 1)
    noise = (x - MEAN) * sigma / (VARIANCE + sigma**2)
    return x / root**2 - sigma / root * (noise - sigma * exact(x, sigma)) / root


def flow(scale: float):
    def predict(state: Tensor, level: float, _: View | None) -> Tensor:
        """One trained on (1 - t) x0 + t scale n to give scale n - x0: the joint Gaussian's regression, on the state itself."""
        spread = (1 - level) ** 2 * VARIANCE + level**2 * scale**2
        centred = state - (1 - level) * MEAN
        noise, data = level * scale**2 / spread * centred, MEAN + (1 - level) * VARIANCE / spread * centred
        return state - level * (noise - data)
    return predict


@pytest.mark.parametrize(("predict", "coordinates"), [
    (eps, Coordinates()), (velocity, Coordinates()), (flow(1), Coordinates(1.0)), (flow(2.5), Coordinates(2.5)),
], ids=["eps", "v", "flow", "loud flow"])
def test_every_parameterisation_is_exact(predict, coordinates: Coordinates) -> None:
    denoiser = Converted(predict, coordinates, sigma_data=0.8, sigma_min=0.01, sigma_max=200)
    rng = torch.Generator().manual_seed(0)
    for sigma in (0.01, 0.05, 0.3, 1.0, 4.0, 14.6, 200.0):
        x = MEAN + math.sqrt(VARIANCE + sigma**2) * torch.randn(2, 4, 5, 5, generator=rng, dtype=torch.float64)
        assert torch.allclose(denoiser(x, sigma), exact(x, sigma), rtol=1e-9, atol=1e-9)


def test_levels_there_and_back() -> None:
    for scale in (1.0, 3.0):
        kind = Coordinates(scale)
        assert [kind.sigma(kind.level(sigma)) for sigma in (0.02, 1.0, 80.0)] == pytest.approx([0.02, 1, 80])
        assert kind.level(0) == 0
        assert kind.sigma(1.0) == math.inf


def test_beyond_the_levels_that_a_network_knows() -> None:
    """Below, the score stays; above, what is asked is what is known, scaled to its deviation."""
    asked = []

    def predict(x: Tensor, sigma: float, _: View | None) -> Tensor:
        asked.append((sigma, float(x.std())))
        return exact(x, sigma)

    denoiser = Converted(predict, Coordinates(), sigma_data=1, sigma_min=0.03, sigma_max=15)
    x = MEAN + torch.randn(1, 4, 40, 40, generator=torch.Generator().manual_seed(0))
    assert (denoiser(x, 0.01) - exact(x, 0.01)).abs().max() < 1e-2 * (x - exact(x, 0.01)).abs().max()
    denoiser(40 * x, 40.0)
    assert [level for level, _ in asked] == [0.03, 15]
    assert asked[1][1] == pytest.approx(15, rel=0.05)


def test_schedules_keep_within_the_levels() -> None:
    denoiser = Converted(eps, Coordinates(), sigma_data=1, sigma_min=0.03, sigma_max=15)
    assert levels_known(denoiser) == (0.03, 15)
    assert levels_known(Regions(denoiser, [Region(denoiser, torch.ones(1, 4, 4))])) == (0.03, 15)
    sigmas = PriorSettings(9, sigma_max=100, sigma_min=0.001).sigmas(1, bounds=levels_known(denoiser))
    assert (sigmas[0], sigmas[-1]) == pytest.approx((15, 0.03))
    tiles = tile_sigmas(8, 1, bounds=levels_known(denoiser))
    assert (tiles[0], tiles[-2], tiles[-1]) == pytest.approx((15, 0.03, 0))
    assert PriorSettings(9).sigmas(1) == PriorSettings(9).sigmas(1, bounds=(0, math.inf))
