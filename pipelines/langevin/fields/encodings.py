"""What a radiance field knows of a place before its small network reads it: sines, three planes, a pyramid of hashed grids.

Each maps points [N,3] of [-1,1]^3 to features [N,size]. Places outside are read at the border.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PRIMES = (1, 2_654_435_761, 805_459_861)


class Encoding(nn.Module):
    """size: features per point."""

    size: int

    def forward(self, points: Tensor) -> Tensor:
        """points [N,3] -> [N,size]."""
        raise NotImplementedError

    def roughness(self) -> Tensor:
        """Total variation of what is stored, a scalar: mean squared step between neighbours; 0 where nothing is stored."""
        return torch.zeros(())


class Sines(Encoding):
    """x, then sin and cos of 2^i pi x for i < frequencies (Mildenhall et al. 2020, eq. 4)."""

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.frequencies, self.size = frequencies, 3 * (1 + 2 * frequencies)

    def forward(self, points: Tensor) -> Tensor:
        scale = 2.0 ** torch.arange(self.frequencies, device=points.device).to(points) * math.pi
        angle = (points[:, None] * scale[:, None]).flatten(1)
        return torch.cat([points, angle.sin(), angle.cos()], dim=1)


class Planes(Encoding):
    """Three planes of features, xy, xz and yz, read bilinearly and set side by side (Chan et al. 2022 add them)."""

    def __init__(self, resolution: int, features: int) -> None:
        super().__init__()
        self.size = 3 * features
        self.planes = nn.Parameter(0.1 * torch.randn(3, features, resolution, resolution))

    def forward(self, points: Tensor) -> Tensor:
        grid = torch.stack([points[:, [0, 1]], points[:, [0, 2]], points[:, [1, 2]]])[:, None]
        read = F.grid_sample(self.planes, grid, mode="bilinear", padding_mode="border", align_corners=True)
        return read[:, :, 0].flatten(0, 1).T

    def roughness(self) -> Tensor:
        across = (self.planes[..., 1:] - self.planes[..., :-1]).square().mean()
        return across + (self.planes[..., 1:, :] - self.planes[..., :-1, :]).square().mean()


class HashGrids(Encoding):
    """Grids from `coarsest` to `finest` cells a side, `levels` of them in geometric steps, each in a table of at most 2^table
    entries that larger grids share by a hash, read trilinearly (Mueller et al. 2022)."""

    def __init__(self, levels: int, features: int, coarsest: int, finest: int, table: int) -> None:
        super().__init__()
        growth = (finest / coarsest) ** (1 / max(1, levels - 1))
        self.sides = [math.floor(coarsest * growth**i + 1e-6) for i in range(levels)]
        self.entries = [min((side + 1) ** 3, 2**table) for side in self.sides]
        self.size = levels * features
        self.tables = nn.Parameter(0.2 * torch.rand(sum(self.entries), features) - 0.1)

    def forward(self, points: Tensor) -> Tensor:
        unit = ((points + 1) / 2).clamp(0, 1)
        corners = torch.tensor([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], device=points.device)
        out: list[Tensor] = []
        first = 0
        for side, entries in zip(self.sides, self.entries, strict=True):
            place = unit * side
            low = place.detach().floor().clamp(max=side - 1)
            part = place - low
            at = low.long()[:, None] + corners  # [N,8,3]
            if (side + 1) ** 3 <= entries:
                index = (at[..., 0] * (side + 1) + at[..., 1]) * (side + 1) + at[..., 2]
            else:
                index = (at[..., 0] * PRIMES[0] ^ at[..., 1] * PRIMES[1] ^ at[..., 2] * PRIMES[2]) % entries
            share = torch.where(corners.bool(), part[:, None], 1 - part[:, None]).prod(dim=2)
            read = F.embedding(first + index, self.tables)
            out.append((read * share[..., None]).sum(dim=1))
            first += entries
        return torch.cat(out, dim=1)
