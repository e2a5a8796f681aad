"""Pictures of any size through networks that want multiples of something, one by one: their number costs no memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .steps import OnStep, StepInfo, ignore


def fitted(images: Tensor, factor: int, least: int) -> Tensor:
    """images [B,C,H,W] with a mirrored border below and to the right, so that both sides are multiples of `factor` and at
    least `least`."""
    height, width = (max(least, -(-int(side) // factor) * factor) for side in images.shape[2:])
    while images.shape[2:] != (height, width):
        missing = [min(wanted - have, have - 1) for wanted, have in zip((height, width), images.shape[2:], strict=True)]
        if max(missing) <= 0:  # a single row or column cannot be mirrored
            return F.interpolate(images, (height, width), mode="nearest")
        images = F.pad(images, (0, missing[1], 0, missing[0]), mode="reflect")
    return images


def each_frame(images: Tensor, network: Callable[[int, Tensor], Tensor], *, factor: int, least: int,
               device: torch.device | None = None, on_step: OnStep = ignore) -> Tensor:
    """network(index, image [1,3,h,w] in -1..1) for each of images [B,3,H,W], at their own size; the result on the CPU."""
    done: list[Tensor] = []
    for index in range(len(images)):
        image = images[index:index + 1]
        with torch.no_grad():
            result = network(index, fitted(image.to(device or "cpu"), factor, least))
        done.append(result[:, :, :image.shape[2], :image.shape[3]].float().cpu())
        on_step(StepInfo(index + 1, len(images), {}, lambda result=done[-1]: result))
    return torch.cat(done)
