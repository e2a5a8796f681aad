"""Objects made of convex solids, with exact ground truth: every ray meets them in closed form.

A solid is what lies below all of its planes and, where it has one, within its quadric. An object is their union. Colours belong
to surfaces and do not depend on the view: light from above and in front, shadows, and less light in corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..pipelines.langevin.fields.cameras import Cameras
from .scenes import Array, Colour

Vector = tuple[float, float, float]
LIGHT = np.array([0.0, 0.78, 0.62], np.float32) / np.float32(np.hypot(0.78, 0.62))
AMBIENT, DIRECT, SKY = 0.56, 0.46, 0.10
CORNERS = ((0.06, 0.45), (0.2, 0.4))
"""Distances above a surface at which nearness of other surfaces takes light, and how much."""
FAR = np.float32(1e9)


@dataclass(frozen=True, eq=False)
class Solid:
    """planes float32 [P,4]: n.x <= d with unit n. quadric: centre [3] and matrix [3,3], (x-c)'M(x-c) <= 1, or None. round: its
    smallest radius. box: corners [8,3] that hold it. shades: takes part in shadows and corners; what is painted on another
    solid does not."""

    planes: Array
    box: Array
    colour: Colour
    quadric: tuple[Array, Array] | None = None
    round: float = 1.0
    shades: bool = True

    def moved(self, shift: Vector, scale: float) -> Solid:
        """Shifted, then scaled about the origin."""
        offset = np.asarray(shift, np.float32)
        planes = self.planes.copy()
        planes[:, 3] = (planes[:, 3] + planes[:, :3] @ offset) * scale
        quadric = None
        if self.quadric is not None:
            quadric = ((self.quadric[0] + offset) * np.float32(scale), self.quadric[1] / np.float32(scale**2))
        return Solid(planes, (self.box + offset) * np.float32(scale), self.colour, quadric, self.round * scale, self.shades)

    def distance(self, points: Array) -> Array:
        """points [N,3] -> [N]: negative inside, zero on the surface, and nowhere larger than the distance from it."""
        found = (self.planes[:, :3] @ points.T - self.planes[:, 3:]).max(axis=0, initial=-FAR)
        if self.quadric is not None:
            centre, matrix = self.quadric
            away = points - centre
            reach = np.sqrt(np.maximum(((away @ matrix) * away).sum(axis=1), 0))
            found = np.maximum(found, (reach - 1) * np.float32(self.round))
        return found

    def crossed(self, origins: Array, directions: Array) -> tuple[Array, Array, npt.NDArray[np.int64]]:
        """Of rays [N,3], origins or directions may be one for all [1,3]: where each enters and leaves, FAR and -FAR where it
        does not, and the number of the plane that it enters through (P: the quadric)."""
        slope = self.planes[:, :3] @ directions.T
        room = self.planes[:, 3:] - self.planes[:, :3] @ origins.T
        with np.errstate(divide="ignore", invalid="ignore"):
            t = room / slope
        enter, leave = np.where(slope < 0, t, -FAR), np.where(slope > 0, t, FAR)
        enter[np.broadcast_to((slope == 0) & (room < 0), enter.shape)] = FAR
        if self.quadric is not None:
            first, last = self._quadric_hits(origins, directions)
            enter, leave = np.concatenate([enter, first[None]]), np.concatenate([leave, last[None]])
        through = enter.argmax(axis=0)
        near, away = np.take_along_axis(enter, through[None], axis=0)[0], leave.min(axis=0)
        missed = near >= away
        near[missed], away[missed] = FAR, -FAR
        return near, away, through

    def _quadric_hits(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        assert self.quadric is not None  # noqa: S101
        centre, matrix = self.quadric
        turned, away = directions @ matrix, origins - centre
        a = (turned * directions).sum(axis=1)
        b = (turned * away).sum(axis=1)
        c = ((away @ matrix) * away).sum(axis=-1) - 1
        root = b * b - a * c
        safe = np.where(a > 1e-12, a, 1)
        spread = np.sqrt(np.maximum(root, 0))
        missed = (root <= 0) | ((a <= 1e-12) & (c > 0))
        whole = (a <= 1e-12) & (c <= 0)
        first = np.where(whole, -FAR, np.where(missed, FAR, (-b - spread) / safe))
        last = np.where(whole, FAR, np.where(missed, -FAR, (-b + spread) / safe))
        return first.astype(np.float32), last.astype(np.float32)

    def normals(self, points: Array, through: npt.NDArray[np.int64]) -> Array:
        """Outward unit normals at points [N,3] of its surface that lie on the planes of these numbers."""
        count = len(self.planes)
        found = np.zeros_like(points)
        if count:
            found = self.planes[np.minimum(through, count - 1), :3].copy()
        if self.quadric is not None:
            curved = through == count
            steep = (points[curved] - self.quadric[0]) @ self.quadric[1]
            found[curved] = steep / np.maximum(np.linalg.norm(steep, axis=1, keepdims=True), 1e-9)
        return found


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera sees. colour float32 [H,W,3], 0..1, on white. coverage [H,W], 0..1. Of the ray through each pixel's centre:
    depth [H,W], the distance along it, 0 where it meets nothing; normals [H,W,3], unit or 0."""

    colour: Array
    coverage: Array
    depth: Array
    normals: Array


@dataclass(frozen=True, eq=False)
class Body:
    """The union of its solids. kind: what it is."""

    kind: str
    solids: tuple[Solid, ...]

    def distance(self, points: Array, *, all_of_it: bool = True) -> Array:
        """points [N,3] -> [N]: negative inside, zero on the surface, nowhere larger than the distance from it. all_of_it: with
        what is painted on."""
        return np.min([solid.distance(points) for solid in self.solids if solid.shades or all_of_it], axis=0)

    def placed(self, half: float, radius: float) -> Body:
        """In the middle of the cube of that half side and of the ball of that radius, as large as both allow."""
        corners = np.concatenate([solid.box for solid in self.solids])
        low, high = corners.min(axis=0), corners.max(axis=0)
        middle = (low + high) / 2
        scale = min(half / float((high - low).max() / 2), radius / float(np.linalg.norm(corners - middle, axis=1).max()))
        x, y, z = (float(value) for value in middle)
        return Body(self.kind, tuple(solid.moved((-x, -y, -z), scale) for solid in self.solids))

    def picture(self, camera: Cameras, size: int, *, samples: int = 3) -> Picture:
        """As one camera sees it, size x size pixels of samples x samples rays; samples is odd, so that one of them is the ray
        through the middle."""
        fine = size * samples
        origins, seen = camera.rays(fine, fine)
        origin, directions = origins[0, 0, 0].numpy().astype(np.float32), seen[0].numpy().astype(np.float32)
        depth = np.full((fine, fine), FAR, np.float32)
        normals, colour = np.zeros((fine, fine, 3), np.float32), np.ones((fine, fine, 3), np.float32)
        for solid in self.solids:
            places, _ = camera.project(torch.from_numpy(solid.box), fine, fine)
            low = np.clip(np.floor(places[0].numpy().min(axis=0) - 0.5), 0, fine).astype(int)
            high = np.clip(np.ceil(places[0].numpy().max(axis=0) + 0.5), 0, fine).astype(int)
            if (high <= low).any():
                continue
            part = (slice(low[1], high[1]), slice(low[0], high[0]))
            along = directions[part].reshape(-1, 3)
            t, _, through = solid.crossed(origin[None], along)
            chosen = np.flatnonzero((t < depth[part].reshape(-1)) & (t > 0))
            rows, columns = chosen // (high[0] - low[0]) + low[1], chosen % (high[0] - low[0]) + low[0]
            depth[rows, columns] = t[chosen]
            normals[rows, columns] = solid.normals(origin + t[chosen, None] * along[chosen], through[chosen])
            colour[rows, columns] = solid.colour
        met = depth < FAR
        points = origin + depth[met][:, None] * directions[met]
        colour[met] = np.clip(colour[met] * self._light(points, normals[met])[:, None], 0, 1)
        middle = (slice(samples // 2, None, samples),) * 2
        grid = (size, samples, size, samples)
        return Picture(colour.reshape(*grid, 3).mean(axis=(1, 3)), met.reshape(grid).mean(axis=(1, 3), dtype=np.float32),
                       np.where(met, depth, 0)[middle], normals[middle])

    def _light(self, points: Array, normals: Array) -> Array:
        """[N] about 0.5..1.1."""
        reaches = [np.float32(reach) for reach, _ in CORNERS]
        near = self.distance(np.concatenate([points + reach * normals for reach in reaches]), all_of_it=False)
        taken = sum(np.float32(share) * (1 - np.clip(room / reach, 0, 1))
                    for (_, share), reach, room in zip(CORNERS, reaches, np.split(near, len(CORNERS)), strict=True))
        facing = np.clip(normals @ LIGHT, 0, 1)
        away = points + np.float32(0.02) * normals
        dark = np.zeros(len(points), bool)
        for solid in self.solids:
            if solid.shades:
                dark |= solid.crossed(away, LIGHT[None])[1] > 0
        return (np.float32(AMBIENT) + np.float32(SKY) * normals[:, 1]) * (1 - taken * np.float32(0.7)) + np.float32(
            DIRECT) * facing * np.where(dark, np.float32(0.25), np.float32(1))


def _around(points: Array) -> Array:
    """The corners of the box around points [N,3]."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array([[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)],
                    np.float32)


def _plane(normal: Sequence[float], point: Sequence[float]) -> list[float]:
    n = np.asarray(normal, np.float64)
    n = n / np.linalg.norm(n)
    return [*n, float(n @ np.asarray(point, np.float64))]


def block(centre: Vector, half: Vector, colour: Colour, *, bevel: float = 0.0, turn: float = 0.0, shades: bool = True) -> Solid:
    """A box. bevel: how much its edges are cut. turn: about y, degrees."""
    planes: list[list[float]] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            n = [0.0, 0.0, 0.0]
            n[axis] = sign
            planes.append([*n, half[axis]])
            if bevel:
                for other in range(axis + 1, 3):
                    for side in (-1.0, 1.0):
                        n = [0.0, 0.0, 0.0]
                        n[axis], n[other] = sign, side
                        planes.append([*(v / 2**0.5 for v in n), (half[axis] + half[other] - bevel) / 2**0.5])
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    array = np.array(planes)
    array[:, :3] = array[:, :3] @ rotation.T
    array[:, 3] += array[:, :3] @ np.asarray(centre)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.asarray(half) @ rotation.T + centre
    return Solid(array.astype(np.float32), corners.astype(np.float32), colour, shades=shades)


def tapered(low: float, high: float, bottom: tuple[float, float, float, float], top: tuple[float, float, float, float],
            colour: Colour, *, shades: bool = True) -> Solid:
    """Between heights, from one rectangle (x from, x to, z from, z to) to another."""
    x0, x1, z0, z1 = bottom
    u0, u1, w0, w1 = top
    rise = high - low
    planes = [[0.0, -1.0, 0.0, -low], [0.0, 1.0, 0.0, high],
              _plane((-rise, u0 - x0, 0), (x0, low, 0)), _plane((rise, x1 - u1, 0), (x1, low, 0)),
              _plane((0, w0 - z0, -rise), (0, low, z0)), _plane((0, z1 - w1, rise), (0, low, z1))]
    corners = np.array([(x, low, z) for x in (x0, x1) for z in (z0, z1)] + [(x, high, z) for x in (u0, u1) for z in (w0, w1)])
    return Solid(np.array(planes, np.float32), _around(corners), colour, shades=shades)


def profile(points: Sequence[tuple[float, float]], half: float, colour: Colour, *, centre: float = 0.0, bevel: float = 0.0,
            axis: int = 0, shades: bool = True) -> Solid:
    """A convex polygon drawn along x (or z, axis 2): points (z, y), or (x, y), in either order. half: of its length along the
    axis; bevel: how much its edges with the two ends are cut."""
    flat = np.array(points)
    ahead = np.roll(flat, -1, axis=0)
    area = (flat[:, 0] * ahead[:, 1] - flat[:, 1] * ahead[:, 0]).sum()
    if area < 0:
        flat = flat[::-1]
        ahead = np.roll(flat, -1, axis=0)
    planes: list[list[float]] = []
    for (a, b), (c, d) in zip(flat, ahead, strict=True):
        n = np.array([d - b, a - c])
        n = n / np.linalg.norm(n)
        offset = float(n @ (a, b))
        for side in (0.0, -1.0, 1.0) if bevel else (0.0,):
            whole = [0.0, n[1], 0.0]
            whole[2 if axis == 0 else 0] = n[0]
            whole[axis] = side
            length = 2**0.5 if side else 1.0
            planes.append([*(v / length for v in whole), (offset + (half - bevel + side * centre if side else 0.0)) / length])
    for side in (-1.0, 1.0):
        whole = [0.0, 0.0, 0.0]
        whole[axis] = side
        planes.append([*whole, half + side * centre])
    corners = np.zeros((2 * len(flat), 3))
    corners[:, 1] = np.tile(flat[:, 1], 2)
    corners[:, 2 if axis == 0 else 0] = np.tile(flat[:, 0], 2)
    corners[:, axis] = np.repeat([centre - half, centre + half], len(flat))
    return Solid(np.array(planes, np.float32), _around(corners), colour, shades=shades)


def ball(centre: Vector, radii: Vector, colour: Colour, *, turn: float = 0.0, shades: bool = True) -> Solid:
    """An ellipsoid. turn: about y, degrees."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    matrix = rotation @ np.diag(1 / np.square(radii)) @ rotation.T
    wide = np.sqrt(np.diag(rotation @ np.diag(np.square(radii)) @ rotation.T))
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * wide + centre
    return Solid(np.zeros((0, 4), np.float32), corners.astype(np.float32), colour,
                 (np.asarray(centre, np.float32), matrix.astype(np.float32)), min(radii), shades)


def cylinder(centre: Vector, radius: float, half: float, colour: Colour, *, axis: int = 0, shades: bool = True) -> Solid:
    """A round disc or post along an axis."""
    inverse = np.full(3, 1 / radius**2)
    inverse[axis] = 0
    planes = np.zeros((2, 4), np.float32)
    planes[0, axis], planes[1, axis] = -1, 1
    planes[:, 3] = half - centre[axis], half + centre[axis]
    wide = np.full(3, radius)
    wide[axis] = half
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * wide + centre
    quadric = np.asarray(centre, np.float32), np.diag(inverse).astype(np.float32)
    return Solid(planes, corners.astype(np.float32), colour, quadric, radius, shades)


def cone(low: float, high: float, bottom: float, top: float, colour: Colour, *, centre: tuple[float, float] = (0.0, 0.0),
         sides: int = 12, turn: float = 0.0, shades: bool = True) -> Solid:
    """A pyramid of many sides between heights, of these radii (to its edges) below and above; centre: x and z."""
    shrink = np.cos(np.pi / sides)
    planes = [[0.0, -1.0, 0.0, -low], [0.0, 1.0, 0.0, high]]
    for i in range(sides):
        angle = 2 * np.pi * (i + turn) / sides
        n = (np.cos(angle) * (high - low), (bottom - top) * shrink, np.sin(angle) * (high - low))
        at = (centre[0] + np.cos(angle) * bottom * shrink, low, centre[1] + np.sin(angle) * bottom * shrink)
        planes.append(_plane(n, at))
    wide = max(bottom, top)
    corners = np.array([(centre[0] + x * wide, y, centre[1] + z * wide) for x in (-1, 1) for y in (low, high) for z in (-1, 1)])
    return Solid(np.array(planes, np.float32), corners.astype(np.float32), colour, shades=shades)
