"""Canvases filled by a prior, and pictures through the codec of the prior's model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.canvas import Canvas, Constraint, Known, framed
from ..pipelines.langevin.denoiser import Denoiser
from ..pipelines.langevin.noise import CanvasNoise
from ..pipelines.langevin.presets import Drawn, Preset, draw_canvas
from ..pipelines.langevin.spectrogram import spectrogram_picture
from ..pipelines.steps import StepInfo
from ..runtime import host
from .prior_model import PlacedRegion, PriorModel, run_with_regions

CROPS = 32
"""Of a pass that are cut and written back together; the denoiser takes them in batches of its own."""


def drawn(model: PriorModel, preset: Preset, values: Tensor, *, wrap: Sequence[bool], seed: int,
          regions: Sequence[PlacedRegion] = (), constraints: Sequence[Constraint] = ()) -> tuple[Tensor, Drawn]:
    """Canvases [B,C,*size] filled, or refined, by the prior; canvas i is drawn from seed + i."""
    size = tuple(values.shape[2:])
    frame = framed(size, model.crop_on(size), preset.margin, wrap)

    def body(denoiser: Denoiser) -> tuple[Tensor, Drawn]:
        progress = host.Progress(preset.on(denoiser).steps)

        def on_step(info: StepInfo) -> None:
            picture = info.preview
            progress.step_to(info.step, None if picture is None else lambda: shown(model, picture()))

        canvas = Canvas(values, frame, batch=CROPS, seed=seed, device=model.device, constraints=constraints)
        done = draw_canvas(canvas, denoiser, preset, CanvasNoise([seed + i for i in range(len(values))]), on_step=on_step)
        return canvas.values, done

    with host.autograd(), torch.no_grad():
        return run_with_regions(model, regions, frame.size, body, gradients=preset.prior.inversion.gradients)


def shown(model: PriorModel, values: Tensor) -> Tensor:
    """Canvases as pictures [B,3,H,W] -1..1: of a film its middle frame, of a sound its spectrogram."""
    if model.axes == 1:
        return spectrogram_picture(values)
    if model.axes == 3:
        values = values[:, :, values.shape[2] // 2]
    if model.codec is not None:
        return model.codec.preview(values)
    return values.expand(-1, 3, -1, -1) if values.shape[1] == 1 else values


def painted(model: PriorModel, preset: Preset, start: Tensor, *, wrap: Sequence[bool], seed: int,
            regions: Sequence[PlacedRegion] = (), known: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Drawn]:
    """Pictures [B,3,H,W] -1..1 drawn over `start`, of its size. known: pictures [B or 1,3,H,W], and where they stay as they
    are, [1,H,W] 0..1. Where the model works on latents its canvas is the least that holds the pictures."""
    codec, size = model.pictures, tuple(start.shape[2:])
    if codec.scale == 1:
        constraints = [] if known is None else [Known(*known)]
        return drawn(model, preset, start, wrap=wrap, seed=seed, regions=regions, constraints=constraints)
    if any(w and n % codec.scale for w, n in zip(wrap, size, strict=True)):
        raise InvalidInputError(f"A side that wraps is a multiple of {codec.scale} pixels for '{model.name}', got {size[1]}x"
                                f"{size[0]}; scale the picture or choose another size.")

    def whole(x: Tensor) -> Tensor:
        return F.pad(x, (0, -size[1] % codec.scale, 0, -size[0] % codec.scale), mode="replicate")

    with host.autograd(), torch.no_grad():
        if bool((start != 0).any()):
            values = codec.encode(whole(start.clone()), wrap)
        else:
            values = torch.zeros(len(start), model.channels, *(-(-n // codec.scale) for n in size))
        constraints = []
        if known is not None:
            kept = values if known[0] is start else codec.encode(whole(known[0].clone()), wrap)
            constraints = [Known(kept, -F.max_pool2d(-whole(known[1].clone()[None]), codec.scale)[0])]
        found, done = drawn(model, preset, values, wrap=wrap, seed=seed, regions=regions, constraints=constraints)
        pictures = codec.decode(found, wrap)[..., :size[0], :size[1]]
        if known is not None:
            pictures = torch.lerp(pictures, known[0].to(pictures), known[1].to(pictures))
    return pictures, done


def report(done: Drawn, model: PriorModel | None = None, preset: Preset | None = None) -> str:
    """What happened, in a few lines."""
    last = done.sweeps[-1]
    lines = [f"{len(done.sweeps)} sweeps, {done.calls} crops denoised",
             f"noise level {done.sweeps[0].sigma:.3g} to {last.sigma:.3g}",
             f"deviation of the inverted noise {last.noise:.3f} (1 is ideal), correlation of neighbours {last.whiteness:.3f} "
             f"(0 is ideal)", f"last sweep changed {last.change:.4f} (root mean square)"]
    if model is not None and model.host is not None and preset is not None and preset.prior.inversion.gradients:
        lines.append(model.host.cost())
    return "\n".join(lines)


def pictures_only(model: PriorModel) -> PriorModel:
    """The model, if it draws pictures in colour."""
    if model.axes != 2 or model.pictures.colours != 3:
        raise InvalidInputError(f"The denoiser '{model.name}' works on {model.channels} channels along {model.axes} axes; this "
                                f"node needs one of pictures in colour.")
    return model
