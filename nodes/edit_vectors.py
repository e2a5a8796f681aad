"""The library of edit vectors."""

from __future__ import annotations

from ..pipelines.editgan.vectors import EditVector, load_vector, save_vector
from ..pipelines.errors import AtelierError
from ..runtime import host
from ..runtime.host import io
from .sockets import EditVectorSocket

CATEGORY = "Atelier/Edit Vectors"
FAMILY = "edit_vectors"


class SaveEditVector(io.ComfyNode):
    """Write an edit vector to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSaveEditVector", display_name="Save Edit Vector", category=CATEGORY, is_output_node=True,
            description="Saves an edit vector with its name, parts, strength range and generator fingerprint as "
                        "safetensors in the output folder. Move it to models/atelier/edit_vectors to use it everywhere.",
            inputs=[EditVectorSocket.Input("edit_vector", tooltip="Edit vector to save."),
                    io.String.Input("filename_prefix", default="edit_vectors/edit", tooltip="File name, with folders, in "
                                    "the output folder; a number is added.")],
            outputs=[])

    @classmethod
    def execute(cls, edit_vector: EditVector, filename_prefix: str) -> io.NodeOutput:
        target = host.save_target(filename_prefix, ".safetensors")
        save_vector(target.path, edit_vector)
        return io.NodeOutput(ui={"files": [{"filename": target.filename, "subfolder": target.subfolder,
                                            "type": "output"}]})


class LoadEditVector(io.ComfyNode):
    """Read an edit vector from the library."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadEditVector", display_name="Load Edit Vector", category=CATEGORY,
            description="Loads an edit vector from models/atelier/edit_vectors.",
            inputs=[host.node_input(io.Combo, "edit_vector", options=host.model_files(FAMILY),
                                    tooltip="A .safetensors file in models/atelier/edit_vectors.")],
            outputs=[EditVectorSocket.Output("edit_vector", tooltip="The edit vector.")])

    @classmethod
    def validate_inputs(cls, edit_vector: str) -> bool | str:
        try:
            host.model_path(FAMILY, edit_vector)
        except AtelierError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, edit_vector: str) -> tuple[int, int]:
        status = host.model_path(FAMILY, edit_vector).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, edit_vector: str) -> io.NodeOutput:
        return io.NodeOutput(load_vector(host.model_path(FAMILY, edit_vector)))


NODES = [SaveEditVector, LoadEditVector]
