"""Everything that is drawn follows from whole numbers: the seed of a run, and what is drawn for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mixed(*numbers: int) -> int:
    """One seed of several whole numbers (the finaliser of SplitMix64, chained)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state


def seeded_normal(shape: Sequence[int], *numbers: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers that follow from whole numbers alone, on the CPU."""
    return torch.randn(list(shape), generator=torch.Generator().manual_seed(mixed(*numbers) % 2**63), dtype=dtype)
