"""Where a condition holds on a canvas: an area with faded edges, a mask, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

FADE = 8
"""Length of an area's faded edge, at most a quarter of the area. Edges on the border of the canvas do not fade."""
WHOLE = 2**31
Size = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Placement:
    """area: lengths, then starts, along the last axes: whole numbers of the canvas, or shares of it where relative. mask: float
    [H,W] or [N,H,W] of any size, scaled to the canvas; the first of several. Without either it holds everywhere."""

    area: Sequence[float] | None = None
    relative: bool = False
    mask: Tensor | None = None
    _fields: dict[Size, Tensor] = field(default_factory=dict[Size, Tensor])

    def on(self, size: Sequence[int]) -> Tensor:
        """Its weight on a canvas, float32 [1,*size], on the CPU. A mask within an area does not fade."""
        size = tuple(size)
        found = self._fields.get(size)
        if found is None:
            found = torch.ones(1, *size) if self.mask is None else scaled(self.mask, size)
            if self.area is not None:
                found = found * self._area(self.area, size, fade=self.mask is None)
            self._fields[size] = found
        return found

    def _area(self, area: Sequence[float], size: Size, *, fade: bool) -> Tensor:
        axes = len(area) // 2
        lengths, starts = list(area[:axes]), list(area[axes:])
        if self.relative:
            lengths = [max(1, round(share * n)) for share, n in zip(lengths, size[-axes:], strict=True)]
            starts = [round(share * n) for share, n in zip(starts, size[-axes:], strict=True)]
        lengths, starts = lengths[-len(size):], starts[-len(size):]
        lengths, starts = [WHOLE] * (len(size) - len(lengths)) + lengths, [0] * (len(size) - len(starts)) + starts
        weight = torch.ones(1, *size)
        for axis, (length, start, n) in enumerate(zip(lengths, starts, size, strict=True), start=1):
            line = _line(int(start), int(length), n, FADE if fade else 0)
            weight = weight * line.reshape([-1 if a == axis else 1 for a in range(weight.ndim)])
        return weight


def _line(start: int, length: int, n: int, fade: int) -> Tensor:
    """The weight of an area along one axis [n]."""
    line = torch.zeros(n)
    start = min(max(start, 0), n)
    length = max(0, min(length, n - start))
    line[start:start + length] = 1
    steps = min(fade, length // 4)
    ramp = torch.arange(1, steps + 1) / max(1, steps)
    if start > 0:
        line[start:start + steps] *= ramp
    if start + length < n:
        line[start + length - steps:start + length] *= ramp.flip(0)
    return line


def scaled(mask: Tensor, size: Size) -> Tensor:
    """A mask [H,W] or [N,H,W] as float [1,*size]: the first one, the same for every frame of a film."""
    mask = mask.detach().float().cpu()
    mask = mask[None] if mask.ndim == 2 else mask[:1]
    if len(size) > 2 and mask.ndim == len(size) + 1:
        return torch.nn.functional.interpolate(mask[None], size, mode="trilinear", align_corners=False)[0]
    grown = torch.nn.functional.interpolate(mask[None], size[-2:], mode="bilinear", align_corners=False)[0]
    return grown.reshape(1, *[1] * (len(size) - 2), *size[-2:]).expand(1, *size).clone()
