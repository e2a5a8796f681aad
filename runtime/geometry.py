"""Meshes and voxels as the host's values."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from torch import Tensor

from . import embedded_geometry
from .identity import EMBEDDED


def _types() -> Any:
    return embedded_geometry if EMBEDDED else importlib.import_module("comfy_api.latest").Types


def mesh_value(vertices: Tensor, faces: Tensor, *, colours: Tensor, normals: Tensor, unlit: bool) -> Any:
    """MESH of one mesh. vertices, normals float [N,3]; faces int [M,3]; colours in linear light [N,3]. What a host of an older
    version does not know of a mesh is left out."""
    kind = _types().MESH
    known = inspect.signature(kind).parameters
    more = {"vertex_colors": colours[None], "normals": normals[None], "unlit": unlit}
    return kind(vertices[None], faces[None], **{name: value for name, value in more.items() if name in known})


def voxel_value(data: Tensor) -> Any:
    """VOXEL of one grid, float [X,Y,Z]; the host stores it as (z, y, x)."""
    return _types().VOXEL(data.permute(2, 1, 0).contiguous()[None])
