"""The surface of a radiance field as a mesh: marching cubes over its density, coloured as it is seen from outside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import InvalidInputError
from ...steps import OnStep, StepInfo, ignore
from .cameras import length
from .radiance_field import RadianceField
from .rendering import DensityOf, Sampling, look, normals_at

HAZE = 0.01
"""Cells that hide less than this along their width are air."""
LEVELS = 128
SEEN = Sampling(24, 64)
BATCH = 2**17

Volume = npt.NDArray[np.float32]


class EmptyFieldError(InvalidInputError):
    """A radiance field in which nothing is to be seen."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices float32 [N,3] of the world, Y up. faces int64 [M,3], counter-clockwise seen from outside. colours float32 [N,3]
    as in pictures (sRGB), 0..1. normals: unit vectors that point outwards, float32 [N,3]."""

    vertices: Tensor
    faces: Tensor
    colours: Tensor
    normals: Tensor


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """density float32 [S,S,S] as (x, y, z), at the middles of S cells a side of [-1,1]^3."""

    density: Volume

    @property
    def cell(self) -> float:
        """Width of a cell."""
        return 2 / len(self.density)

    @property
    def level(self) -> float:
        """Where solid begins: Otsu's threshold of the logarithm of the density, among what is not air."""
        found = self.density[1 - np.exp(-self.density * self.cell) > HAZE]
        return math.exp(otsu(np.log(found)))

    def require_something(self) -> None:
        """Raise EmptyFieldError unless some ray along an axis would be stopped."""
        thickest = max(float(self.density.sum(axis=axis).max()) for axis in range(3)) * self.cell
        if not thickest > math.log(2):
            raise EmptyFieldError(f"The radiance field is empty: nothing in it hides more than "
                                  f"{100 * -math.expm1(-thickest):.0f} % of what lies behind, so it has no surface; fit it "
                                  f"longer, or to pictures in which the object differs from the background.")

    def solid(self, level: float, *, largest: bool) -> Volume:
        """Density that crosses the level only at surfaces to be kept: cavities are filled, and with `largest` the largest piece
        alone is left."""
        found = self.density.copy()
        inside = found > level
        air = _pieces(np.pad(~inside, 1, constant_values=True))
        filled = (air != air[0, 0, 0])[1:-1, 1:-1, 1:-1]
        found[filled & ~inside] = float(found.max())
        if largest:
            pieces = _pieces(filled)
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            found[filled & (pieces != sizes.argmax())] = 0
        return found


def _pieces(solid: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Numbers from 1 for the pieces of what is true, which touch along faces; 0 elsewhere."""
    from skimage import measure  # pyright: ignore[reportMissingTypeStubs]

    return cast(Any, measure).label(solid, connectivity=1)


def otsu(values: Volume) -> float:
    """The threshold that parts values into two classes with the largest variance between them (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=LEVELS)
    middles = (edges[1:] + edges[:-1]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    moment = (counts * middles).cumsum()
    difference = moment / np.maximum(below, 1) - (moment[-1] - moment) / np.maximum(above, 1)
    between = below * above * difference**2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # several where there is a gap between the classes
    return float(edges[1 + best].mean())


def density_grid(density: DensityOf, side: int, *, device: torch.device | None = None,
                 on_step: OnStep = ignore) -> DensityGrid:
    """The density on side^3 places. on_step: told after each of the `side` layers."""
    axis = (torch.arange(side, dtype=torch.float32) + 0.5) * 2 / side - 1
    layer = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(-1, 2)
    found: list[Tensor] = []
    with torch.no_grad():
        for i, x in enumerate(axis):
            points = torch.cat([torch.full_like(layer[:, :1], float(x)), layer], dim=1).to(device)
            found.append(torch.cat([density(part) for part in torch.split(points, BATCH)]).reshape(side, side).float().cpu())
            on_step(StepInfo(i + 1, side))
    return DensityGrid(torch.stack(found).numpy())


def extract_mesh(field: RadianceField, grid: DensityGrid, *, level: float | None = None, largest: bool = True) -> Mesh:
    """The surface where the density is `level`, per unit of length; by default where solid begins (`DensityGrid.level`). grid:
    of the field, at least 8 cells a side. largest: of several pieces only the largest. The mesh is closed: what would leave the
    cube is cut off flat. Raises EmptyFieldError, and InvalidInputError for a level that nothing reaches."""
    from skimage import measure  # pyright: ignore[reportMissingTypeStubs]

    if len(grid.density) < 8:
        raise InvalidInputError(f"A mesh is made on at least 8 cells a side, got {len(grid.density)}.")
    grid.require_something()
    level = grid.level if level is None else level
    if not 0 < level < float(grid.density.max()):
        raise InvalidInputError(f"The level of a surface lies between 0 and the field's highest density, "
                                f"{float(grid.density.max()):.3g}, got {level:g}; choose another, or 0 to have it found.")
    solid = np.pad(grid.solid(level, largest=largest), 1)
    places, faces, _, _ = cast(Any, measure).marching_cubes(solid, level)
    vertices = torch.from_numpy((places - 0.5) * grid.cell - 1).float()
    normals, colours = _outside(field, vertices, grid.cell)
    return Mesh(vertices, torch.from_numpy(faces[:, ::-1].astype(np.int64)), colours, normals)


def _outside(field: RadianceField, vertices: Tensor, cell: float) -> tuple[Tensor, Tensor]:
    """Outward normals, and the colours that are seen straight on from just outside, of vertices [N,3]."""
    normals: list[Tensor] = []
    colours: list[Tensor] = []
    behind = field.shown_background()
    with torch.no_grad():
        for part in torch.split(vertices.to(field.device), SEEN.rays):
            out = normals_at(field.density, part, cell / 2)
            out = torch.where(length(out) > 0.1, out, part / length(part).clamp_min(1e-6))
            seen = look(field, part + 1.5 * cell * out, -out, SEEN)
            alone = seen.colour / seen.opacity[:, None].clamp_min(1e-6)
            colours.append(torch.where(seen.opacity[:, None] > 0.05, alone, behind))
            normals.append(out)
    colour = torch.cat(colours)[:, :3].clamp(0, 1).float().cpu()
    return torch.cat(normals).float().cpu(), colour if colour.shape[1] == 3 else colour[:, :1].expand(-1, 3).contiguous()


def to_linear(colours: Tensor) -> Tensor:
    """sRGB 0..1 -> linear light 0..1 (IEC 61966-2-1), which glTF wants of its vertices."""
    return torch.where(colours <= 0.04045, colours / 12.92, ((colours.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
