"""Where a radiance field is not empty: a coarse grid of its density, by which rays skip empty space and know where to look."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 48
DECAY = 0.9
OPACITY = 0.005
"""A cell is empty when the density of it and of its neighbours would hide less than this along one cell's width."""


class OccupancyGrid:
    """values: density per cell, float [S,S,S] as (x, y, z), the larger of what was seen now and, fading, before. Before the
    first update everything counts as occupied."""

    def __init__(self, side: int = SIDE, device: torch.device | None = None) -> None:
        self.side = side
        self.values = torch.full((side, side, side), torch.inf, device=device)
        self._near = self._sure = self.values
        self._full = torch.ones_like(self.values, dtype=torch.bool)

    @classmethod
    def of(cls, density: Callable[[Tensor], Tensor], side: int = SIDE, looks: int = 4, *,
           device: torch.device | None = None) -> OccupancyGrid:
        """Of a medium that does not change any more, looked at so many times; the same every time."""
        found, generator = cls(side, device), torch.Generator().manual_seed(0)
        for _ in range(looks):
            found.update(density, generator, fade=1.0)
        return found

    @property
    def share(self) -> float:
        """Of the space that is occupied, 0..1."""
        return float(self._full.float().mean())

    def update(self, density: Callable[[Tensor], Tensor], generator: torch.Generator, batch: int = 2**17, *,
               fade: float = DECAY) -> None:
        """Look at one random place in every cell. generator: on the CPU. fade: what is left of what was seen before."""
        side, device = self.side, self.values.device
        where = torch.stack(torch.meshgrid(*[torch.arange(side)] * 3, indexing="ij"), dim=-1).reshape(-1, 3)
        points = ((where + torch.rand(where.shape, generator=generator)) * 2 / side - 1).to(device)
        with torch.no_grad():
            seen = torch.cat([density(points[i:i + batch]) for i in range(0, len(points), batch)]).reshape_as(self.values)
        old = torch.where(torch.isinf(self.values), torch.zeros_like(seen), self.values * fade)
        self.values = torch.maximum(seen.to(old), old)
        self._derive()

    def _derive(self) -> None:
        self._near = F.max_pool3d(self.values[None, None], 3, 1, 1)[0, 0]
        self._sure = -F.max_pool3d(-self.values[None, None], 3, 1, 1)[0, 0]
        self._full = self._near * 2 / self.side > OPACITY

    def index(self, points: Tensor) -> Tensor:
        """Of the cells of points [...,3], into the flattened grid."""
        cell = ((points + 1) * (self.side / 2)).long().clamp_(0, self.side - 1)
        return (cell[..., 0] * self.side + cell[..., 1]) * self.side + cell[..., 2]

    def occupied(self, points: Tensor) -> Tensor:
        """points [...,3] -> bool [...]."""
        return self._full.flatten()[self.index(points)]

    def most(self, points: Tensor, edges: Tensor) -> Tensor:
        """The most that intervals with edges [R,M+1] may show of what rays see, [R,M]: as dense as the densest cell near their
        places [R,M,3], hidden only by what is dense all around."""
        cells, wide = self.index(points), edges[:, 1:] - edges[:, :-1]
        hiding = (self._sure.flatten()[cells].clamp(max=1e4) * wide).cumsum(dim=1)
        before = torch.exp(-F.pad(hiding, (1, 0))[:, :-1])
        return before * (1 - torch.exp(-self._near.flatten()[cells].clamp(max=1e4) * wide)) * self._full.flatten()[cells]

    def state(self) -> Tensor:
        """For a checkpoint."""
        return self.values.clone()

    def load(self, values: Tensor) -> None:
        """From a checkpoint."""
        self.values = values.clone().to(self.values.device)
        self._derive()
