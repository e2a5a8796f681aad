"""The covariance of a one-dimensional canvas under Algorithm 1 with a Gaussian denoiser, propagated exactly.

Everything is linear and Gaussian, and a random offset keeps the covariance circulant; so a sweep maps spectrum to spectrum. The
matrices of a crop's update are read off the engine's own step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from latent_atelier.pipelines.langevin.gaussian import GaussianDenoiser
from latent_atelier.pipelines.langevin.prior import PriorSettings, langevin_step
from torch import Tensor


@dataclass
class Spectrum:
    """Power of the canvas at its frequencies, float64 [N]."""

    power: Tensor

    @classmethod
    def zero(cls, size: int) -> Spectrum:
        return cls(torch.zeros(size, dtype=torch.float64))

    def covariance(self) -> Tensor:
        lags = torch.fft.ifft(self.power).real
        index = torch.arange(len(lags))
        return lags[(index[:, None] - index[None]) % len(lags)]

    @classmethod
    def of(cls, covariance: Tensor) -> Spectrum:
        """The circulant mean of a covariance."""
        size = len(covariance)
        index = torch.arange(size)
        lag = (index[:, None] - index[None]) % size
        lags = torch.zeros(size, dtype=covariance.dtype).index_add_(0, lag.reshape(-1), covariance.reshape(-1)) / size
        return cls(torch.fft.fft(lags).real)


def crop_operators(denoiser: GaussianDenoiser, sigma: float, settings: PriorSettings,
                   share: float = 1.0) -> tuple[Tensor, Tensor]:
    """(A - 1, Q) of x0 <- A x0 + noise of covariance Q for one crop, from the engine's step; share: of the way that is gone."""
    width = denoiser.shape[0]
    unit, zero = torch.eye(width, dtype=torch.float64)[:, None], torch.zeros(width, 1, width, dtype=torch.float64)

    def response(x0: Tensor, noise: Tensor, eps: Tensor) -> Tensor:
        step = langevin_step(x0, sigma, settings, denoiser, denoiser, noise, eps)
        return share * (step.target - x0)[:, 0].T

    move, first, second = response(unit, zero, zero), response(zero, unit, zero), response(zero, zero, unit)
    return move, first @ first.T + second @ second.T


def sweep_covariance(spectrum: Spectrum, denoiser: GaussianDenoiser, sigma: float, settings: PriorSettings, *,
                     margin: int = 0, share: float = 1.0, louder: float = 1.0) -> Spectrum:
    """One sweep over a random-offset partition; each crop has noise of its own, `louder` times as powerful."""
    size, width = len(spectrum.power), denoiser.shape[0]
    inner = width - 2 * margin
    move, noise = crop_operators(denoiser, sigma, settings, share)
    total, added = torch.eye(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for start in range(0, size, inner):
        count = min(inner, size - start)
        rows, columns = start + torch.arange(count), (start - margin + torch.arange(width)) % size
        kept = slice(margin, margin + count)
        total[rows[:, None], columns[None]] += move[kept]
        added[rows[:, None], rows[None]] += louder * noise[kept, kept]
    return Spectrum.of(total @ spectrum.covariance() @ total.T + added)


def divergence(power: Tensor, truth: Tensor) -> float:
    """Kullback-Leibler divergence per pixel of two stationary Gaussian fields."""
    ratio = power / truth
    return float(0.5 * (ratio - 1 - ratio.log()).mean())


def band_powers(power: Tensor, truth: Tensor, width: int) -> list[float]:
    """Power over the truth for wavelengths longer than 2 crops, between, and shorter than a quarter of a crop."""
    size = len(power)
    index = torch.arange(size)
    frequency = torch.minimum(index, size - index) / size
    low, high = frequency < 0.5 / width, frequency >= 4 / width
    return [float(power[band].sum() / truth[band].sum()) for band in (low, ~low & ~high, high)]
