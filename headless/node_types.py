"""What the node classes declare: which exist, their inputs, and the description the host gives at /object_info."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..runtime.host import io
from .plain import Json

WIDGET_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})
"""Types whose constants stand in the workflow; all others come through a link."""

ANY = "*"
MATCH = "COMFY_MATCHTYPE_V3"


@dataclass(frozen=True)
class InputSpec:
    """One declared input. io_type may join several types by commas; options are the host's (min, max, lazy, ...)."""

    name: str
    io_type: str
    required: bool
    options: Mapping[str, Any]

    @property
    def types(self) -> frozenset[str]:
        return frozenset(part.strip() for part in self.io_type.split(","))

    @property
    def takes_constant(self) -> bool:
        """Whether a value may stand in the workflow, as opposed to a link only."""
        widget = any(self.options.get(key) is not None for key in ("default", "socketless", "widgetType"))
        return widget or bool(self.types & WIDGET_TYPES) or ANY in self.types

    def accepts(self, offered: str) -> bool:
        """Whether a link of the type `offered` fits, by the host's rule: one common type, or a wildcard on a side."""
        wild = {ANY, MATCH}
        offers = {part.strip() for part in offered.split(",")}
        return bool(wild & (offers | self.types)) or bool(offers & self.types)


@dataclass(frozen=True)
class NodeType:
    """What one class declares at this moment: lists of files in it are those of now."""

    id: str
    cls: type[io.ComfyNode]
    inputs: Mapping[str, InputSpec]
    outputs: tuple[str, ...]
    output_is_list: tuple[bool, ...]
    hidden: tuple[io.Hidden, ...]
    is_input_list: bool
    is_output_node: bool
    keeps_to_itself: bool

    @staticmethod
    def of(node_class: type[io.ComfyNode]) -> NodeType:
        """Asks the class for its schema."""
        schema = node_class.GET_SCHEMA()
        return NodeType(
            id=schema.node_id,
            cls=node_class,
            inputs={
                item.id: InputSpec(item.id, item.get_io_type(), not item.optional, item.as_dict())
                for item in schema.inputs
            },
            outputs=tuple(output.io_type for output in schema.outputs),
            output_is_list=tuple(output.is_output_list for output in schema.outputs),
            hidden=tuple(schema.hidden),
            is_input_list=schema.is_input_list,
            is_output_node=schema.is_output_node,
            keeps_to_itself=schema.not_idempotent or io.Hidden.unique_id in schema.hidden,
        )

    @property
    def lazy(self) -> frozenset[str]:
        """The inputs that are evaluated only when check_lazy_status asks for them."""
        return frozenset(name for name, spec in self.inputs.items() if spec.options.get("lazy"))

    def overrides(self, method: str) -> bool:
        """Whether the class brings its own `method`, as opposed to the host's base class."""
        for base in self.cls.__mro__:
            if method in base.__dict__:
                return base not in io.ComfyNode.__mro__
        return False


Classes = Mapping[str, type[io.ComfyNode]]


def by_id(classes: Iterable[type[io.ComfyNode]]) -> dict[str, type[io.ComfyNode]]:
    """Node id -> class. Raises ValueError when two classes share an id."""
    found: dict[str, type[io.ComfyNode]] = {}
    for cls in classes:
        node_id = cls.GET_SCHEMA().node_id
        if node_id in found:
            raise ValueError(f"two node classes are called {node_id}")
        found[node_id] = cls
    return found


def all_classes() -> dict[str, type[io.ComfyNode]]:
    """The pack's nodes and the host's core nodes that the embedded host has."""
    from ..nodes.catalogue import NODES
    from .core_nodes import CORE_NODES

    return by_id([*CORE_NODES, *NODES])


def object_info(classes: Classes) -> dict[str, Json]:
    """What the host answers at /object_info."""
    info = {node_id: cls.GET_NODE_INFO_V1() for node_id, cls in classes.items()}
    return cast("dict[str, Json]", json.loads(json.dumps(info)))
