"""Noise of an object's views that stays: by direction, by level, near photographs and elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest
import torch
from latent_atelier.pipelines.langevin.fields.cameras import Cameras, joined, orbit
from latent_atelier.pipelines.langevin.fields.direction_noise import COARSE_SHARE, OPEN, DirectionNoise, weights
from latent_atelier.pipelines.langevin.fields.field_prior import PRIOR
from latent_atelier.pipelines.langevin.fields.photograph_noise import NoisyPhotographs
from latent_atelier.pipelines.langevin.noise import NoiseSource, ViewNoise, coarse, with_coarse
from latent_atelier.pipelines.langevin.prior import run_prior
from latent_atelier.pipelines.langevin.seeds import seeded_normal
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")
PHOTOGRAPH, BEHIND = orbit([30.0], 20.0), orbit([210.0], -20.0)
THEIRS = NoisyPhotographs(torch.zeros(1, 3, 16, 16), seeded_normal((1, 3, 16, 16), 77), PHOTOGRAPH)
LIKE, DEVIATION = torch.zeros(1, 3, 16, 16), 0.5
ABOVE_ALL = 1e6
"""A level at which all of the noise stays."""


def drawn(draw: int, view: Cameras, sigmas: list[float], seeds: int = 300, photographs: NoisyPhotographs = THEIRS) -> Tensor:
    """Of many seeds, [seeds,3,16,16]."""
    return torch.cat([DirectionNoise(seed, sigmas, DEVIATION, photographs)(draw, LIKE, view) for seed in range(seeds)])


def alike(one: Tensor, two: Tensor) -> float:
    """Correlation of numbers around 0."""
    return float((one * two).mean() / (one.square().mean() * two.square().mean()).sqrt())


def test_coarse_numbers_of_pictures_can_be_exchanged() -> None:
    """Parts of 5, 4, 5 and 4 rows."""
    x, wanted = seeded_normal((500, 3, 18, 16), 1), seeded_normal((500, 3, 16), 2)
    numbers = coarse(x, 4)
    assert torch.allclose(numbers[:, :, 5], x[:, :, 5:9, 4:8].sum(dim=(2, 3)) / 4, atol=1e-5)
    assert abs(float(numbers.std()) - 1) < 0.02
    found = with_coarse(x, wanted, 4)
    assert torch.allclose(coarse(found, 4), wanted, atol=1e-5)
    assert torch.allclose(with_coarse(found, numbers, 4), x, atol=1e-5)
    assert abs(float(found.std()) - 1) < 0.01
    assert coarse(torch.ones(1, 1, 2, 3), 4).shape == (1, 1, 6)


def test_directions_are_alike_by_the_angle_between_them() -> None:
    """Whatever the distance, and wherever on the sphere: the closed form, of evenly spread directions without end."""
    for azimuth in (0.0, 77.0, 200.0):
        for elevation in (-20.0, 10.0, 60.0):
            one = orbit([azimuth], elevation, 3.0)
            others = joined([orbit([azimuth + turn for turn in range(0, 360, 15)], up, 9.0) for up in (-30.0, 0.0, 30.0, 80.0)])
            angle = torch.nn.functional.cosine_similarity(one.positions, others.positions).clamp(-1, 1).acos()
            h = (angle / 2).cos().clamp_min(1e-4)
            exact = torch.sinh(8 * h) / h / math.sinh(8)
            assert torch.allclose(weights(one)[0] @ weights(others).mT, exact, atol=0.02)


def test_far_from_photographs_every_view_alone_sees_standard_normal_noise() -> None:
    for level in (0.01, 1.0, ABOVE_ALL):
        for draw in (0, 1):
            found = drawn(draw, BEHIND, [level])
            assert abs(float(found.mean())) < 0.02
            assert abs(float(found.std()) - 1) < 0.02
            assert abs(alike(found[..., 1:], found[..., :-1])) < 0.02
            assert abs(float(coarse(found, 4).std()) - 1) < 0.03


def test_what_stays_grows_with_the_level_and_the_churn_changes() -> None:
    """The correlation of two sweeps is the product of their c = sigma / sqrt(sigma^2 + v), times what is left open."""
    sigmas = [ABOVE_ALL, 2.0, 0.5, 0.01]
    variance = COARSE_SHARE * 16 * DEVIATION**2
    shares = [sigma / math.sqrt(sigma**2 + variance) for sigma in sigmas]
    numbers = [coarse(drawn(2 * sweep, BEHIND, sigmas), 4) for sweep in range(4)]
    for i in range(4):
        for j in range(i):
            assert alike(numbers[i], numbers[j]) == pytest.approx(OPEN * shares[i] * shares[j], abs=0.03)
    churn = [coarse(drawn(2 * sweep + 1, BEHIND, sigmas), 4) for sweep in range(2)]
    assert abs(alike(*churn)) < 0.03
    assert abs(alike(churn[0], numbers[0])) < 0.03
    fine = [drawn(2 * sweep, BEHIND, [ABOVE_ALL] * 2, 20) for sweep in range(2)]
    fine = [with_coarse(x, torch.zeros(3, 16), 4) for x in fine]
    assert abs(alike(*fine)) < 0.03


def test_near_a_photograph_its_own_noise_stays_and_elsewhere_the_seed_decides() -> None:
    own, other = coarse(THEIRS.noise, 4), NoisyPhotographs(THEIRS.noisy, -THEIRS.noise, BEHIND)
    assert torch.allclose(coarse(drawn(0, PHOTOGRAPH, [ABOVE_ALL], 3), 4), own.expand(3, -1, -1), atol=1e-4)
    beside = coarse(drawn(0, orbit([70.0], 20.0), [ABOVE_ALL]), 4)
    assert 0.5 < float((beside.mean(dim=0) * own).mean() / own.square().mean()) < 0.8
    assert float(coarse(drawn(0, BEHIND, [ABOVE_ALL]), 4).mean(dim=0).abs().mean()) < 0.1
    both = NoisyPhotographs(torch.cat([THEIRS.noisy, other.noisy]), torch.cat([THEIRS.noise, other.noise]),
                            joined([PHOTOGRAPH, BEHIND]))
    seen = joined([PHOTOGRAPH, BEHIND])
    found = coarse(DirectionNoise(1, [ABOVE_ALL], DEVIATION, both)(0, LIKE.expand(2, -1, -1, -1), seen), 4)
    assert torch.allclose(found, torch.cat([own, -own]), atol=1e-4)


@dataclass
class Slow:
    """Pictures, seen from behind, that go a part of the way to their targets."""

    pictures: Tensor
    pace: float
    share = 1.0

    def views(self, sweep: int) -> Iterable[Cameras]:
        return [BEHIND]

    def render(self, view: Cameras) -> Tensor:
        return self.pictures

    def update(self, view: Cameras, target: Tensor) -> None:
        self.pictures = torch.lerp(self.pictures, target, self.pace)

    def finish(self) -> float:
        return 0.0

    def preview(self) -> Tensor:
        return self.pictures


class Gaussian:
    """The exact denoiser of pictures whose coarse numbers have a variance, and which have nothing else."""

    sigma_data, variance = DEVIATION, COARSE_SHARE * 16 * DEVIATION**2

    def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
        return with_coarse(torch.zeros_like(x), self.variance / (self.variance + sigma**2) * coarse(x, 4), 4)


def variance(pace: float, sweeps: int, noise: Callable[[list[float]], NoiseSource]) -> float:
    """Of the coarse numbers of what a pace leads to, over many channels, as a share of the prior's."""
    settings, followed = replace(PRIOR, sweeps=sweeps, sigma_max=12.0, tau=0.0), Slow(torch.zeros(1, 150, 16, 16), pace)
    sigmas = settings.sigmas(DEVIATION)
    run_prior(followed, Gaussian(), settings, noise(sigmas), sigmas=sigmas)
    return float(coarse(followed.pictures, 4).square().mean()) / Gaussian.variance


@pytest.mark.parametrize(("pace", "sweeps", "within"), [(0.3, 64, 0.3), (0.1, 320, 0.3), (0.2, 320, 0.15)])
def test_what_follows_slowly_has_the_variance_left_open_of_a_gaussian_prior(pace: float, sweeps: int, within: float) -> None:
    """As well as the level falls more slowly; noise that changes averages out, noise that stays as it is drives far beyond."""
    photograph = NoisyPhotographs(torch.zeros(1, 150, 16, 16), seeded_normal((1, 150, 16, 16), 77), PHOTOGRAPH)
    found = variance(pace, sweeps, lambda sigmas: DirectionNoise(1, sigmas, DEVIATION, photograph))
    assert found / OPEN == pytest.approx(1, abs=within)
    assert variance(pace, sweeps, lambda _: ViewNoise(1)) < 0.5
    assert variance(pace, sweeps, lambda _: ViewNoise(1, lasting=sweeps)) > 3
