"""Importing official files from the graph."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..checkpoints.convert import convert
from ..pipelines.errors import InvalidInputError
from ..pipelines.labels import LabelSet
from ..runtime import host
from ..runtime.host import io
from .editing import split_names
from .models import ARCHITECTURES, FAMILIES


def _family(architecture: str) -> str:
    """The folder where a network of that kind is looked for."""
    return next(FAMILIES[role] for role, kinds in ARCHITECTURES.items() if architecture in kinds)


def _label_set(names: str) -> LabelSet | None:
    found = split_names(names)
    return LabelSet.from_json({"names": found}) if found else None


def _file(name: str, *, folder: bool = False) -> Path:
    path = host.input_path(name)
    if not path.is_file() and not (folder and path.is_dir()):
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
            inputs=[io.String.Input("file", default="", tooltip="Name of the official file in the input folder, or of the "
                                    "folder there with the classifiers of a label branch."),
                    io.String.Input("name", default="", tooltip="Name of the imported model, without suffix; empty: that of "
                                                                "the file."),
                    host.node_input(io.Combo, "part", options=["generator", "discriminator", "encoder"], default="generator",
                                    tooltip="Which network of a file that holds several."),
                    io.String.Input("licence", default="", tooltip="Licence of the weights, kept in the imported file."),
                    io.String.Input("heads", default="", optional=True, tooltip="LPIPS: name of the file with the learned "
                                    "heads, in the input folder, when `file` is a torchvision backbone."),
                    io.String.Input("label_names", default="", optional=True, tooltip="Label branch: names of its labels in "
                                    "order, separated by commas, background first; empty: the official ones.")],
            outputs=[io.String.Output("report", tooltip="What was found and where it was saved.")])

    @classmethod
    def fingerprint_inputs(cls, file: str, name: str, part: str, licence: str, heads: str = "",
                           label_names: str = "") -> tuple[int, int]:
        path = host.input_path(file)
        status = path.stat() if path.exists() else None
        return (0, 0) if status is None else (status.st_mtime_ns, status.st_size)

    @classmethod
    def execute(cls, file: str, name: str, part: str, licence: str, heads: str = "", label_names: str = "") -> io.NodeOutput:
        source, learned = _file(file, folder=True), _file(heads) if heads else None
        name = name or source.stem
        draft = host.model_target("stylegan2", name)
        draft = draft.with_name(f".{draft.name}.import")
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            info = convert(source, draft, part=part, heads=learned, labels=_label_set(label_names), license=licence or None)
            family = _family(info.architecture)
            target = host.model_target(family, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise InvalidInputError(f"There is a model '{target.name}' in {family} already; choose another name.")
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        return io.NodeOutput(f"{info.architecture} {json.dumps(info.config)}, saved as {family}/{target.name}")


NODES = [ImportCheckpoint]
