"""A workflow that was checked: nodes, constants and links, ready to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .node_types import NodeType
from .plain import Json


@dataclass(frozen=True)
class Link:
    """One output slot of another node, as the source of an input."""

    node_id: str
    slot: int


@dataclass(frozen=True)
class Constant:
    """A value that stands in the workflow itself, already of the type that the input declares."""

    value: Json


@dataclass(frozen=True)
class GraphNode:
    """A node whose inputs are known to fit."""

    id: str
    title: str
    type: NodeType
    inputs: Mapping[str, Link | Constant]

    def links(self) -> Iterator[tuple[str, Link]]:
        """The linked inputs: (input name, source)."""
        for name, source in self.inputs.items():
            if isinstance(source, Link):
                yield name, source

    def __str__(self) -> str:
        return name_node(self.id, self.title, self.type.id)


def name_node(node_id: str, title: str, class_type: str) -> str:
    """How sentences name a node: id, title where it tells more than the class, class."""
    named = f' "{title}"' if title != class_type else ""
    return f"node {node_id}{named} ({class_type})"


@dataclass(frozen=True)
class Graph:
    """What the output nodes need, acyclic.

    prompt: the whole workflow in API form with its constants converted; what nodes see as `hidden.prompt` and what
    pictures carry. extra_pnginfo: further texts for pictures, such as {"workflow": the UI form}.
    """

    nodes: Mapping[str, GraphNode]
    outputs: tuple[str, ...]
    prompt: Mapping[str, Json]
    extra_pnginfo: Mapping[str, Json] | None = None
