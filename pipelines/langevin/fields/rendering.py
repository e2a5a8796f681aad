"""Volume rendering: what a ray sees of a medium that glows and absorbs (Max 1995; Mildenhall et al. 2020, eqs. 1 to 5).

A ray is cut into intervals between where it enters and leaves [-1,1]^3. The medium is looked at once in each, so that
interval i hides a_i = 1 - exp(-density_i length_i) of what is behind it and has the weight w_i = a_i prod_{j<i} (1 - a_j).
The weights and the transmittance add up to 1. Intervals are even, or short where a proposal (the occupancy grid, or the medium
itself, looked at coarsely) says that something is to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InvalidInputError
from .cameras import Cameras, length
from .occupancy import OccupancyGrid

DensityOf = Callable[[Tensor], Tensor]
NORMAL_STEP = 0.002
FLOOR = 0.02
"""Share of the intervals of a proposal that is spread evenly, so that nothing is never looked at."""


class Medium(Protocol):
    """A radiance field, or anything that is seen like one."""

    def __call__(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """points, directions [N,3] -> density [N], colour [N,C]."""
        ...

    def density(self, points: Tensor) -> Tensor:
        """points [N,3] -> density [N]."""
        ...


@dataclass(frozen=True)
class Sampling:
    """samples: intervals of a ray. coarse: places at which the proposal is read, 0 for even intervals. chunk: places looked at
    at once, which bounds the memory. Raises InvalidInputError."""

    samples: int = 32
    coarse: int = 64
    chunk: int = 2**18

    def __post_init__(self) -> None:
        if self.samples < 1 or self.coarse < 0 or self.chunk < self.samples:
            raise InvalidInputError(f"Rays have at least 1 sample and a chunk holds at least one ray, got {self.samples} "
                                    f"samples and chunks of {self.chunk}.")

    @property
    def rays(self) -> int:
        """Rays in a chunk."""
        return max(1, self.chunk // max(self.samples, self.coarse))


@dataclass(frozen=True, eq=False)
class Seen:
    """What R rays see. colour: without any background, [R,C]. weights [R,S]; transmittance: what is seen of the background,
    [R]. edges: of the intervals, as distances from the ray's origin, [R,S+1]; middles [R,S]: where in them the medium was
    looked at."""

    colour: Tensor
    weights: Tensor
    transmittance: Tensor
    edges: Tensor
    middles: Tensor

    @property
    def opacity(self) -> Tensor:
        """1 - transmittance, [R]."""
        return 1 - self.transmittance

    @property
    def depth(self) -> Tensor:
        """Mean distance from the ray's origin of what is seen, [R]; where the ray leaves, as far as it sees the background."""
        return (self.weights * self.middles).sum(dim=1) + self.transmittance * self.edges[:, -1]

    def over(self, background: Tensor) -> Tensor:
        """The colour in front of a background [C] or [R,C]."""
        return self.colour + self.transmittance[:, None] * background


def enter_and_leave(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Distances at which rays [R,3] enter and leave [-1,1]^3, [R] each; both where they pass the origin for those that miss it.
    """
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (-1 - origins) / safe, (1 - origins) / safe
    near = torch.minimum(first, second).amax(dim=1).clamp_min(0)
    far = torch.maximum(first, second).amin(dim=1)
    passing = -(origins * directions).sum(dim=1).clamp_max(0)
    return torch.where(far > near, near, passing), torch.where(far > near, far, passing)


def intervals(near: Tensor, far: Tensor, count: int, proposal: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Edges [R,count+1] from near to far [R]. proposal: edges [R,M+1] and weights [R,M], 0 or more; edges are put at even
    quantiles of it."""
    at = (torch.arange(count + 1).to(near) / count).expand(len(near), -1)
    if proposal is None:
        return near[:, None] + at * (far - near)[:, None]
    edges, weights = proposal
    total = weights.sum(dim=1, keepdim=True)
    even = (edges[:, 1:] - edges[:, :-1]) / (far - near).clamp_min(1e-9)[:, None]
    share = torch.where(total > 1e-6, (1 - FLOOR) * weights / total.clamp_min(1e-6) + FLOOR * even, even)
    cumulative = torch.cat([torch.zeros_like(total), share.cumsum(dim=1)], dim=1)
    cumulative = cumulative / cumulative[:, -1:].clamp_min(1e-9)
    high = torch.searchsorted(cumulative.contiguous(), at.contiguous(), right=True).clamp(1, weights.shape[1])
    low_c, high_c = cumulative.gather(1, high - 1), cumulative.gather(1, high)
    low_e, high_e = edges.gather(1, high - 1), edges.gather(1, high)
    part = ((at - low_c) / (high_c - low_c).clamp_min(1e-9)).clamp(0, 1)
    return torch.cat([near[:, None], (low_e + part * (high_e - low_e))[:, 1:-1], far[:, None]], dim=1)


def composited(density: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """density [R,S] in intervals with edges [R,S+1] -> weights [R,S] and transmittance [R]."""
    hidden = torch.cat([torch.zeros_like(density[:, :1]), (density * (edges[:, 1:] - edges[:, :-1])).cumsum(dim=1)], dim=1)
    passed = torch.exp(-hidden)
    return passed[:, :-1] - passed[:, 1:], passed[:, -1]


def look(medium: Medium, origins: Tensor, directions: Tensor, sampling: Sampling, *, occupancy: OccupancyGrid | None = None,
         jitter: Tensor | None = None) -> Seen:
    """What rays [R,3] see; differentiable with respect to the medium. jitter: 0..1, [R,samples], where in its interval the
    medium is looked at; the middle without. occupancy: leaves out what it calls empty, and proposes; without it the medium
    proposes, looked at without gradients."""
    rays, count = len(origins), sampling.samples
    with torch.no_grad():
        near, far = enter_and_leave(origins, directions)
        proposal = None
        if sampling.coarse:
            steps = intervals(near, far, sampling.coarse)
            where = origins[:, None] + 0.5 * (steps[:, 1:] + steps[:, :-1])[..., None] * directions[:, None]
            if occupancy is not None:
                weights = occupancy.most(where, steps)
            else:
                weights, _ = composited(medium.density(where.reshape(-1, 3)).reshape(rays, -1), steps)
                wide = F.pad(weights, (1, 1))  # what lies at the border of an interval is not missed (Barron et al. 2022)
                weights = 0.5 * (torch.maximum(wide[:, :-2], weights) + torch.maximum(weights, wide[:, 2:]))
            proposal = steps, weights
        edges = intervals(near, far, count, proposal)
        middles = edges[:, :-1] + (0.5 if jitter is None else jitter) * (edges[:, 1:] - edges[:, :-1])
        points = (origins[:, None] + middles[..., None] * directions[:, None]).reshape(-1, 3)
        wanted = (edges[:, 1:] > edges[:, :-1]).reshape(-1)
        if occupancy is not None:
            wanted = wanted & occupancy.occupied(points)
        kept = wanted.nonzero()[:, 0]
    along = directions[:, None].expand(-1, count, -1).reshape(-1, 3)
    kept = kept if len(kept) else torch.zeros(1, dtype=torch.long, device=kept.device)
    some_density, some_colour = medium(points[kept], along[kept])
    density = some_density.new_zeros(rays * count).index_copy(0, kept, some_density).reshape(rays, count)
    weights, transmittance = composited(density, edges)
    lit = weights.reshape(-1)[kept, None] * some_colour
    colour = lit.new_zeros(rays, lit.shape[1]).index_add(0, kept.div(count, rounding_mode="floor"), lit)
    return Seen(colour, weights, transmittance, edges, middles)


def normals_at(density: DensityOf, points: Tensor, step: float = NORMAL_STEP) -> Tensor:
    """Unit vectors [N,3] against the gradient of the density, by central differences, which can be
    differentiated with respect to the medium. 0 where the density does not change."""
    shifts = step * torch.cat([torch.eye(3), -torch.eye(3)]).to(points)
    values = density((points[None] + shifts[:, None]).reshape(-1, 3)).reshape(2, 3, -1)
    slope = (values[1] - values[0]).T
    return slope / length(slope).clamp_min(1e-12)


@dataclass(frozen=True, eq=False)
class Picture:
    """B pictures of a field. colour: in front of the background, [B,H,W,C]. opacity [B,H,W], 0..1. depth: distance from the
    camera, [B,H,W]. normals: unit vectors in the world, 0 where nothing is, [B,H,W,3], or None."""

    colour: Tensor
    opacity: Tensor
    depth: Tensor
    normals: Tensor | None


def render(medium: Medium, cameras: Cameras, height: int, width: int, background: Tensor, sampling: Sampling, *,
           occupancy: OccupancyGrid | None = None, normals: bool = False, step: float = NORMAL_STEP) -> Picture:
    """Pictures, without gradients, chunk by chunk; no randomness. background: [C]. step: at which densities are compared for
    normals; one of the size of a field's grid cells is less rough."""
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
    with torch.no_grad():
        for origins, directions in chunks(cameras, height, width, sampling.rays):
            seen = look(medium, origins, directions, sampling, occupancy=occupancy)
            found = _normals(medium, origins, directions, seen, step) if normals else None
            parts.append((seen.over(background), seen.opacity, seen.depth, found))
    shape = (len(cameras), height, width)
    colour, opacity, depth = (torch.cat([part[i] for part in parts]) for i in range(3))  # pyright: ignore[reportArgumentType]
    up = torch.cat([part[3] for part in parts if part[3] is not None]).reshape(*shape, 3) if normals else None
    return Picture(colour.reshape(*shape, -1), opacity.reshape(shape), depth.reshape(shape), up)


def _normals(medium: Medium, origins: Tensor, directions: Tensor, seen: Seen, step: float) -> Tensor:
    """Mean normal of what rays see, [R,3]; unit vectors, 0 where almost nothing is seen."""
    kept = (seen.weights > 1e-3).nonzero()
    rows = kept[:, 0]
    weight = seen.weights[rows, kept[:, 1]]
    points = origins[rows] + seen.middles[rows, kept[:, 1]][:, None] * directions[rows]
    mean = torch.zeros_like(origins).index_add(0, rows, weight[:, None] * normals_at(medium.density, points, step))
    return torch.where(seen.opacity[:, None] > 0.05, mean / length(mean).clamp_min(1e-9), torch.zeros_like(mean))


def chunks(cameras: Cameras, height: int, width: int, rays: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All rays of all pictures, [R,3] origins and directions, at most `rays` at a time, camera by camera, row by row."""
    for i in range(len(cameras)):
        origins, directions = (x.reshape(-1, 3) for x in cameras[i].rays(height, width))
        for start in range(0, len(origins), rays):
            yield origins[start:start + rays], directions[start:start + rays]
