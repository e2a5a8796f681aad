"""From a clean sample to a noisy one whose denoised version it is: D(x_sigma; sigma) = x0 (US 2025/0259277, 0040-0049).

The patent's three: naive noise, the probability-flow ODE run forwards, and optimisation by back-propagation. The fourth, a
Picard iteration x <- x + gain (x0 - D(x)), needs no gradients: for a linear denoiser of gain H it contracts by 1 - gain H,
where gradient descent contracts by 1 - rate H^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ..errors import InvalidInputError

Kind = Literal["naive", "ode", "heun", "picard", "backprop", "descent"]
Denoise = Callable[[Tensor, float], Tensor]
"""(x, sigma) -> the mean of the clean data."""


@dataclass(frozen=True)
class Inversion:
    """How a view is inverted.

    kind: 'naive', 'ode' (Euler), 'heun', 'picard', 'backprop' (Adam), 'descent' (plain gradient descent on half the squared
    error). steps: of the ODE, of Picard or of the optimiser, 0 for the kind's own (12, 3, 20). rate: gain of Picard (1), step
    of the optimiser in units of sigma (Adam, 0.03) or of the squared error (descent, 1); 0 for the kind's own. start: noise
    that the ODE starts from, in units of sigma_data. loudest: Picard keeps an iterate only while the noise it holds has at
    most this deviation. Raises InvalidInputError.
    """

    kind: Kind = "picard"
    steps: int = 0
    rate: float = 0.0
    start: float = 0.02
    loudest: float = 1.15

    def __post_init__(self) -> None:
        if self.kind not in STEPS:
            raise InvalidInputError(f"There is no inversion '{self.kind}'; choose one of {', '.join(STEPS)}.")
        if self.steps < 0 or self.rate < 0 or self.start <= 0:
            raise InvalidInputError("Steps and rate of an inversion are 0 (the kind's own) or more, and its start is above 0.")

    @property
    def count(self) -> int:
        """Steps that are taken."""
        return self.steps or STEPS[self.kind]

    @property
    def pace(self) -> float:
        """The rate that is used."""
        return self.rate or RATES[self.kind]

    @property
    def gradients(self) -> bool:
        """Whether gradients go through the denoiser."""
        return self.kind in ("backprop", "descent")

    @property
    def calls(self) -> int:
        """Forward passes of the denoiser per inversion, a backward pass counted as two."""
        return {"naive": 0, "heun": 2, "backprop": 3, "descent": 3}.get(self.kind, 1) * self.count


STEPS: dict[str, int] = {"naive": 0, "ode": 12, "heun": 12, "picard": 3, "backprop": 20, "descent": 20}
RATES: dict[str, float] = {"naive": 0.0, "ode": 0.0, "heun": 0.0, "picard": 1.0, "backprop": 0.03, "descent": 1.0}
RHO = 7.0


def invert(settings: Inversion, x0: Tensor, sigma: float, noise: Tensor, denoise: Denoise, *,
           sigma_data: float = 1.0) -> Tensor:
    """x0 float [N,...] -> x_sigma of its shape. noise: standard normal, of its shape. Each sample is treated alone."""
    kind = settings.kind
    if kind in ("ode", "heun"):
        return probability_flow(x0, sigma, noise, denoise, steps=settings.count, start=settings.start * sigma_data,
                                heun=kind == "heun")
    if kind == "picard":
        return picard(x0, sigma, noise, denoise, steps=settings.count, gain=settings.pace, loudest=settings.loudest)
    if kind in ("backprop", "descent"):
        return optimised(x0, sigma, noise, denoise, steps=settings.count, rate=settings.pace, adam=kind == "backprop")
    return x0 + sigma * noise


def levels(low: float, high: float, steps: int) -> list[float]:
    """steps + 1 noise levels from low to high, evenly spaced in sigma^(1/7) as EDM's."""
    a, b = low ** (1 / RHO), high ** (1 / RHO)
    return [(a + i / steps * (b - a)) ** RHO for i in range(steps + 1)]


def probability_flow(x0: Tensor, sigma: float, noise: Tensor, denoise: Denoise, *, steps: int = 12, start: float = 0.02,
                     heun: bool = False) -> Tensor:
    """The ODE dx = (x - D(x; s)) / s ds from s = start, where x is x0 with noise of that deviation, up to sigma."""
    grid = levels(min(start, sigma / 2), sigma, steps)
    x = x0 + grid[0] * noise
    for low, high in pairwise(grid):
        slope = (x - denoise(x, low)) / low
        ahead = x + (high - low) * slope
        x = x + (high - low) * 0.5 * (slope + (ahead - denoise(ahead, high)) / high) if heun else ahead
    return x


def picard(x0: Tensor, sigma: float, noise: Tensor, denoise: Denoise, *, steps: int = 3, gain: float = 1.0,
           loudest: float = 1.15) -> Tensor:
    """x <- x + gain (x0 - D(x)) from naive noise. A sample stops before the deviation of (x - x0) / sigma exceeds `loudest`: by
    then its noise has become a picture."""
    x = x0 + sigma * noise
    dims = tuple(range(1, x.ndim))
    going = torch.ones(len(x), *(1 for _ in dims), dtype=torch.bool, device=x.device)
    for _ in range(steps):
        ahead = x + gain * (x0 - denoise(x, sigma))
        going = going & ((ahead - x0).square().mean(dim=dims, keepdim=True).sqrt() <= loudest * sigma)
        if not bool(going.any()):
            return x
        x = torch.where(going, ahead, x)
    return x


def optimised(x0: Tensor, sigma: float, noise: Tensor, denoise: Denoise, *, steps: int = 20, rate: float = 0.03,
              adam: bool = True) -> Tensor:
    """The minimum of |D(x; sigma) - x0|^2, from naive noise, by Adam with the step rate * sigma, or by gradient descent on half
    of it with the step `rate`. Gradients go through the denoiser: call it outside of inference mode."""
    with torch.enable_grad():
        x = (x0 + sigma * noise).detach().requires_grad_(True)
        optimizer = torch.optim.Adam([x], lr=rate * sigma) if adam else torch.optim.SGD([x], lr=rate)
        scale = 1.0 if adam else 0.5
        for _ in range(steps):
            error = denoise(x, sigma) - x0
            x.grad, = torch.autograd.grad(scale * error.square().sum(), x)
            optimizer.step()
    return x.detach()
