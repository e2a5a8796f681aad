"""Noise that belongs to the canvas: the same pixel sees the same noise in whichever crop it lies, and nothing depends on the
order of the crops, on how many share a batch, or on how many canvases there are."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import product
from typing import Protocol

import torch
from torch import Tensor

from .canvas import Crops
from .denoiser import View
from .seeds import seeded_normal

BLOCK_NUMBERS = 2**14
KEPT_BYTES = 2**26


class NoiseSource(Protocol):
    """Standard normal numbers. draw: which of the draws of the whole run this is."""

    def __call__(self, draw: int, like: Tensor, view: View) -> Tensor: ...


class IndependentNoise:
    """A stream per sample: sample i of every draw comes from generator i. For views that share no pixels."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds

    def __call__(self, draw: int, like: Tensor, view: View) -> Tensor:
        drawn = [seeded_normal(like.shape[1:], self.seeds[i % len(self.seeds)], draw, i, dtype=like.dtype)
                 for i in range(len(like))]
        return torch.stack(drawn).to(like.device)


class ViewNoise:
    """Of views of one object: each view has noise of its own but for its means over `cells` x `cells` parts of the picture,
    which all views of a draw have in common, so that they decide alike which object they show. lasting: sweeps for which these
    means stay the same; what follows slowly comes as far as something quick does with noise that changes every time. Every view
    alone sees standard normal noise."""

    def __init__(self, seed: int, cells: int = 4, lasting: int = 1) -> None:
        self.seed, self.cells, self.lasting = seed, cells, lasting

    def __call__(self, draw: int, like: Tensor, view: View) -> Tensor:
        own = torch.stack([seeded_normal(like.shape[1:], self.seed, draw, i, dtype=like.dtype) for i in range(len(like))])
        slow = 2 * (draw // 2 // self.lasting) + draw % 2  # a sweep has two draws
        parts = coarse_shape(own, self.cells)
        common = seeded_normal((own.shape[1], math.prod(parts)), self.seed, slow, -1, dtype=like.dtype)
        return with_coarse(own, common, self.cells).to(like.device)


def coarse_shape(x: Tensor, cells: int) -> tuple[int, int]:
    """Rows and columns of parts of pictures [N,C,H,W]: cells x cells, or fewer where there are fewer pixels."""
    return min(cells, x.shape[2]), min(cells, x.shape[3])


def coarse(x: Tensor, cells: int) -> Tensor:
    """The means of pictures [N,C,H,W] over cells x cells parts, times the root of their pixels, [N,C,parts]: standard normal
    where x is."""
    part, count = _parts(x, cells)
    return x.new_zeros(*x.shape[:2], len(count)).index_add(2, part, x.flatten(2)) / count.sqrt()


def with_coarse(x: Tensor, wanted: Tensor, cells: int) -> Tensor:
    """x [N,C,H,W] with other `coarse` numbers, [N,C,parts] or one set of them for all, [C,parts]."""
    part, count = _parts(x, cells)
    return x + ((wanted - coarse(x, cells)) / count.sqrt())[:, :, part].view_as(x)


def _parts(x: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The part of each pixel, int64 [H*W], and how many pixels parts have."""
    (height, width), (rows, columns) = x.shape[2:], coarse_shape(x, cells)
    of_row, of_column = torch.arange(height) * rows // height, torch.arange(width) * columns // width
    part = (of_row[:, None] * columns + of_column).flatten().to(x.device)
    return part, torch.bincount(part, minlength=rows * columns).to(x)


class CanvasNoise:
    """A field of noise per canvas and draw, made block by block where it is needed.

    seeds: one per canvas. A block covers about 16,000 numbers. Kept are the blocks of the newest draw and of its neighbours, as
    the two draws of a sweep take turns; of these the newest, 64 MB at most.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self._kept: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._bytes = 0

    def __call__(self, draw: int, like: Tensor, view: View) -> Tensor:
        """like [N*B,C,*crop] of N crops of B canvases -> noise of its shape, type and device."""
        crops: Crops = view  # pyright: ignore[reportAssignmentType]
        out = [torch.stack([self._crop(seed, draw, like, crops, i) for seed in self.seeds])
               for i in range(len(like) // len(self.seeds))]
        return torch.stack(out).flatten(0, 1).to(like.device)

    def _crop(self, seed: int, draw: int, like: Tensor, crops: Crops, i: int) -> Tensor:
        channels, crop = like.shape[1], like.shape[2:]
        size = crops.frame.size
        block = max(1, round((BLOCK_NUMBERS / channels) ** (1 / len(size))))
        out = torch.empty(channels, *crop, dtype=like.dtype)
        spans = [_spans(start, length, extent, block)
                 for start, length, extent in zip(crops.starts[i], crop, size, strict=True)]
        for pieces in product(*spans):
            shape = [min(block, extent - piece[0] * block) for piece, extent in zip(pieces, size, strict=True)]
            field = self._block((seed, draw, *(piece[0] for piece in pieces)), (channels, *shape), like.dtype)
            out[(slice(None), *(piece[1] for piece in pieces))] = field[(slice(None), *(piece[2] for piece in pieces))]
        return out

    def _block(self, key: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = seeded_normal(shape, *key, dtype=dtype)
            self._bytes += found.numel() * found.element_size()
            while len(self._kept) > 1 and (self._bytes > KEPT_BYTES or abs(next(iter(self._kept))[1] - key[1]) > 1):
                _, old = self._kept.popitem(last=False)
                self._bytes -= old.numel() * old.element_size()
        return found


def _spans(start: int, length: int, extent: int, block: int) -> list[tuple[int, slice, slice]]:
    """A stretch of an axis that may wrap, cut at the blocks: number of the block, where in the crop, where in the block."""
    spans: list[tuple[int, slice, slice]] = []
    at = 0
    while at < length:
        where = (start + at) % extent
        number = where // block
        count = min(length - at, min((number + 1) * block, extent) - where)
        spans.append((number, slice(at, at + count), slice(where - number * block, where - number * block + count)))
        at += count
    return spans
