"""A workflow that was checked: nodes, constants and links, ready to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..runtime.host import io

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


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
    """A node whose inputs are known to fit. `lazy` names the linked inputs that are evaluated only when asked for."""

    id: str
    title: str
    cls: type[io.ComfyNode]
    class_type: str
    inputs: Mapping[str, Link | Constant]
    lazy: frozenset[str] = frozenset()

    def links(self) -> Iterator[tuple[str, Link]]:
        """The linked inputs: (input name, source)."""
        for name, source in self.inputs.items():
            if isinstance(source, Link):
                yield name, source

    def __str__(self) -> str:
        return name_node(self.id, self.title, self.class_type)


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
