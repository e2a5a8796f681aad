"""The host's values of three dimensions, for when there is no host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(eq=False)
class MESH:
    """B meshes. vertices float [B,N,3]; faces int [B,M,3]; vertex_colors linear light 0..1 [B,N,3 or 4]; normals [B,N,3]. The
    counts are the true lengths where shorter ones are filled up. unlit: colours are shown as they are."""

    vertices: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    vertex_colors: Tensor | None = None
    texture: Tensor | None = None
    vertex_counts: Tensor | None = None
    face_counts: Tensor | None = None
    unlit: bool = False
    normals: Tensor | None = None


@dataclass(eq=False)
class VOXEL:
    """data: float [B,Z,Y,X]."""

    data: Tensor
    voxel_colors: Any = None
    resolution: Any = None
