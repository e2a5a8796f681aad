"""A canvas larger than the denoiser's crop: sound (one axis), pictures (two), film (three; frames first).

Every sweep covers the canvas once: at a random offset it is cut into cells, each cell is the inner part of a crop, and each
pixel is written by one crop alone. Fixed grids leave seams for ever, and averaged overlaps lose temperature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Protocol

import torch
from torch import Tensor

from ..errors import InvalidInputError
from .seeds import mixed

PARTS = 16
"""Of a canvas that are compared one after the other, so that their difference takes little memory."""
Span = tuple[int, int, int]
"""Start of the crop, begin and end of the part of it that is written."""


@dataclass(frozen=True)
class Frame:
    """How a canvas is cut. Per axis: size of canvas and of crop, margin of a crop that is read and not written, and whether the
    ends of the axis meet. Raises InvalidInputError."""

    size: tuple[int, ...]
    crop: tuple[int, ...]
    margin: tuple[int, ...]
    wrap: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not len(self.size) == len(self.crop) == len(self.margin) == len(self.wrap):
            raise InvalidInputError(f"A canvas has as many sizes, crops, margins and wraps as axes, got {self.size}, "
                                    f"{self.crop}, {self.margin}, {self.wrap}.")
        for size, crop, margin in zip(self.size, self.crop, self.margin, strict=True):
            if crop > size:
                raise InvalidInputError(f"The canvas of {_times(self.size)} is smaller than what the denoiser sees at once, "
                                        f"{_times(self.crop)}; make it larger.")
            if margin < 0 or crop - 2 * margin < 1:
                raise InvalidInputError(f"A margin of {margin} leaves nothing of a crop of {crop}; give less than half.")

    def cells(self, seed: int) -> list[tuple[Span, ...]]:
        """The crops of a sweep, row by row; their written parts cover the canvas once. The offset follows from the seed."""
        axes = [_axis(mixed(seed, i), *values)
                for i, values in enumerate(zip(self.size, self.crop, self.margin, self.wrap, strict=True))]
        return list(product(*axes))


def framed(size: Sequence[int], crop: Sequence[int], margin: float | Sequence[int], wrap: Sequence[bool]) -> Frame:
    """A frame whose margin may be a share of the crop, rounded up: windows of a few frames of film keep one. Along an axis that
    is as long as the crop there is no margin."""
    margins = ([min(math.ceil(margin * c - 1e-9), (c - 1) // 2) for c in crop] if isinstance(margin, float | int)
               else list(margin))
    margins = [0 if s == c and not w else m for s, c, m, w in zip(size, crop, margins, wrap, strict=True)]
    return Frame(tuple(size), tuple(crop), tuple(margins), tuple(wrap))


def _times(sizes: Sequence[int]) -> str:
    return "x".join(str(n) for n in reversed(sizes))


def _axis(seed: int, size: int, crop: int, margin: int, wrap: bool) -> list[Span]:
    inner = crop - 2 * margin
    offset = mixed(seed) % size
    if wrap:
        return [(offset + at - margin, margin, margin + min(inner, size - at)) for at in range(0, size, inner)]
    if size == crop:
        return [(0, 0, size)]
    borders = [0, *range(margin + 1 + offset % inner, size - margin, inner), size]
    spans: list[Span] = []
    for low, high in pairwise(borders):
        start = min(max(low - margin, 0), size - crop)
        spans.append((start, low - start, high - start))
    return spans


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of a frame, of each of `canvases` canvases: sample i * canvases + b is crop i of canvas b. starts: first index per
    axis, taken modulo the size where the axis wraps. kept: per axis, the part of a crop that is written."""

    frame: Frame
    starts: tuple[tuple[int, ...], ...]
    kept: tuple[tuple[slice, ...], ...]
    canvases: int = 1

    def __len__(self) -> int:
        return len(self.starts) * self.canvases

    @property
    def centres(self) -> Tensor:
        """Where the middles of the samples lie, float32 [N,axes], 0..1 of each axis of the canvas."""
        middle = [[((start + c / 2) % s if w else start + c / 2) / s for start, c, s, w in
                   zip(starts, self.frame.crop, self.frame.size, self.frame.wrap, strict=True)] for starts in self.starts]
        return torch.tensor(middle).repeat_interleave(self.canvases, dim=0)

    def gather(self, values: Tensor) -> Tensor:
        """values [canvases,C,*size] -> crops [N,C,*crop]."""
        return torch.stack([self._cut(values, starts) for starts in self.starts]).flatten(0, 1)

    def crop(self, field: Tensor) -> Tensor:
        """A field [C,*size] that all canvases share -> crops [N,C,*crop]."""
        cut = torch.stack([self._cut(field[None], starts)[0] for starts in self.starts])
        return cut.repeat_interleave(self.canvases, dim=0)

    def only(self, there: Tensor) -> Crops:
        """The crops where a mask bool [N], the same for all canvases, is true."""
        chosen = [int(i) for i in there[::self.canvases].nonzero()]
        return replace(self, starts=tuple(self.starts[i] for i in chosen), kept=tuple(self.kept[i] for i in chosen))

    def magnified(self, scale: int) -> Crops:
        """The same crops of a canvas that is `scale` times as fine."""
        frame = Frame(*(tuple(n * scale for n in sizes) for sizes in (self.frame.size, self.frame.crop, self.frame.margin)),
                      wrap=self.frame.wrap)
        return Crops(frame, tuple(tuple(start * scale for start in starts) for starts in self.starts),
                     tuple(tuple(slice(k.start * scale, k.stop * scale) for k in kept) for kept in self.kept), self.canvases)

    def scatter(self, crops: Tensor, out: Tensor) -> None:
        """Write the kept parts of crops [N,C,*crop] into out [canvases,C,*size]."""
        for i, (starts, kept) in enumerate(zip(self.starts, self.kept, strict=True)):
            part = crops[i * self.canvases:(i + 1) * self.canvases][(slice(None), slice(None), *kept)]
            places = [_places(start + k.start, k.stop - k.start, size)
                      for start, k, size in zip(starts, kept, self.frame.size, strict=True)]
            for pieces in product(*places):
                into = (slice(None), slice(None), *(where for where, _ in pieces))
                out[into] = part[(slice(None), slice(None), *(of for _, of in pieces))].to(out)

    def _cut(self, values: Tensor, starts: tuple[int, ...]) -> Tensor:
        for axis, (start, length, size) in enumerate(zip(starts, self.frame.crop, self.frame.size, strict=True), start=2):
            if start >= 0 and start + length <= size:
                values = values.narrow(axis, start, length)
            else:
                values = values.index_select(axis, (torch.arange(start, start + length, device=values.device)) % size)
        return values


def _places(start: int, length: int, size: int) -> list[tuple[slice, slice]]:
    """A stretch modulo size as slices of the canvas, with what of the stretch goes there."""
    places: list[tuple[slice, slice]] = []
    at = 0
    while at < length:
        where = (start + at) % size
        count = min(length - at, size - where)
        places.append((slice(where, where + count), slice(at, at + count)))
        at += count
    return places


class Constraint(Protocol):
    """What a canvas must keep: rewrites values [B,C,*size] in place after every sweep."""

    def __call__(self, values: Tensor) -> None: ...


@dataclass(frozen=True, eq=False)
class Known:
    """A part that is given. values [B or 1,C,*size]; mask float [1,*size]: 1 where known, in between a mixture."""

    values: Tensor
    mask: Tensor

    def __call__(self, values: Tensor) -> None:
        values.lerp_(self.values.to(values), self.mask.to(values))


class Canvas:
    """Pixels as a representation (`prior.Representation`): a target is written where it belongs.

    values: float [B,C,*size], B canvases that share the offsets of their crops; the tensor given is not changed. batch: crops
    per view, what bounds the memory of the denoiser. device: where crops are worked on. seed: of the offsets.
    """

    share = 1.0

    def __init__(self, values: Tensor, frame: Frame, *, batch: int = 8, seed: int = 0, device: torch.device | None = None,
                 constraints: Sequence[Constraint] = ()) -> None:
        if tuple(values.shape[2:]) != frame.size:
            raise InvalidInputError(f"The canvas holds {_times(values.shape[2:])}, its frame is of {_times(frame.size)}.")
        self.values, self.frame, self.batch, self.seed = values.clone(), frame, batch, seed
        self.device = device or values.device
        self.constraints = constraints
        for constraint in constraints:
            constraint(self.values)
        self._next = self.values.clone()
        known = [constraint.mask[0] >= 1 for constraint in constraints if isinstance(constraint, Known)]
        self._known = torch.stack(known).any(dim=0).cpu() if known else None

    def views(self, sweep: int, *, everywhere: bool = False) -> Iterator[Crops]:
        """The crops of a sweep, `batch` at a time. Those that would write known pixels alone are left out, unless
        `everywhere`: the constraint writes these."""
        cells = self.frame.cells(mixed(self.seed, sweep))
        if not everywhere and self._known is not None:
            cells = [cell for cell in cells if not self._settled(self._known, cell)]
        parts = max(1, -(-len(cells) // max(1, self.batch // len(self.values))))
        count = max(1, -(-len(cells) // parts))  # views of one size, so that cores share all of them
        for i in range(0, len(cells), count):
            part = cells[i:i + count]
            yield Crops(self.frame, tuple(tuple(span[0] for span in cell) for cell in part),
                        tuple(tuple(slice(span[1], span[2]) for span in cell) for cell in part), len(self.values))

    def _settled(self, known: Tensor, cell: tuple[Span, ...]) -> bool:
        """Whether everything that a crop writes is known."""
        places = [_places(start + begin, end - begin, size) for (start, begin, end), size in
                  zip(cell, self.frame.size, strict=True)]
        return all(bool(known[tuple(where for where, _ in pieces)].all()) for pieces in product(*places))

    def render(self, view: Crops) -> Tensor:
        return view.gather(self.values).to(self.device)

    def update(self, view: Crops, target: Tensor) -> None:
        view.scatter(target, self._next)

    def finish(self) -> float:
        """End of a sweep: what was written becomes the canvas, and the constraints hold. Returns the rms change."""
        for constraint in self.constraints:
            constraint(self._next)
        parts = zip(self._next.chunk(PARTS, 2), self.values.chunk(PARTS, 2), strict=True)
        change = math.sqrt(sum(float((a - b).square().sum()) for a, b in parts) / self.values.numel())
        self.values, self._next = self._next, self.values
        return change

    def take(self) -> Tensor:
        """What was written since the last sweep, [B,C,*size], as a tensor of its own."""
        return self._next.clone()

    def preview(self) -> Tensor:
        """The canvases as they are, float [B,C,*size]."""
        return self.values
