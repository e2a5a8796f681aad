"""Importing official files from the graph."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..checkpoints.convert import convert
from ..pipelines.errors import InvalidInputError
from ..runtime import host
from ..runtime.host import io

FAMILIES = {"stylegan2-generator": "stylegan2", "stylegan2-discriminator": "perceptual", "lpips": "perceptual",
            "editgan-encoder": "encoders", "editgan-segmenter": "label_branches"}


def _file(name: str) -> Path:
    path = host.input_path(name)
    if not path.is_file():
        raise InvalidInputError(f"There is no file '{name}' in the input folder; copy the official file there.")
    return path


class ImportCheckpoint(io.ComfyNode):
    """An official file, written once as safetensors where the loaders look."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierImportCheckpoint", display_name="Import Checkpoint", category="Atelier/Models",
            is_output_node=True,
            description="Reads an official .pkl, .pt or .pth file as data, runs nothing of it, and saves the network in it "
                        "as safetensors in the models folder.",
            inputs=[io.String.Input("file", default="", tooltip="Name of the official file in the input folder."),
                    io.String.Input("name", default="", tooltip="Name of the imported model, without suffix; empty: that of "
                                                                "the file."),
                    host.node_input(io.Combo, "part", options=["generator", "discriminator"], default="generator",
                                    tooltip="Which network of a file that holds several."),
                    io.String.Input("licence", default="", tooltip="Licence of the weights, kept in the imported file."),
                    io.String.Input("heads", default="", optional=True, tooltip="LPIPS: name of the file with the learned "
                                    "heads, in the input folder, when `file` is a torchvision backbone.")],
            outputs=[io.String.Output("report", tooltip="What was found and where it was saved.")])

    @classmethod
    def fingerprint_inputs(cls, file: str, name: str, part: str, licence: str, heads: str = "") -> tuple[int, int]:
        path = host.input_path(file)
        status = path.stat() if path.is_file() else None
        return (0, 0) if status is None else (status.st_mtime_ns, status.st_size)

    @classmethod
    def execute(cls, file: str, name: str, part: str, licence: str, heads: str = "") -> io.NodeOutput:
        source, learned = _file(file), _file(heads) if heads else None
        name = name or source.stem
        draft = host.model_target("stylegan2", name)
        draft = draft.with_name(f".{draft.name}.import")
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            info = convert(source, draft, part=part, heads=learned, license=licence or None)
            family = FAMILIES[info.architecture]
            target = host.model_target(family, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise InvalidInputError(f"There is a model '{target.name}' in {family} already; choose another name.")
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        return io.NodeOutput(f"{info.architecture} {json.dumps(info.config)}, saved as {family}/{target.name}")


NODES = [ImportCheckpoint]
