"""The library of edit vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..pipelines.editgan.latents import WPlus
from ..pipelines.editgan.vector_algebra import average, combine, from_pair, orthogonalise
from ..pipelines.editgan.vector_algebra import negate as opposite
from ..pipelines.editgan.vector_library import describe, library_sheet, read_library
from ..pipelines.editgan.vectors import EditVector, load_vector, save_vector
from ..pipelines.errors import AtelierError, InvalidInputError
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from . import sockets
from .editing import split_names
from .sockets import EditVectorSocket, GeneratorSocket, WPlusSocket

CATEGORY = "Atelier/Edit Vectors"
FAMILY = "edit_vectors"
SLOTS = 4
"""Vectors that one node combines."""

DEFAULT_STRENGTHS = (-1.0, 2.0)
"""Left at these, the vector keeps its own."""


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
                                    "the output folder; a number is added."),
                    io.String.Input("tags", default="", optional=True, tooltip="Words to find it by, separated by commas."),
                    host.node_input(io.Float, "lowest_strength", default=-1.0, min=-8.0, max=8.0, step=0.1, optional=True,
                                    advanced=True, tooltip="The lowest strength the vector is meant for."),
                    host.node_input(io.Float, "highest_strength", default=2.0, min=-8.0, max=8.0, step=0.1, optional=True,
                                    advanced=True, tooltip="The highest strength the vector is meant for."),
                    io.Image.Input("thumbnail", optional=True, tooltip="Picture that shows the edit, kept in the file.")],
            outputs=[])

    @classmethod
    def execute(cls, edit_vector: EditVector, filename_prefix: str, tags: str = "", lowest_strength: float = -1.0,
                highest_strength: float = 2.0, thumbnail: torch.Tensor | None = None) -> io.NodeOutput:
        target = host.save_target(filename_prefix, ".safetensors")
        words = tuple(dict.fromkeys([*edit_vector.tags, *split_names(tags)]))
        strengths = (lowest_strength, highest_strength)
        if strengths == DEFAULT_STRENGTHS:
            strengths = edit_vector.strength_range
        vector = replace(edit_vector, tags=words, strength_range=strengths)
        save_vector(target.path, vector, None if thumbnail is None else thumbnail[0, ..., :3])
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


class ImportEditVector(io.ComfyNode):
    """EditGAN's published vectors."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierImportEditVector", display_name="Import Edit Vector", category=CATEGORY,
            description="Reads an edit vector that EditGAN saved as .npy and binds it to its generator. Save Edit Vector keeps "
                        "it in the library.",
            inputs=[io.String.Input("file", default="", tooltip="Name of the .npy file in the input folder."),
                    GeneratorSocket.Input("generator", tooltip="Generator that the vector was made with; the file does not "
                                                               "name it."),
                    io.String.Input("name", default="", optional=True, tooltip="Name of the vector; empty: that of the file."),
                    io.String.Input("edited_labels", default="", optional=True, tooltip="Parts the edit is about, separated by "
                                    "commas; Refine Edit takes its region from them.")],
            outputs=[EditVectorSocket.Output("edit_vector", tooltip="The edit vector.")])

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> tuple[int, int]:
        path = host.input_path(file)
        status = path.stat() if path.is_file() else None
        return (0, 0) if status is None else (status.st_mtime_ns, status.st_size)

    @classmethod
    def execute(cls, file: str, generator: ModelHandle, name: str = "", edited_labels: str = "") -> io.NodeOutput:
        vector = load_vector(host.input_path(file))
        network = sockets.acquire_generator(generator)
        shape = (network.num_ws, network.w_dim)
        if tuple(vector.delta.shape) != shape:
            raise InvalidInputError(f"'{file}' is an edit vector {list(vector.delta.shape)}, but '{generator.name}' takes W+ "
                                    f"codes {list(shape)}; choose the generator it was made with.")
        return io.NodeOutput(replace(vector, name=name or vector.name, labels=tuple(split_names(edited_labels)),
                                     fingerprint=generator.fingerprint, generator=generator.name))


class CombineEditVectors(io.ComfyNode):
    """Several edits as one vector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs: list[io.Input] = [
            EditVectorSocket.Input("edit_vector_1", tooltip="First edit vector."),
            host.node_input(io.Float, "strength_1", default=1.0, min=-8.0, max=8.0, step=0.05,
                            display_mode=io.NumberDisplay.slider, tooltip="Of the first.")]
        for i in range(2, SLOTS + 1):
            inputs += [EditVectorSocket.Input(f"edit_vector_{i}", optional=True, tooltip=f"Edit vector {i}, if wanted."),
                       host.node_input(io.Float, f"strength_{i}", default=1.0, min=-8.0, max=8.0, step=0.05, optional=True,
                                       display_mode=io.NumberDisplay.slider,
                                       tooltip=f"Strength of edit vector {i}.")]
        inputs += [host.node_input(io.Combo, "mode", options=["add", "average"], default="add", optional=True,
                                   tooltip="'add': the sum of strength times vector, several edits at once. 'average': the "
                                           "mean of several vectors of one edit; the strengths are not used."),
                   io.String.Input("name", default="", optional=True, tooltip="Name of the result; empty: made of theirs.")]
        return host.schema(
            node_id="AtelierCombineEditVectors", display_name="Combine Edit Vectors", category=CATEGORY,
            description="Adds up to four edit vectors with their strengths, or averages several vectors of one edit.",
            inputs=inputs, outputs=[EditVectorSocket.Output("edit_vector", tooltip="All of them as one vector.")])

    @classmethod
    def execute(cls, edit_vector_1: EditVector, strength_1: float, mode: str = "add", name: str = "",
                **others: Any) -> io.NodeOutput:
        vectors, strengths = [edit_vector_1], [strength_1]
        for i in range(2, SLOTS + 1):
            if others.get(f"edit_vector_{i}") is not None:
                vectors.append(others[f"edit_vector_{i}"])
                strengths.append(float(others.get(f"strength_{i}", 1.0)))
        return io.NodeOutput(average(vectors, name) if mode == "average" else combine(vectors, strengths, name))


class SeparateEditVector(io.ComfyNode):
    """What a vector does that others do not; or its opposite."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSeparateEditVector", display_name="Separate Edit Vector", category=CATEGORY,
            description="Takes out of an edit vector what other vectors do, so that they can be used together without "
                        "disturbing one another; or turns it around.",
            search_aliases=["orthogonalise", "negate"],
            inputs=[EditVectorSocket.Input("edit_vector", tooltip="Edit vector to change."),
                    host.node_input(io.Combo, "scope", options=["all rows together", "each row"], default="all rows together",
                                    tooltip="Whether the result is independent of the others over all of W+, or in every "
                                            "row by itself, which takes more away."),
                    io.Boolean.Input("negate", default=False, tooltip="The opposite edit."),
                    EditVectorSocket.Input("other_1", optional=True, tooltip="What this vector does is taken out."),
                    EditVectorSocket.Input("other_2", optional=True, tooltip="What this vector does is taken out, too.")],
            outputs=[EditVectorSocket.Output("edit_vector", tooltip="What is left.")])

    @classmethod
    def execute(cls, edit_vector: EditVector, scope: str, negate: bool, other_1: EditVector | None = None,
                other_2: EditVector | None = None) -> io.NodeOutput:
        others = [other for other in (other_1, other_2) if other is not None]
        vector = orthogonalise(edit_vector, others, per_row=scope == "each row")
        return io.NodeOutput(opposite(vector) if negate else vector)


class EditVectorFromPair(io.ComfyNode):
    """The change between two embedded pictures as a vector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierEditVectorFromPair", display_name="Edit Vector from Pair", category=CATEGORY,
            description="The mean change of the codes from pictures without an edit to the same pictures with it. For a pair "
                        "of label maps use Optimise Edit Vector.",
            inputs=[WPlusSocket.Input("before", tooltip="Codes of the pictures without the edit."),
                    WPlusSocket.Input("after", tooltip="Codes of the same pictures with it, in the same order."),
                    io.String.Input("name", default="pair", tooltip="Name of the edit vector."),
                    io.String.Input("edited_labels", default="", tooltip="Parts the edit is about, separated by commas; "
                                                                         "Refine Edit needs them.")],
            outputs=[EditVectorSocket.Output("edit_vector", tooltip="The change.")])

    @classmethod
    def execute(cls, before: WPlus, after: WPlus, name: str, edited_labels: str) -> io.NodeOutput:
        return io.NodeOutput(from_pair(before, after, name, labels=split_names(edited_labels)))


class BrowseEditVectors(io.ComfyNode):
    """What lies in the library."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierBrowseEditVectors", display_name="Browse Edit Vectors", category=CATEGORY, is_output_node=True,
            description="Shows the edit vectors of the library that fit, with their thumbnails, parts and strengths.",
            inputs=[io.String.Input("part", default="", tooltip="Only vectors that edit this part; empty: all."),
                    io.String.Input("tag", default="", tooltip="Only vectors with this tag, or with it in their name."),
                    host.node_input(io.Combo, "edit_type", options=["any", "optimised", "combined", "averaged",
                                    "orthogonalised", "image pair", "imported"], default="any",
                                    tooltip="Only vectors that were made this way."),
                    GeneratorSocket.Input("generator", optional=True, tooltip="Only vectors of this generator.")],
            outputs=[io.Image.Output("sheet", tooltip="Thumbnails with names, 0..1."),
                     io.String.Output("names", tooltip="One line per vector: name, parts, strengths, generator, file.")])

    @classmethod
    def fingerprint_inputs(cls, part: str, tag: str, edit_type: str, generator: ModelHandle | None = None) -> str:
        return "|".join(f"{name}:{host.model_path(FAMILY, name).stat().st_mtime_ns}" for name in host.model_files(FAMILY))

    @classmethod
    def execute(cls, part: str, tag: str, edit_type: str, generator: ModelHandle | None = None) -> io.NodeOutput:
        files = [(name, host.model_path(FAMILY, name)) for name in host.model_files(FAMILY)]
        entries = read_library(files, part=part, tag=tag, edit_type="" if edit_type == "any" else edit_type,
                               fingerprint="" if generator is None else generator.fingerprint)
        sheet = library_sheet(entries)
        return io.NodeOutput(sheet, "\n".join(map(describe, entries)), ui=host.preview_images(sheet, cls))


NODES = [SaveEditVector, LoadEditVector, ImportEditVector, CombineEditVectors, SeparateEditVector, EditVectorFromPair,
         BrowseEditVectors]
