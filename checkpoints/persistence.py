"""Networks as NVIDIA's persistence stores them in stylegan2-ada, stylegan3 and EDM pickles: attributes beside source text,
which is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from .architecture import Config
from .errors import LayoutError
from .pickle_reader import Record

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


CONTAINER = "torch.nn.modules.container.ModuleDict"


def persistent_class(record: Record) -> str:
    """The name of a network's class in its source."""
    meta = record.arguments[0] if str(record.cls) == PERSISTENT and len(record.arguments) == 1 else None
    return str(_dict(meta).get("class_name"))


def _fields(record: Record) -> Mapping[str, Any]:
    """The attributes of a module that NVIDIA's persistence stored; its source, which came with them, is left alone."""
    meta = record.arguments[0] if str(record.cls) == PERSISTENT and len(record.arguments) == 1 else None
    state = record.state if str(record.cls) == CONTAINER else _dict(meta).get("state")
    if not isinstance(state, dict):
        raise LayoutError("a network in it is not stored as stylegan2-ada stores its networks")
    return cast("Mapping[str, Any]", state)


def _dict(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def persistent_state(record: Record, prefix: str = "") -> dict[str, Tensor]:
    """The state dict of a network in one of NVIDIA's pickles."""
    fields = _fields(record)
    transient = fields.get("_non_persistent_buffers_set") or ()
    state = {f"{prefix}{name}": value
             for kind in ("_parameters", "_buffers") for name, value in _dict(fields.get(kind)).items()
             if isinstance(value, Tensor) and name not in transient}
    for name, child in _dict(fields.get("_modules")).items():
        if isinstance(child, Record):
            state |= persistent_state(child, f"{prefix}{name}.")
    return state


def _children(module: object) -> Mapping[str, Any]:
    return _dict(_fields(module).get("_modules")) if isinstance(module, Record) else {}


def persistent_attribute(record: Record, name: str) -> object:
    """A plain attribute of a network, None where it has none of that name."""
    return _fields(record).get(name)


def persistent_hints(record: Record, part: str) -> Config:
    """conv_clamp, and the minibatch deviation's group size: plain attributes of the modules."""
    hints: Config = {}
    synthesis = _children(record).get("synthesis") if part == "generator" else record
    for block in _children(synthesis).values():
        inner = _children(block)
        layer, deviation = inner.get("conv1"), inner.get("mbstd")
        if isinstance(layer, Record) and _fields(layer).get("conv_clamp") is not None:
            hints["conv_clamp"] = float(_fields(layer)["conv_clamp"])
        if isinstance(deviation, Record):
            hints["mbstd_group_size"] = _fields(deviation).get("group_size")
    return hints
