"""Noise of the views of an object of which there are photographs: which object it is, is decided once, side by side.

A representation that follows its targets slowly comes to rest where D(x + sigma n) = x for the noise n that stays. Where data
have the variance v around their mean that is x = v n / sigma: noise that stays as it is drives x the further the lower the
level, and noise that changes each time averages out, so that every seed ends near the mean. With n = c xi + sqrt(1 - c^2) eps,
c = sigma / sqrt(sigma^2 + v), eps new each time, x comes to rest at v xi / sqrt(v + sigma^2): D of the sample
sqrt(v + sigma^2) xi that the probability flow has at this level, of the variance v that xi has in the end, as long as the level
falls more slowly than x follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..denoiser import View
from ..noise import coarse, coarse_shape, with_coarse
from ..seeds import seeded_normal
from .cameras import Cameras, length
from .photograph_noise import NoisyPhotographs, nearest

CELLS = 4
COARSE_SHARE = 0.1
"""Of the variance of pictures, sigma_data^2, what their means over 4x4 parts have where class and camera are known. Measured of
the demo's objects: 0.07 to 0.09."""
OPEN = 0.5
"""Of that variance, what a photograph leaves open on the sides that it does not show."""
DIRECTIONS, CONCENTRATION = 64, 4.0


class DirectionNoise:
    """A noise source (`noise.NoiseSource`) of views, which are cameras.

    The coarse part of a view's noise, its means over 4x4 parts, is a Gaussian process over the directions from which an object
    is seen: half alike at 50 degrees, hardly at 90. Of the inversion's the share c^2 stays for the whole run near the direction
    of a photograph, and is the photograph's own noise; elsewhere half of that stays (OPEN), and is the seed's. The churn's
    changes, as Langevin's equation asks. The rest of the noise is each view's own. Far from photographs every view alone sees
    standard normal noise.

    sigmas: noise level of every sweep, in the units of the data, whose deviation is sigma_data.
    """

    def __init__(self, seed: int, sigmas: Sequence[float], sigma_data: float, photographs: NoisyPhotographs) -> None:
        self.seed, self.sigmas, self.sigma_data, self.photographs = seed, sigmas, sigma_data, photographs

    def __call__(self, draw: int, like: Tensor, view: View) -> Tensor:
        cameras: Cameras = view  # pyright: ignore[reportAssignmentType]
        own = torch.stack([seeded_normal(like.shape[1:], self.seed, draw, i, dtype=like.dtype) for i in range(len(like))])
        sweep, churn = divmod(draw, 2)
        numbers = self.process(draw, 1, like, cameras)
        if not churn:
            c, (xi, variance) = self.staying(sweep, like), self.lasting(like, cameras)
            numbers = c * xi + (1 - c**2 * variance).sqrt() * numbers
        return with_coarse(own.to(like.device), numbers, CELLS)

    def staying(self, sweep: int, like: Tensor) -> float:
        """c of a sweep, for views like [N,C,H,W]."""
        pixels = like.shape[2] * like.shape[3] / math.prod(coarse_shape(like, CELLS))
        sigma = self.sigmas[min(sweep, len(self.sigmas) - 1)]
        return sigma / math.sqrt(sigma**2 + COARSE_SHARE * pixels * self.sigma_data**2)

    def lasting(self, like: Tensor, view: Cameras) -> tuple[Tensor, Tensor]:
        """xi of the views of cameras, [N,C,parts], and its variance, [N,1,1]: 1 at a photograph, OPEN far from it."""
        theirs, taken = self.photographs.noise.to(like), self.photographs.cameras.to(view.poses.device)
        chosen = nearest(view, taken)
        alike = (weights(view) * weights(taken)[chosen]).sum(dim=1)[:, None, None].to(like)
        seeds, at_photographs = self.process(0, 0, like, view), self.process(0, 0, like, taken)[chosen]
        xi = alike * coarse(theirs, CELLS)[chosen] + math.sqrt(OPEN) * (seeds - alike * at_photographs)
        return xi, alike**2 + OPEN * (1 - alike**2)

    def process(self, draw: int, kind: int, like: Tensor, view: Cameras) -> Tensor:
        """Standard normal numbers [N,C,parts] of a draw for cameras, mixed of those of directions all round. kind: 0 of what
        stays, 1 of what changes."""
        shape = DIRECTIONS, like.shape[1], math.prod(coarse_shape(like, CELLS))
        numbers = seeded_normal(shape, self.seed, draw, -1 - kind, dtype=like.dtype).to(like.device)
        return torch.einsum("nd,dcp->ncp", weights(view).to(like), numbers)


def weights(cameras: Cameras) -> Tensor:
    """How much of the numbers of each direction the noise of a camera holds, [N,DIRECTIONS]: exp(4 cos(angle)), of length 1.
    Two cameras are alike by the product of their weights, sinh(8 h) / h over sinh(8) with h = cos(half the angle between)."""
    towards = cameras.positions / length(cameras.positions)
    found = torch.exp(CONCENTRATION * (towards @ all_round(DIRECTIONS).to(towards).mT - 1))
    return found / length(found)


def all_round(count: int) -> Tensor:
    """Directions spread evenly over the sphere, float32 [count,3]: Fibonacci's spiral."""
    steps = torch.arange(count, dtype=torch.float64) + 0.5
    height, turn = 1 - 2 * steps / count, math.pi * (1 + math.sqrt(5)) * steps
    radius = (1 - height.square()).sqrt()
    return torch.stack([radius * turn.cos(), height, radius * turn.sin()], dim=1).float()
