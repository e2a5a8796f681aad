"""Inversion: the W+ codes of a given picture, by the encoder and by optimisation from there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator

SMALLEST_NOISE = 8


@dataclass(frozen=True)
class InversionSettings:
    """steps: Adam updates, 0 keeps the start. lr: peak rate, ramped up over the first 5 % and down over the last 25 %.
    perceptual, mse: weights of the two distances (mse on images in 0..1). anchor: weight of the mean squared distance
    from the starting codes, which keeps them where edits work. encoder: weight of the pull towards the encoder's codes
    of the current picture. noise: weight of the noise regularisation; above 0 the noise maps are optimised too, from
    those of the generator (StyleGAN2, appendix D; 1e3 holds them close to white noise)."""

    steps: int = 100
    lr: float = 0.1
    perceptual: float = 10.0
    mse: float = 5.0
    anchor: float = 0.0
    encoder: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Inversion:
    """codes float32 [B,num_ws,w_dim] of the best step, its loss [B], the curve [evaluations,B], and the noise maps
    [B,1,r,r] of that step, None where the generator's own were used."""

    codes: Tensor
    loss: Tensor
    curve: Tensor
    noise: tuple[Tensor, ...] | None = None


def ramp(step: int, total: int, *, up: float = 0.05, down: float = 0.25) -> float:
    """The learning-rate factor of StyleGAN2's projector at step / total: linear up, cosine down."""
    t = step / max(total, 1)
    fall = min(1.0, (1.0 - t) / down)
    return (0.5 - 0.5 * math.cos(fall * math.pi)) * min(1.0, t / up if up else 1.0)


def noise_regularisation(maps: Sequence[Tensor]) -> Tensor:
    """How much noise maps [B,1,r,r] correlate with themselves, shifted by a pixel, at every scale down to 8: [B].

    Zero in expectation for white noise; a picture hidden in the maps is what it forbids.
    """
    total = maps[0].new_zeros(len(maps[0]))
    for level in maps:
        while True:
            for axis in (2, 3):
                total = total + (level * level.roll(1, dims=axis)).mean(dim=(1, 2, 3)).square()
            if level.shape[2] <= SMALLEST_NOISE:
                break
            level = F.avg_pool2d(level, 2)
    return total


def refine_codes(generator: Generator, perceptual: PerceptualLoss, images: Tensor, start: Tensor,
                 settings: InversionSettings, *, encode: Callable[[Tensor], Tensor] | None = None,
                 on_step: OnStep = ignore) -> Inversion:
    """Optimise W+ codes, and noise maps if the settings say so, until the generator shows `images`.

    images float32 [B,3,R,R] in -1..1; start float32 [B,num_ws,w_dim]; encode: images -> codes, needed where the encoder
    term has a weight. Pictures do not influence each other. The codes returned are those with the lowest loss of all
    evaluated, the start included.
    """
    if tuple(images.shape[2:]) != (generator.resolution, generator.resolution):
        raise InvalidInputError(f"This generator inverts pictures of {generator.resolution}x{generator.resolution} "
                                f"pixels, got {images.shape[3]}x{images.shape[2]}.")
    target = [f.detach() for f in perceptual.features(images)]
    codes = start.detach().clone().requires_grad_(True)
    maps: list[Tensor] = []
    if settings.noise:
        own = [layer.noise_const for layer in generator.synthesis.layers()]
        maps = [n.expand(len(codes), 1, -1, -1).clone().requires_grad_(True) for n in own]
    variables = [codes, *maps]
    optimizer = torch.optim.Adam(variables, lr=settings.lr, betas=(0.9, 0.999))
    best, best_loss = [v.detach().clone() for v in variables], torch.full((len(images),), math.inf, device=start.device)
    curve: list[Tensor] = []
    for step in range(settings.steps + 1):
        image = generator.synthesis(codes, noise=maps or "const")[0]
        distance = perceptual.distance(perceptual.features(image), target)
        mse = ((image - images) / 2).square().mean(dim=(1, 2, 3))
        loss = settings.perceptual * distance + settings.mse * mse
        loss = loss + settings.anchor * (codes - start).square().mean(dim=(1, 2))
        if settings.encoder and encode is not None:
            with torch.no_grad():
                pull = encode(image)
            loss = loss + settings.encoder * (codes - pull).square().mean(dim=(1, 2))
        if maps:
            loss = loss + settings.noise * noise_regularisation(maps)
        with torch.no_grad():
            better = loss < best_loss
            best = [torch.where(better.view(-1, *[1] * (v.ndim - 1)), v, b) for v, b in zip(variables, best, strict=True)]
            best_loss = torch.where(better, loss, best_loss)
            curve.append(loss.detach())
        if step == settings.steps:
            break
        optimizer.param_groups[0]["lr"] = settings.lr * ramp(step + 1, settings.steps)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss.sum())
        optimizer.step()
        with torch.no_grad():
            for level in maps:  # white noise has mean 0 and variance 1
                level.sub_(level.mean(dim=(2, 3), keepdim=True))
                level.mul_(level.square().mean(dim=(2, 3), keepdim=True).rsqrt())
        shown = image.detach()
        on_step(StepInfo(step + 1, settings.steps, {"loss": float(loss.detach().mean()), "mse": float(mse.detach().mean()),
                                                    "perceptual": float(distance.detach().mean())}, lambda shown=shown: shown))
    return Inversion(best[0], best_loss, torch.stack(curve), tuple(best[1:]) or None)
