"""Inversion: the W+ codes of a given picture, by the encoder and by optimisation from there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InvalidInputError
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator


@dataclass(frozen=True)
class InversionSettings:
    """steps: Adam updates, 0 keeps the start. lr: peak rate, ramped up over the first 5 % and down over the last 25 %.
    perceptual, mse: weights of the two distances (mse on images in 0..1). anchor: weight of the mean squared distance
    from the starting codes, which keeps them where edits work."""

    steps: int = 100
    lr: float = 0.1
    perceptual: float = 10.0
    mse: float = 5.0
    anchor: float = 0.0


@dataclass(frozen=True)
class Inversion:
    """codes float32 [B,num_ws,w_dim] of the best step, its loss [B], and the curve [evaluations,B]."""

    codes: Tensor
    loss: Tensor
    curve: Tensor


def ramp(step: int, total: int, *, up: float = 0.05, down: float = 0.25) -> float:
    """The learning-rate factor of StyleGAN2's projector at step / total: linear up, cosine down."""
    t = step / max(total, 1)
    fall = min(1.0, (1.0 - t) / down)
    return (0.5 - 0.5 * math.cos(fall * math.pi)) * min(1.0, t / up if up else 1.0)


def refine_codes(generator: Generator, perceptual: PerceptualLoss, images: Tensor, start: Tensor,
                 settings: InversionSettings, *, on_step: OnStep = ignore) -> Inversion:
    """Optimise W+ codes so that the generator shows `images`.

    images float32 [B,3,R,R] in -1..1; start float32 [B,num_ws,w_dim]. Pictures do not influence each other. The codes
    returned are those with the lowest loss of all evaluated, the start included.
    """
    if tuple(images.shape[2:]) != (generator.resolution, generator.resolution):
        raise InvalidInputError(f"This generator inverts pictures of {generator.resolution}x{generator.resolution} "
                                f"pixels, got {images.shape[3]}x{images.shape[2]}.")
    target = [f.detach() for f in perceptual.features(images)]
    codes = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([codes], lr=settings.lr, betas=(0.9, 0.999))
    best, best_loss = start.detach().clone(), torch.full((len(images),), math.inf, device=start.device)
    curve: list[Tensor] = []
    for step in range(settings.steps + 1):
        image = generator.synthesis(codes)[0]
        distance = perceptual.distance(perceptual.features(image), target)
        mse = ((image - images) / 2).square().mean(dim=(1, 2, 3))
        reconstruction = settings.perceptual * distance + settings.mse * mse
        loss = reconstruction + settings.anchor * (codes - start).square().mean(dim=(1, 2))
        with torch.no_grad():
            better = loss < best_loss
            best = torch.where(better[:, None, None], codes, best)
            best_loss = torch.where(better, loss, best_loss)
            curve.append(loss.detach())
        if step == settings.steps:
            break
        optimizer.param_groups[0]["lr"] = settings.lr * ramp(step + 1, settings.steps)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss.sum())
        optimizer.step()
        shown = image.detach()
        on_step(StepInfo(step + 1, settings.steps, {"loss": float(loss.detach().mean()), "mse": float(mse.detach().mean()),
                                                    "perceptual": float(distance.detach().mean())}, lambda shown=shown: shown))
    return Inversion(best, best_loss, torch.stack(curve))
