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
TILES_FIRST, TILES_LAST = 40.0, 0.02
"""Levels of a whole reverse diffusion, in units of sigma_data."""


def tile_sigmas(steps: int, sigma_data: float, *, sigma_max: float = TILES_FIRST, sigma_min: float = TILES_LAST,
                bounds: tuple[float, float] = (0.0, math.inf)) -> list[float]:
    """Falling noise levels of a reverse diffusion, the last one 0. sigma_max, sigma_min: in units of sigma_data. bounds: the
    lowest and the highest level there is."""
    low, high = max(sigma_min * sigma_data, bounds[0]), min(sigma_max * sigma_data, bounds[1])
    return [*levels(low, high, steps - 1)[::-1], 0.0]


def tile_passes(steps: int, rounds: int) -> int:
    """Passes over the canvas that so many steps of so many rounds take; the last step, which ends without noise, has one."""
    return steps * rounds - rounds + 1 if steps else 0


def shifted_tiles(canvas: Canvas, denoiser: Denoiser, sigmas: Sequence[float], noise: NoiseSource, *, rounds: int = 1,
                  noisy: Tensor | None = None, over: bool = False, on_step: OnStep = ignore) -> int:
    """Fill the canvas by Euler's method for the probability-flow ODE, one partition of the canvas per step. Returns how many
    samples were denoised.

    rounds: times that each step is made, with fresh noise back up to its level in between (Lugmayr et al. 2022): where a part
    is known, the rest needs several to meet it. noisy: canvases [B,C,*size] at the first level to begin with; pure noise by
    default, over what the canvas holds where `over` is set. The canvas's constraints hold in the denoised pictures of every
    step. on_step is told after each pass; what it raises ends the run.
    """
    calls, done, total = 0, 0, tile_passes(len(sigmas) - 1, rounds)
    with torch.no_grad():
        if noisy is not None:
            noisy = noisy.clone()
        else:
            noisy = _field(canvas, noise, FIRST_DRAW).mul_(sigmas[0])
            if over:
                noisy += canvas.values
        for high, low in pairwise(sigmas):
            for turn in range(rounds if low else 1):
                if turn:
                    noisy += _field(canvas, noise, FIRST_DRAW + done).mul_(math.sqrt(high**2 - low**2))
                for view in canvas.views(FIRST_DRAW + 1 + done):
                    canvas.update(view, denoiser(view.gather(noisy).to(canvas.device), high, view))
                    calls += len(view)
                canvas.finish()
                noisy.lerp_(canvas.values, 1 - low / high)
                done += 1
                on_step(StepInfo(done, total, {"sigma": high}, canvas.preview))
    return calls


def _field(canvas: Canvas, noise: NoiseSource, draw: int) -> Tensor:
    """Standard normal noise for the whole canvas, [B,C,*size]."""
    for view in canvas.views(draw, everywhere=True):
        canvas.update(view, noise(draw, canvas.render(view), view))
    return canvas.take()
