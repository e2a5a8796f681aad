"""Pivotal tuning: a generator adjusted until its rendering of given codes is the photograph (Roich et al. 2021).

The codes stay; the weights of the synthesis network move a little. Edits found before still work, because codes around
the pivot mean what they meant.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InvalidInputError
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator, Noise


@dataclass(frozen=True)
class TuningSettings:
    """steps: Adam updates of the synthesis weights. lr: rate. perceptual, mse: weights of the two distances (mse on
    images in 0..1). locality: weight of keeping pictures near the pivots as they were, at `distance` from them in w."""

    steps: int = 200
    lr: float = 3e-4
    perceptual: float = 1.0
    mse: float = 10.0
    locality: float = 0.1
    distance: float = 8.0


def tune_generator(generator: Generator, perceptual: PerceptualLoss, images: Tensor, codes: Tensor,
                   settings: TuningSettings, *, noise: Noise = "const", rng: torch.Generator | None = None,
                   on_step: OnStep = ignore) -> Generator:
    """A copy of the generator that draws `images` from `codes`; the one given stays as it is.

    images float32 [B,3,R,R] in -1..1; codes float32 [B,num_ws,w_dim]. All pictures share the tuned weights. rng: draws
    the neighbours that the locality term holds, needed where it has a weight.
    """
    if len(images) != len(codes):
        raise InvalidInputError(f"Tuning needs one picture per code, got {len(images)} pictures and {len(codes)} codes.")
    if settings.locality and rng is None:
        raise InvalidInputError("The locality term of tuning draws neighbours and needs a random generator.")
    tuned = copy.deepcopy(generator).requires_grad_(False)
    weights = list(tuned.synthesis.parameters())
    for weight in weights:
        weight.requires_grad_(True)
    target = [f.detach() for f in perceptual.features(images)]
    optimizer = torch.optim.Adam(weights, lr=settings.lr)
    for step in range(settings.steps):
        image = tuned.synthesis(codes, noise=noise)[0]
        distance = perceptual.distance(perceptual.features(image), target).mean()
        mse = ((image - images) / 2).square().mean()
        loss = settings.perceptual * distance + settings.mse * mse
        if settings.locality and rng is not None:
            near = neighbour(generator, codes[step % len(codes)][None], settings.distance, rng)
            with torch.no_grad():
                before = generator.synthesis(near)[0]
            after = tuned.synthesis(near)[0]
            change = perceptual.distance(perceptual.features(after), perceptual.features(before)).mean()
            loss = loss + settings.locality * (settings.perceptual * change
                                               + settings.mse * ((after - before) / 2).square().mean())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        shown = image.detach()
        on_step(StepInfo(step + 1, settings.steps, {"loss": float(loss.detach()), "mse": float(mse.detach()),
                                                    "perceptual": float(distance.detach())}, lambda shown=shown: shown))
    return tuned.requires_grad_(False).eval()


def neighbour(generator: Generator, code: Tensor, distance: float, rng: torch.Generator) -> Tensor:
    """A code at most `distance` from `code` [1,num_ws,w_dim], towards a random sample of the generator."""
    z = torch.randn(1, generator.z_dim, generator=rng, device=rng.device).to(code.device)
    with torch.no_grad():
        direction = generator.map(z) - code
    length = direction.square().sum(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-8)
    return code + direction * (distance / length).clamp(max=1.0)
