"""The Langevin prior as a SAMPLER of the host, for any GUIDER it has."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.canvas import Canvas, Constraint, Known, framed
from ..pipelines.langevin.codec import Wrap
from ..pipelines.langevin.joint import shifted_tiles
from ..pipelines.langevin.noise import CanvasNoise
from ..pipelines.langevin.presets import Preset
from ..pipelines.langevin.prior import run_prior
from ..pipelines.steps import OnStep, StepInfo
from .comfy_conditions import lifted
from .comfy_denoiser import Levels, Predictor, levels_of, require_plain

Callback = Callable[[int, Tensor, Tensor, int], None]
SMALLEST = 8
"""Sides of crops are multiples of so many latent pixels."""


@dataclass(frozen=True)
class LangevinLoop:
    """What the sampler does. crop: side of its crops in pixels, less where the canvas is smaller; frames of a film are
    never cut. wrap: height and width. batch: crops at once."""

    preset: Preset
    crop: int
    wrap: Wrap
    batch: int

    def sample(self, guider: Any, sigmas: Tensor, extra: dict[str, Any], callback: Callback | None, noise: Tensor,
               latent: Tensor, mask: Tensor | None) -> Tensor:
        """latent [B,C,*size], scaled -> the same, drawn or, below the highest level, redrawn.

        With a start, shifted tiles go down the sigmas and Algorithm 1 follows at the preset's levels, no higher than the first
        of the sigmas; without, its sweeps are made at the sigmas. mask: 1 where the latent may change.
        """
        size, model = tuple(latent.shape[2:]), guider.inner_model
        require_plain(model)
        if self.preset.prior.inversion.gradients:
            raise InvalidInputError("As a SAMPLER the prior works without gradients of the MODEL; choose another inversion "
                                    f"than '{self.preset.prior.inversion.kind}', or use Denoiser from Model.")
        if len(size) not in (2, 3):
            raise InvalidInputError(f"The Langevin sampler draws pictures and films, whose latents have 2 or 3 axes, got "
                                    f"{len(size)}.")
        side = self.crop // int(getattr(model.latent_format, "spacial_downscale_ratio", 8))
        crop = (*size[:-2], *(fitting(side, n) for n in size[-2:]))
        frame = framed(size, crop, self.preset.margin, (*[False] * (len(size) - 2), *self.wrap))
        levels = levels_of(model.model_sampling)
        denoiser = levels.denoiser(Predictor(guider, extra, _conditions(guider, latent, crop), batch=self.batch))
        known: list[Constraint] = [] if mask is None else [Known(latent, 1 - mask[0, :1].expand(1, *size))]
        schedule = levels_in(sigmas, levels)
        canvas = Canvas(latent, frame, batch=self.batch, seed=extra.get("seed") or 0, device=latent.device, constraints=known)
        source = CanvasNoise([(extra.get("seed") or 0) + i for i in range(len(latent))])
        prior = self.preset.prior
        if self.preset.start:
            total = len(schedule) + prior.sweeps
            noisy = latent + schedule[0] * noise
            shifted_tiles(canvas, denoiser, [*schedule, 0.0], source, noisy=noisy, on_step=_told(callback, 0, total))
            found = prior.sigmas(levels.sigma_data, bounds=(levels.sigma_min, min(levels.sigma_max, schedule[0])))
            run_prior(canvas, denoiser, prior, source, sigmas=found, on_step=_told(callback, len(schedule), total))
        else:
            run_prior(canvas, denoiser, prior, source, sigmas=schedule, on_step=_told(callback, 0, len(schedule)))
        return canvas.values


def fitting(crop: int, size: int) -> int:
    """The side of crops of a canvas of that size: a multiple of what networks halve, no more than `crop` or the canvas."""
    found = min(crop, size) // SMALLEST * SMALLEST
    if not found:
        raise InvalidInputError(f"A crop of {crop} and a picture of {size} latent pixels a side leave nothing to draw in; "
                                f"{SMALLEST} are the least.")
    return found


def levels_in(sigmas: Tensor, levels: Levels) -> list[float]:
    """The host's schedule as sigmas within the levels that the model knows, without its end at zero."""
    found = [levels.coordinates.sigma(float(level)) for level in sigmas if float(level) > 0]
    found = [min(max(sigma, levels.sigma_min), levels.sigma_max) for sigma in found if not math.isnan(sigma)]
    if not found:
        raise InvalidInputError("The schedule (sigmas) has no level of noise above 0; raise its steps or its denoise.")
    return found


def _conditions(guider: Any, latent: Tensor, crop: tuple[int, ...]) -> dict[str, list[dict[str, Any]]]:
    """The guider's own conditions, off the canvas, told again that a picture has the size of a crop. What the host added, an
    opposite of its size for every area, is not needed where areas are masks."""
    samplers = importlib.import_module("comfy.samplers")
    like = latent.new_zeros(1, latent.shape[1], *crop)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, conditions in guider.conds.items():
        own = {condition["uuid"] for condition in guider.original_conds[name]}
        lifted_ones = [lifted(condition) for condition in conditions if condition["uuid"] in own]
        found[name] = samplers.encode_model_conds(guider.inner_model.extra_conds, lifted_ones, like, latent.device, name,
                                                  latent_image=like, denoise_mask=None, seed=None)
    return found


def _told(callback: Callback | None, offset: int, total: int) -> OnStep:
    def on_step(info: StepInfo) -> None:
        if callback is not None and info.preview is not None:
            values = info.preview()
            callback(offset + info.step - 1, values, values, total)
    return on_step
