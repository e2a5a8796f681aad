"""The host's nodes for meshes, with its ids, names and defaults, for when there is no host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.files import write_whole
from ..runtime.embedded_geometry import MESH
from ..runtime.folders import save_targets
from ..runtime.host import io
from .media import embedded_texts, shown

UNLIT = "KHR_materials_unlit"
MATERIAL = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}, "doubleSided": True}


class SaveGLB(io.ComfyNode):
    """Meshes as GLB files in the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="SaveGLB", display_name="Save 3D Model", category="3d", is_output_node=True,
                         inputs=[io.Mesh.Input("mesh", tooltip="Mesh or 3D file to save"),
                                 io.String.Input("filename_prefix", default="3d/ComfyUI")],
                         outputs=[], hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo])

    @classmethod
    def execute(cls, mesh: MESH, filename_prefix: str) -> io.NodeOutput:
        parts = [item for i in range(len(mesh.vertices)) if len((item := mesh_of(mesh, i)).vertices)]
        targets = save_targets(filename_prefix, ".glb", count=len(parts))
        for item, target in zip(parts, targets, strict=True):
            write_whole(target.path, glb(item, embedded_texts(cls)))
        return io.NodeOutput(ui={"3d": [shown(target, "output") for target in targets]})


def mesh_of(mesh: MESH, index: int) -> MESH:
    """One mesh of a batch, without the batch's axis and without what fills it up."""
    def cut(values: Tensor | None, counts: Tensor | None) -> Any:
        return None if values is None else values[index, :None if counts is None else int(counts[index])]

    vertices = mesh.vertex_counts
    return MESH(cut(mesh.vertices, vertices), cut(mesh.faces, mesh.face_counts), unlit=mesh.unlit,
                vertex_colors=cut(mesh.vertex_colors, vertices), normals=cut(mesh.normals, vertices))


def glb(mesh: MESH, texts: Mapping[str, str] | None = None) -> bytes:
    """A mesh [N,3] with its colours (linear light, float) and normals as binary glTF. texts: kept in it, as the host keeps the
    workflow."""
    try:
        import trimesh  # pyright: ignore[reportMissingTypeStubs]
        from trimesh.exchange import gltf  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        raise InvalidInputError("GLB files need the package trimesh, which is not installed; get it with 'pip install "
                                "latent-atelier[headless]'.") from error
    library: Any = trimesh
    solid = library.Trimesh(numbers(mesh.vertices), mesh.faces.cpu().numpy(), process=False,
                            vertex_normals=None if mesh.normals is None else numbers(mesh.normals))
    if mesh.vertex_colors is not None:
        solid.vertex_attributes["COLOR_0"] = numbers(mesh.vertex_colors.clamp(0, 1))

    def finish(tree: dict[str, Any]) -> None:
        attributes = tree["meshes"][0]["primitives"][0]["attributes"]
        if "_COLOR_0" in attributes:  # the library marks what it does not know itself
            attributes["COLOR_0"] = attributes.pop("_COLOR_0")
        tree["materials"] = [MATERIAL | ({"extensions": {UNLIT: {}}} if mesh.unlit else {})]
        tree["meshes"][0]["primitives"][0]["material"] = 0
        if mesh.unlit:
            tree["extensionsUsed"] = [UNLIT]
        if texts:
            tree["asset"]["extras"] = dict(texts)

    writer: Any = gltf
    return bytes(writer.export_glb(library.Scene(solid), include_normals=mesh.normals is not None, tree_postprocessor=finish))


def numbers(values: Tensor) -> npt.NDArray[np.float32]:
    """As float32 in memory."""
    return values.detach().cpu().float().numpy()


MESHES: list[type[io.ComfyNode]] = [SaveGLB]
