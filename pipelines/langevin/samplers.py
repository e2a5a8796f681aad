"""Samplers of EDM (Karras et al. 2022, algorithm 2) as free functions: the levels, the noise and the denoiser are given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..steps import OnStep, StepInfo, ignore

Denoise = Callable[[Tensor, Tensor], Tensor]
"""x [N,...] and sigma [] -> D(x; sigma)."""


def _same(sigma: Tensor) -> Tensor:
    return sigma


def karras_levels(steps: int, *, low: float = 0.002, high: float = 80.0, rho: float = 7.0,
                  round_sigma: Callable[[Tensor], Tensor] = _same) -> Tensor:
    """From high to low with equal steps in sigma^(1/rho), then 0: float64 [steps+1]."""
    ends = torch.tensor([high, low], dtype=torch.float64) ** (1 / rho)
    place = torch.arange(steps, dtype=torch.float64) / max(1, steps - 1)
    return torch.cat([round_sigma((ends[0] + place * (ends[1] - ends[0])) ** rho), torch.zeros(1, dtype=torch.float64)])


@dataclass(frozen=True)
class Churn:
    """Noise that is added on the way: amount S_churn over all steps, at levels from low to high, its deviation times scale."""

    amount: float
    low: float = 0.0
    high: float = math.inf
    scale: float = 1.0

    def share(self, sigma: float, steps: int) -> float:
        """By how much the level rises."""
        return min(self.amount / steps, math.sqrt(2) - 1) if self.low <= sigma <= self.high else 0.0


def sample_heun(denoise: Denoise, latents: Tensor, levels: Tensor, *, churn: Churn | None = None,
                noise: Callable[[Tensor], Tensor] | None = None, round_sigma: Callable[[Tensor], Tensor] = _same,
                on_step: OnStep = ignore) -> Tensor:
    """Follow the probability flow from noise to data with Heun's method; float64 inside and out.

    latents: [N,...] of deviation 1. levels: as of `karras_levels`. noise: fresh noise like x, once per step with churn.
    round_sigma: to levels that the network knows.
    """
    steps = len(levels) - 1
    x = latents.to(torch.float64) * levels[0]
    for i in range(steps):
        now, after = levels[i], levels[i + 1]
        if churn is not None and noise is not None:
            raised = round_sigma(now * (1 + churn.share(float(now), steps)))
            x = x + (raised.square() - now.square()).clamp(min=0).sqrt() * churn.scale * noise(x)
            now = raised
        found = denoise(x, now).to(torch.float64)
        slope = (x - found) / now
        stepped = x + (after - now) * slope
        if i < steps - 1:
            there = (stepped - denoise(stepped, after).to(torch.float64)) / after
            stepped = x + (after - now) * (slope + there) / 2
        x = stepped
        on_step(StepInfo(i + 1, steps, {"sigma": float(after)}, lambda shown=found: shown))
    return x
