"""Cameras that a person or another program wrote down: lines of angles, transforms.json of the NeRF tools, the camera of the
host's 3-D view."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from ...errors import InvalidInputError
from .cameras import DISTANCE, FOV, Cameras, free, look_at, orbit

MOST = 100_000


def cameras_from_text(text: str, *, distance: float = DISTANCE, fov: float = FOV, scale: float = 1.0) -> Cameras:
    """Cameras from lines `azimuth elevation [distance [fov]]` in degrees ('#' begins a remark), or from the content of a
    transforms.json. Raises InvalidInputError, which names the line."""
    if text.lstrip().startswith("{"):
        return cameras_from_transforms(text, scale=scale)
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            found = [float(word) for word in words]
        except ValueError:
            found = []
        if not 2 <= len(found) <= 4 or not all(math.isfinite(value) for value in found):
            raise InvalidInputError(f"Line {number} of the cameras, {line.strip()!r:.60}, is not 'azimuth elevation [distance "
                                    f"[fov]]' in numbers; write for example '30 15'.")
        rows.append([*found, *[distance, fov][len(found) - 2:]])
    if not 0 < len(rows) <= MOST:
        raise InvalidInputError(f"A list of cameras has 1 to {MOST} lines, got {len(rows)}.")
    azimuth, elevation, away, view = torch.tensor(rows).unbind(dim=1)
    return orbit(azimuth, elevation, away, view)


def cameras_from_transforms(text: str, *, scale: float = 1.0) -> Cameras:
    """Cameras of a transforms.json (the NeRF data sets, nerfstudio, instant-ngp): frames with camera-to-world matrices in
    OpenGL's axes, Z up, which becomes Y up here. scale: of the positions, to bring the object into [-1,1]^3. Raises
    InvalidInputError."""
    try:
        given = json.loads(text)
        frames = cast("list[Mapping[str, Any]]", given["frames"])
        poses = torch.tensor([frame["transform_matrix"] for frame in frames], dtype=torch.float32)
        fov = [_vertical(given | dict(frame)) for frame in frames]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ZeroDivisionError) as error:
        raise InvalidInputError(f"The cameras are no transforms.json: {type(error).__name__} {error!s:.120}; it holds 'frames' "
                                f"with a 'transform_matrix' each, and 'camera_angle_x' or 'fl_x' and 'w'.") from error
    if poses.ndim != 3 or tuple(poses.shape[1:]) != (4, 4):
        raise InvalidInputError(f"The transform matrices of the cameras are [4,4], got {list(poses.shape[1:])}.")
    upright = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    poses = upright @ poses
    poses[:, :3, 3] *= scale
    return free(poses, fov)


def _vertical(given: Mapping[str, Any]) -> float:
    """The vertical angle of view, degrees, of a camera in a transforms.json."""
    width, height = float(given.get("w", 1)), float(given.get("h", given.get("w", 1)))
    if "fl_y" in given:
        return math.degrees(2 * math.atan(height / 2 / float(given["fl_y"])))
    if "camera_angle_y" in given:
        return math.degrees(float(given["camera_angle_y"]))
    half = width / 2 / float(given["fl_x"]) if "fl_x" in given else math.tan(float(given["camera_angle_x"]) / 2)
    return math.degrees(2 * math.atan(half * height / width))


def camera_of_view(info: Mapping[str, Any]) -> Cameras:
    """The camera of the host's 3-D view (LOAD3D_CAMERA): right handed, Y up, looking along its -Z. Raises
    InvalidInputError."""
    try:
        position, target = (torch.tensor([[float(info[name][axis]) for axis in "xyz"]]) for name in ("position", "target"))
        fov = float(info.get("fov") or FOV)
        kind = str(info.get("cameraType", "perspective"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(f"The camera of the 3-D view lacks a position or a target ({error!s:.60}); connect the "
                                f"camera_info of a 3-D view.") from error
    if kind != "perspective":
        raise InvalidInputError(f"The camera of the 3-D view is {kind:.20}; switch the view to perspective.")
    zoom = float(info.get("zoom") or 1.0)
    return look_at(position, target, math.degrees(2 * math.atan(math.tan(math.radians(fov) / 2) / zoom)))


def row_of(count: int, azimuth: float, span: float, elevation: tuple[float, float], distance: float, fov: float) -> Cameras:
    """`count` cameras from an azimuth on over a span of degrees, evenly, their elevation going from one to the other; a full
    turn leaves out its end, which is its beginning. Raises InvalidInputError."""
    if not 1 <= count <= MOST:
        raise InvalidInputError(f"There are 1 to {MOST} cameras, got {count}.")
    steps = count if abs(span) % 360 == 0 else max(1, count - 1)
    at = [i / steps for i in range(count)]
    rise: Sequence[float] = [elevation[0] + (elevation[1] - elevation[0]) * i / max(1, count - 1) for i in range(count)]
    return orbit([azimuth + span * t for t in at], list(rise), distance, fov)
