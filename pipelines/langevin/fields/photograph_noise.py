"""What a photographed object might look like from elsewhere, before anything is decided.

The probability flow carries a photograph up to a noise level. The noise that it arrives at holds what the object is, its
colours and proportions, rather than its outlines; a denoiser that is told another camera makes of it the object as it might
look from there. It is a start: kept for longer and for all views, this noise draws the photograph's outline from every side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..denoiser import Denoiser
from ..inversion import Inversion, invert
from ..seeds import seeded_normal
from .cameras import Cameras, length

FLOW = Inversion("ode")


@dataclass(frozen=True, eq=False)
class NoisyPhotographs:
    """Photographs at a noise level, and the noise that they hold, in units of the level, both [P,C,H,W]; P cameras."""

    noisy: Tensor
    noise: Tensor
    cameras: Cameras


def noisy_photographs(pictures: Tensor, cameras: Cameras, level: float, denoiser: Denoiser, *, size: tuple[int, int],
                      seed: int = 0, check: Callable[[], None] | None = None) -> Tensor:
    """Photographs float [P,C,H,W] in the denoiser's units, taken by P cameras, at a noise level, [P,C,*size], as `framed` shows
    them. seed: of the little noise that the flow starts from. check: called before each call of the denoiser; what it raises
    goes on."""
    found: list[Tensor] = []
    small = framed(pictures, size)
    for i in range(len(small)):
        noise = seeded_normal(small.shape[1:], seed, i, dtype=small.dtype)[None].to(small.device)

        def denoise(x: Tensor, sigma: float, camera: Cameras = cameras[i]) -> Tensor:
            if check is not None:
                check()
            return denoiser(x, sigma, camera)

        found.append(invert(FLOW, small[i:i + 1], level, noise, denoise, sigma_data=denoiser.sigma_data))
    return torch.cat(found)


def framed(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures [P,C,H,W] as the same cameras take them in another size, [P,C,*size]. The angle of view is the vertical one:
    what is too wide is cut off left and right, what is too narrow goes on as its edges are."""
    height, width = size
    if tuple(pictures.shape[2:]) == size:
        return pictures
    wide = max(1, round(pictures.shape[3] * height / pictures.shape[2]))
    small = F.interpolate(pictures, (height, wide), mode="bilinear", align_corners=False, antialias=True)
    left = (width - wide) // 2
    return F.pad(small, (left, width - wide - left, 0, 0), mode="replicate")


def nearest(views: Cameras, cameras: Cameras) -> Tensor:
    """For each view the camera that sees the object most nearly from the same direction, int64 [B]."""
    one, two = (c.positions / length(c.positions) for c in (views, cameras))
    return (one @ two.mT).argmax(dim=1)
