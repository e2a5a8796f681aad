"""Joint diffusion by shifted tiles: one reverse diffusion of the whole canvas whose tiles lie elsewhere at every step, so that
no seam is ever in the same place. A cheap start that Algorithm 1 then refines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..steps import OnStep, StepInfo, ignore
from .canvas import Canvas
from .denoiser import Denoiser
from .inversion import levels
from .noise import NoiseSource

FIRST_DRAW = 2**40
"""Draws of noise from here on belong to the start, those below to Algorithm 1."""


def tile_sigmas(steps: int, sigma_data: float, *, sigma_max: float = 40.0, sigma_min: float = 0.02,
                bounds: tuple[float, float] = (0.0, math.inf)) -> list[float]:
    """Falling noise levels of a reverse diffusion, the last one 0. sigma_max, sigma_min: in units of sigma_data. bounds: the
    lowest and the highest level there is."""
    low, high = max(sigma_min * sigma_data, bounds[0]), min(sigma_max * sigma_data, bounds[1])
    return [*levels(low, high, steps - 1)[::-1], 0.0]


def shifted_tiles(canvas: Canvas, denoiser: Denoiser, sigmas: Sequence[float], noise: NoiseSource, *,
                  noisy: Tensor | None = None, on_step: OnStep = ignore) -> int:
    """Fill the canvas by Euler's method for the probability-flow ODE, one partition of the canvas per step. Returns how many
    samples were denoised.

    noisy: canvases [B,C,*size] at the first level to begin with; pure noise by default. The canvas's constraints hold in the
    denoised pictures of every step. on_step is told after each; what it raises ends the run.
    """
    calls = 0
    with torch.no_grad():
        if noisy is None:
            for view in canvas.views(FIRST_DRAW, everywhere=True):
                canvas.update(view, sigmas[0] * noise(FIRST_DRAW, canvas.render(view), view))
            noisy = canvas.take()
        for index, (high, low) in enumerate(pairwise(sigmas)):
            for view in canvas.views(FIRST_DRAW + 1 + index):
                canvas.update(view, denoiser(view.gather(noisy).to(canvas.device), high, view))
                calls += len(view)
            canvas.finish()
            noisy = torch.lerp(noisy, canvas.values, 1 - low / high)
            on_step(StepInfo(index + 1, len(sigmas) - 1, {"sigma": high}, canvas.preview))
    return calls
