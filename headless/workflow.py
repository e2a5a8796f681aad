"""Reads a saved workflow: API JSON, UI JSON, or a PNG that carries either."""

from __future__ import annotations

import json
import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image

from ..pipelines.errors import AtelierError
from .plain import Json

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 2**20
"""Larger files are no workflows."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class WorkflowError(AtelierError):
    """A file cannot be read as a workflow."""


@dataclass(frozen=True)
class PromptNode:
    """One node as the file states it, not yet checked. An input is a constant or a link [node id, slot]."""

    class_type: str
    inputs: Mapping[str, Json]
    title: str


@dataclass(frozen=True)
class Workflow:
    """A workflow in API form. extra_pnginfo holds the UI form ({"workflow": ...}) when the file had one."""

    name: str
    nodes: Mapping[str, PromptNode]
    extra_pnginfo: Mapping[str, Json] | None = None


def read_workflow(path: Path, object_info: Callable[[], Mapping[str, Json]]) -> Workflow:
    """The workflow in the file `path`.

    object_info describes the node classes as the host's /object_info does; it is asked for only when the UI form has
    to be converted. Raises WorkflowError with one sentence when the file is missing, unreadable or something else.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise WorkflowError(f"{path} is no workflow: it has {size >> 20} MB, more than {MAX_BYTES >> 20} MB.")
        data = path.read_bytes()
    except OSError as error:
        raise WorkflowError(f"The workflow {path} cannot be read: {error.strerror or error}.") from error
    if data.startswith(PNG_SIGNATURE):
        texts = _png_texts(path)
        ui = _parse(texts["workflow"], f"the workflow in {path}") if "workflow" in texts else None
        if "prompt" in texts:
            extra = {"workflow": ui} if ui is not None else None
            return _from_api(_parse(texts["prompt"], f"the prompt in {path}"), path.name, extra)
        if ui is None:
            raise WorkflowError(f"The picture {path} carries no workflow: use one that ComfyUI or atelier has saved.")
        return workflow_from_json(ui, path.name, object_info)
    return workflow_from_json(_parse(data, str(path)), path.name, object_info)


def workflow_from_json(value: Json, name: str, object_info: Callable[[], Mapping[str, Json]]) -> Workflow:
    """The workflow in parsed JSON: UI form, API form, or the body of a POST to the host's /prompt."""
    if not isinstance(value, dict):
        raise WorkflowError(f"{name} is no workflow: expected a JSON object, got {_kind(value)}.")
    if isinstance(value.get("nodes"), list):
        return _from_api(_convert(value, name, object_info()), name, {"workflow": value})
    prompt = value.get("prompt")
    if isinstance(prompt, dict) and "class_type" not in prompt:
        extra_data = value.get("extra_data")
        extra = extra_data.get("extra_pnginfo") if isinstance(extra_data, dict) else None
        return _from_api(prompt, name, extra if isinstance(extra, dict) else None)
    return _from_api(value, name, None)


def _parse(data: str | bytes, where: str) -> Json:
    try:
        return cast("Json", json.loads(data))
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"{where} is not valid JSON: {error}.") from error


def _png_texts(path: Path) -> dict[str, str]:
    """The text chunks in front of the pixels; the pixels are not decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=["PNG"])
            with image:
                info = cast("dict[str, object]", image.info)
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise WorkflowError(f"The picture {path} cannot be read: {error}.") from error
    return {key: str(info[key]) for key in ("prompt", "workflow") if isinstance(info.get(key), str)}


def _from_api(value: Json, name: str, extra: Mapping[str, Json] | None) -> Workflow:
    if not isinstance(value, dict) or not value:
        raise WorkflowError(f"{name} is no workflow: it has no nodes.")
    return Workflow(name, {key: _prompt_node(key, node, name) for key, node in value.items()}, extra)


def _prompt_node(node_id: str, node: Json, name: str) -> PromptNode:
    if not isinstance(node, dict):
        raise WorkflowError(
            f'{name} is no workflow: entry "{node_id}" should be a node (an object with class_type and inputs), '
            f"got {_kind(node)}."
        )
    class_type, inputs, meta = node.get("class_type"), node.get("inputs", {}), node.get("_meta")
    if not isinstance(class_type, str) or not class_type:
        raise WorkflowError(f'{name} is damaged: node "{node_id}" has no class_type.')
    if not isinstance(inputs, dict):
        raise WorkflowError(f'{name} is damaged: the inputs of node "{node_id}" are {_kind(inputs)}, not an object.')
    title = meta.get("title") if isinstance(meta, dict) else None
    return PromptNode(class_type, inputs, title if isinstance(title, str) and title else class_type)


def _convert(ui: dict[str, Json], name: str, object_info: Mapping[str, Json]) -> Json:
    """UI form -> API form by comfy-cli's converter; what it would skip with a logged error is an error here."""
    try:
        from comfy_cli import workflow_to_api  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise WorkflowError(
            f"{name} is in the UI form, whose reading needs comfy-cli: install latent-atelier[headless], or save the "
            "workflow in the API form."
        ) from error
    damaged = f"{name} cannot be converted from the UI form"
    with _Collected("comfy_cli.workflow_to_api") as collected:
        try:
            convert = cast("Callable[..., Json]", workflow_to_api.convert_ui_to_api)  # pyright: ignore[reportUnknownMemberType]
            api = convert({**ui, "links": ui.get("links", [])}, dict(object_info))
        except workflow_to_api.WorkflowConversionError as error:
            raise WorkflowError(f"{damaged}: {error}.") from error
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise WorkflowError(f"{damaged}: it is damaged ({type(error).__name__}: {error}).") from error
    errors = [record.getMessage() for record in collected.records if record.levelno >= logging.ERROR]
    if errors:
        raise WorkflowError(f"{damaged}: {'; '.join(errors)}.")
    for record in collected.records:
        log.warning("%s: %s", name, record.getMessage())
    if not api:
        raise WorkflowError(f"{name} has no node to run: it is empty, or every node is muted or bypassed.")
    return api


class _Collected(logging.Handler):
    """Keeps the warnings and errors of one logger while the context is open, and keeps them from being shown."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self._logger = logging.getLogger(name)
        self._propagate = self._logger.propagate

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> _Collected:
        self._logger.addHandler(self)
        self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagate


def _kind(value: Json) -> str:
    names = {"NoneType": "null", "bool": "a boolean", "str": "a text", "list": "a list", "dict": "an object"}
    return names.get(type(value).__name__, "a number")
