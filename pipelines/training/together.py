"""Several processes that train as one: each takes its share of every batch, and the gradients are averaged.

All processes draw the same random numbers and the same order of pictures, and take every n-th row of what is drawn. So two
processes with a batch of 4 do, up to rounding, what one does with a batch of 8, and the state of the first is everybody's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Group:
    """This process among `size`. Above 1 torch.distributed is initialised; rank 0 writes."""

    rank: int = 0
    size: int = 1

    @property
    def leader(self) -> bool:
        return self.rank == 0

    def share(self, whole: Tensor) -> Tensor:
        """This process's rows of what was drawn for all."""
        return whole[self.rank::self.size]

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Mean of the gradients over all processes, in one message."""
        if self.size == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        flat /= self.size
        offset = 0
        for g in grads:
            g.copy_(flat[offset:offset + g.numel()].view_as(g))
            offset += g.numel()

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes."""
        if self.size == 1:
            return flag
        flags = torch.tensor([float(flag)])
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags[0])


ALONE = Group()
