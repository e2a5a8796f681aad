"""Whole ways of drawing a canvas: how it starts, how it is cut, how the prior nudges it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..errors import InvalidInputError
from ..steps import OnStep, StepInfo, ignore
from .canvas import Canvas
from .denoiser import Denoiser, is_exact, levels_known
from .inversion import Inversion
from .joint import TILES_FIRST, TILES_LAST, shifted_tiles, tile_passes, tile_sigmas
from .noise import NoiseSource
from .prior import PriorSettings, Sweep, run_prior


@dataclass(frozen=True)
class Preset:
    """prior: of Algorithm 1. start: steps of shifted tiles before it, 0 for what the canvas holds. margin: share of a crop on
    each side that is read and not written. rounds: times that each step of the start is made. noised: level up to which the
    start noises what the canvas holds, in units of sigma_data; None for pure noise. exact: start and prior that serve exact
    denoisers better (`denoiser.Exact`), at the same cost. Raises InvalidInputError."""

    prior: PriorSettings = field(default_factory=PriorSettings)
    start: int = 0
    margin: float = 0.125
    rounds: int = 1
    noised: float | None = None
    exact: tuple[int, PriorSettings] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 0.5:
            raise InvalidInputError(f"The margin is a share of the crop from 0 to below 0.5, got {self.margin}.")
        if self.start < 0 or self.start == 1:
            raise InvalidInputError(f"Shifted tiles take 0 steps, or at least 2, got {self.start}.")
        if self.rounds < 1:
            raise InvalidInputError(f"Each step of the start is made at least once, got {self.rounds} rounds.")
        if self.noised is not None and self.noised <= TILES_LAST:
            raise InvalidInputError(f"The start ends at level {TILES_LAST}, so it noises to above that, got {self.noised}.")

    @property
    def steps(self) -> int:
        """Passes over the canvas."""
        return self.passes + self.prior.sweeps

    @property
    def passes(self) -> int:
        """Of them, those of the start."""
        return tile_passes(self.start, self.rounds)

    def on(self, denoiser: Denoiser) -> Preset:
        """What it does with that denoiser."""
        if self.exact is None or not is_exact(denoiser):
            return self
        return replace(self, start=self.exact[0], prior=self.exact[1], exact=None)

    def refining(self, level: float) -> Preset:
        """For a canvas that holds something already: from that noise level on, in units of sigma_data. What lies above the
        prior's own levels is the part of the start below `level`, at the pace of the whole."""
        if self.start and level > max(self.prior.sigma_max, TILES_LAST):
            share = math.log(level / TILES_LAST) / math.log(TILES_FIRST / TILES_LAST)
            return replace(self, start=max(2, round(min(share, 1.0) * self.start)), noised=level, exact=None)
        return replace(self, prior=replace(self.prior, sigma_max=max(level, self.prior.sigma_min)), start=0, noised=None,
                       exact=None)


@dataclass(frozen=True)
class Drawn:
    """What was done. sweeps: of Algorithm 1. calls: samples denoised."""

    sweeps: Sequence[Sweep]
    calls: int


MENDING = PriorSettings(sweeps=64, sigma_max=1.0, tau=1.0, inversion=Inversion("naive"))
PRESETS = {
    "quick": Preset(PriorSettings(sweeps=24, sigma_max=1.0, tau=0.5, inversion=Inversion("naive")), start=32),
    "balanced": Preset(MENDING, start=32, margin=0.0625, exact=(16, replace(MENDING, sweeps=72, sigma_max=2.0))),
    "fine": Preset(PriorSettings(sweeps=128, sigma_max=1.0, tau=0.5, inversion=Inversion("naive")), start=64),
    "patent": Preset(PriorSettings(sweeps=128, sigma_max=10.0, tau=0.3, inversion=Inversion("ode"), naive_below=0.0)),
    "extend": Preset(PriorSettings(sweeps=96, sigma_max=10.0, sigma_min=0.01, tau=1.0, inversion=Inversion("naive"))),
    "outpaint": Preset(PriorSettings(sweeps=8, sigma_max=0.1, sigma_min=0.02, tau=0.5, inversion=Inversion("naive")), start=24,
                       rounds=4),
}
"""'balanced' makes fewer steps of tiles, and sweeps from twice the level, with a denoiser whose crops agree there. 'extend'
and 'outpaint' are for canvases of which a part is given: a start by shifted tiles settles before it meets that, unless its
steps are made several times. Sound does well by the prior alone; pictures, whose colours belong together from edge to edge,
need the rounds."""
DEFAULT = "balanced"


def draw_canvas(canvas: Canvas, denoiser: Denoiser, preset: Preset, noise: NoiseSource, *, aux: Denoiser | None = None,
                on_step: OnStep = ignore) -> Drawn:
    """Fill a canvas, or refine it when the preset has no start. on_step counts the passes of both stages."""
    preset = preset.on(denoiser)

    def told(offset: int) -> OnStep:
        return lambda info: on_step(StepInfo(offset + info.step, preset.steps, info.losses, info.preview))

    calls = 0
    if preset.start:
        first = TILES_FIRST if preset.noised is None else preset.noised
        sigmas = tile_sigmas(preset.start, denoiser.sigma_data, sigma_max=first, bounds=levels_known(denoiser))
        calls = shifted_tiles(canvas, denoiser, sigmas, noise, rounds=preset.rounds, over=preset.noised is not None,
                              on_step=told(0))
    sweeps = run_prior(canvas, denoiser, preset.prior, noise, aux=aux, on_step=told(preset.passes))
    return Drawn(sweeps, calls + sum(sweep.calls for sweep in sweeps))
