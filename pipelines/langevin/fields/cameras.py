"""Cameras: where a picture of a radiance field is taken from.

Convention, everywhere in the pack: the world is right handed with Y up; a camera looks along its own -Z with its Y up and its X
to the right (OpenGL, glTF, the host's 3-D nodes); angles are in degrees. On an orbit, azimuth 0 stands on +Z and looks at the
front of the object, azimuth grows towards +X (90 sees the object's +X side), elevation grows upwards (90 looks straight down,
the bottom of the picture being on the azimuth's side). Objects lie within [-1,1]^3. fov is the vertical angle of view. Pixel
(i, j) of an [H,W] picture is seen through its centre; row 0 is the top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InvalidInputError

DISTANCE = 3.5
FOV = 40.0
"""A camera of this distance and angle of view sees the ball of radius 1.19 around the origin whole."""


def length(vectors: Tensor) -> Tensor:
    """Of vectors [...,3], as [...,1]."""
    return vectors.square().sum(dim=-1, keepdim=True).sqrt()


@dataclass(frozen=True, eq=False)
class Cameras:
    """B cameras. poses: camera to world, float [B,4,4], rotation and position. fov: vertical angle of view, degrees, float [B].
    Raises InvalidInputError."""

    poses: Tensor
    fov: Tensor

    def __post_init__(self) -> None:
        if self.poses.ndim != 3 or tuple(self.poses.shape[1:]) != (4, 4) or tuple(self.fov.shape) != (len(self.poses),):
            raise InvalidInputError(f"Cameras are poses [B,4,4] with angles of view [B], got {list(self.poses.shape)} and "
                                    f"{list(self.fov.shape)}.")
        if not bool(torch.isfinite(self.poses).all()):
            raise InvalidInputError("The pose of a camera holds a number that is not finite; give finite positions and angles.")
        if not bool(((self.fov > 0) & (self.fov < 180)).all()):
            raise InvalidInputError("The angle of view of a camera lies between 0 and 180 degrees; give for example 40.")
        turn = self.poses[:, :3, :3]
        mirrored = (turn[:, 0] * torch.cross(turn[:, 1], turn[:, 2], dim=1)).sum(dim=1) < 0
        if float((turn @ turn.mT - torch.eye(3).to(turn)).abs().amax()) > 1e-3 or bool(mirrored.any()):
            raise InvalidInputError("The pose of a camera is no rotation with a position (it scales, shears or mirrors); give "
                                    "orthonormal axes in a right-handed order.")

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Cameras:
        """Some of the cameras; a single index gives one camera, still as a batch."""
        if isinstance(index, int):
            index = [index]
        return Cameras(self.poses[index], self.fov[index])

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Cameras:
        """The cameras on another device or in another type."""
        return Cameras(self.poses.to(device, dtype), self.fov.to(device, dtype))

    @property
    def positions(self) -> Tensor:
        """Where they stand, [B,3]."""
        return self.poses[:, :3, 3]

    @property
    def forward(self) -> Tensor:
        """Where they look, unit vectors [B,3]."""
        return -self.poses[:, :3, 2]

    @property
    def azimuth(self) -> Tensor:
        """Degrees from +Z towards +X, -180..180, [B]. For a camera right above the origin: of its own up axis, reversed."""
        x, z = self.positions[:, 0], self.positions[:, 2]
        over = torch.hypot(x, z) < 1e-6 * length(self.positions)[:, 0]
        up = self.poses[:, :3, 1] * torch.where(self.positions[:, 1] > 0, -1.0, 1.0)[:, None].to(x)
        return torch.rad2deg(torch.where(over, torch.atan2(up[:, 0], up[:, 2]), torch.atan2(x, z)))

    @property
    def elevation(self) -> Tensor:
        """Degrees above the ground plane through the origin, -90..90, [B]."""
        return torch.rad2deg(torch.atan2(self.positions[:, 1], torch.hypot(self.positions[:, 0], self.positions[:, 2])))

    @property
    def distance(self) -> Tensor:
        """From the origin, [B]."""
        return length(self.positions)[:, 0]

    def rays(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Origins and unit directions, each [B,H,W,3], through the centres of the pixels."""
        row = torch.arange(height).to(self.poses)[None, :, None].expand(len(self), -1, width)
        column = torch.arange(width).to(self.poses)[None, None].expand(len(self), height, -1)
        origins, directions = self.through(row, column, height, width)
        return origins, directions

    def through(self, row: Tensor, column: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Origins and unit directions, each [B,...,3], through the centres of pixels: rows and columns [B,...] of pictures of a
        height and a width."""
        like = (len(self), *[1] * (row.ndim - 1))
        half = torch.tan(torch.deg2rad(self.fov) / 2).reshape(like)
        across = (2 * (column + 0.5) / width - 1) * (width / height) * half
        along = (1 - 2 * (row + 0.5) / height) * half
        seen = torch.stack([across, along, -torch.ones_like(across)], dim=-1)
        directions = torch.einsum("bij,b...j->b...i", self.poses[:, :3, :3], seen / length(seen))
        return self.positions.reshape(*like, 3).expand_as(directions), directions

    def project(self, points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Points [N,3] -> their places [B,N,2] as (column, row) in pixels, pixel centres at .5, and how far in front of the
        camera they lie along its axis, [B,N], negative behind it."""
        local = torch.einsum("bji,bnj->bni", self.poses[:, :3, :3], points[None] - self.positions[:, None])
        depth = -local[..., 2]
        half = torch.tan(torch.deg2rad(self.fov) / 2)[:, None]
        safe = torch.where(depth.abs() < 1e-9, torch.full_like(depth, 1e-9), depth)
        column = (local[..., 0] / (safe * half) * (height / width) + 1) / 2 * width
        row = (1 - local[..., 1] / (safe * half)) / 2 * height
        return torch.stack([column, row], dim=-1), depth


Numbers = Tensor | Sequence[float] | float


def orbit(azimuth: Numbers, elevation: Numbers = 0.0, distance: Numbers = DISTANCE, fov: Numbers = FOV,
          target: Sequence[float] = (0.0, 0.0, 0.0)) -> Cameras:
    """Cameras around a target, looking at it. Single numbers serve all; sequences have one number per camera. Raises
    InvalidInputError."""
    around, above, away, view = _together(azimuth, elevation, distance, fov)
    if not bool((away > 0).all()):
        raise InvalidInputError(f"The distance of a camera from its target is above 0, got {float(away.min()):g}.")
    a, e = torch.deg2rad(around), torch.deg2rad(above)
    sin_a, cos_a, sin_e, cos_e, zero = a.sin(), a.cos(), e.sin(), e.cos(), torch.zeros_like(a)
    right = torch.stack([cos_a, zero, -sin_a], dim=1)
    up = torch.stack([-sin_a * sin_e, cos_e, -cos_a * sin_e], dim=1)
    back = torch.stack([sin_a * cos_e, sin_e, cos_a * cos_e], dim=1)
    return _posed(right, up, back, torch.tensor(target).to(back) + away[:, None] * back, view)


def look_at(positions: Tensor, targets: Tensor, fov: Numbers = FOV, up: Sequence[float] = (0.0, 1.0, 0.0)) -> Cameras:
    """Cameras at positions [B,3] looking at targets [B,3] or [3], `up` being up in the picture; where they look along it, -Z
    is. Raises InvalidInputError."""
    back = positions - targets
    away = length(back)
    if not bool((away > 1e-9).all()):
        raise InvalidInputError("A camera stands where it looks at; move it away from its target.")
    back = back / away
    upward = torch.tensor(up).to(back).expand_as(back)
    along = length(torch.cross(upward, back, dim=1)) < 1e-6
    right = torch.cross(torch.where(along, torch.tensor([0.0, 0.0, -1.0]).to(back), upward), back, dim=1)
    right = right / length(right)
    return _posed(right, torch.cross(back, right, dim=1), back, positions, _together(fov, [0.0] * len(back))[0].to(back))


def free(poses: Tensor, fov: Numbers = FOV) -> Cameras:
    """Cameras of any poses, camera to world, [B,4,4]. Raises InvalidInputError."""
    return Cameras(poses, _together(fov, [0.0] * len(poses))[0].to(poses))


def turntable(count: int, elevation: float = 15.0, distance: float = DISTANCE, fov: float = FOV, first: float = 0.0) -> Cameras:
    """count cameras once around from the azimuth `first` on."""
    return orbit([first + 360.0 * i / count for i in range(count)], elevation, distance, fov)


def random_orbits(count: int, generator: torch.Generator, *, elevation: tuple[float, float] = (-10.0, 50.0),
                  distance: tuple[float, float] = (DISTANCE, DISTANCE), fov: tuple[float, float] = (FOV, FOV)) -> Cameras:
    """Cameras spread over the sphere between two elevations (even in area), of distances and angles of view even in ranges.
    Their azimuths are spread round evenly from a random start, so that a batch looks at all sides."""
    drawn = torch.rand(4, count, generator=generator)
    azimuth = (float(torch.rand((), generator=generator)) + (torch.arange(count) + drawn[0]) / count) * 360 % 360
    low, high = (math.sin(math.radians(angle)) for angle in elevation)
    above = torch.rad2deg(torch.asin((low + (high - low) * drawn[1]).clamp(-1, 1)))
    return orbit(azimuth, above, distance[0] + (distance[1] - distance[0]) * drawn[2], fov[0] + (fov[1] - fov[0]) * drawn[3])


def joined(cameras: Sequence[Cameras]) -> Cameras:
    """Several batches as one."""
    return Cameras(torch.cat([c.poses for c in cameras]), torch.cat([c.fov for c in cameras]))


def _together(*values: Numbers) -> list[Tensor]:
    """Numbers as tensors [B] of one length. Raises InvalidInputError when they have several."""
    found = [(v if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float32)).reshape(-1) for v in values]
    count = max(len(v) for v in found)
    if any(len(v) not in (1, count) for v in found):
        raise InvalidInputError(f"Each angle, distance and angle of view is one number for all cameras or one per camera, got "
                                f"{', '.join(str(len(v)) for v in found)} of them.")
    return [v.expand(count).clone() for v in found]


def _posed(right: Tensor, up: Tensor, back: Tensor, position: Tensor, fov: Tensor) -> Cameras:
    poses = torch.zeros(len(back), 4, 4).to(back)
    poses[:, :3] = torch.stack([right, up, back, position], dim=2)
    poses[:, 3, 3] = 1
    return Cameras(poses, fov.to(back))
