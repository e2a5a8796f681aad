"""A lapped orthogonal transform along a line: the modified discrete cosine transform with a sine window (Princen, Johnson and
Bradley 1987), as folds across the borders of blocks and a DCT-IV of every block.

The matrix is square and orthogonal: white noise stays white, and squared errors stay what they are. A stationary tone of w
radians per sample is, in every bin of blocks of N, a sequence with c[t+1] = 2 cos(w N) c[t] - c[t-1]. Nothing is folded at the
two ends of the line, so that any line of whole blocks has its transform.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def lapped(x: Tensor, block: int) -> Tensor:
    """x float [N,C,T], T a multiple of `block` -> coefficients [N,C*block,T/block], the bins of a channel together."""
    count, channels, length = x.shape
    frames = _folded(x.reshape(count, channels, length // block, block), 1.0)
    return _product(frames, block).transpose(2, 3).reshape(count, channels * block, -1)


def unlapped(x: Tensor, block: int) -> Tensor:
    """The inverse of `lapped`."""
    count, channels, length = x.shape
    frames = _product(x.reshape(count, channels // block, block, length).transpose(2, 3), block)
    return _folded(frames, -1.0).reshape(count, channels // block, -1)


def _folded(frames: Tensor, sign: float) -> Tensor:
    """Rotate every sample before a border [N,C,F,block] with its mirror image behind it, or, with sign -1, back."""
    half = frames.shape[3] // 2
    before, behind = frames[:, :, :-1, -half:].flip(3), frames[:, :, 1:, :half]
    angle = math.pi / 4 * (1 + (torch.arange(half, dtype=torch.float64, device=frames.device) + 0.5) / half)
    sine, cosine = angle.sin().to(frames), sign * angle.cos().to(frames)
    out = frames.clone()
    out[:, :, :-1, -half:] = (sine * before - cosine * behind).flip(3)
    out[:, :, 1:, :half] = sine * behind + cosine * before
    return out


def _product(frames: Tensor, block: int) -> Tensor:
    """The DCT-IV of every block, its own inverse; under autocast too in the precision of the values."""
    with torch.autocast(frames.device.type, enabled=False):
        return frames @ _cosines(block).to(frames)


@lru_cache(maxsize=8)
def _cosines(block: int) -> Tensor:
    """float64 [block,block]."""
    places = torch.arange(block, dtype=torch.float64, device="cpu") + 0.5
    return math.sqrt(2 / block) * torch.cos(math.pi / block * torch.outer(places, places))
