"""What a node's result depends on, as a small number: equal numbers, equal results."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, cast

from ..pipelines.errors import AtelierError
from .graph import Graph, GraphNode, Link
from .node_calls import call_each

log = logging.getLogger(__name__)


class Signatures:
    """Gives nodes numbers over the life of one executor.

    A signature is the node's class, its constants, the signatures of the nodes it is linked to, and what its
    fingerprint_inputs returns. A node that is not idempotent or asks for its id has the id in it. A fingerprint that
    cannot be compared, or fails, equals nothing: the node and all that depends on it run every time, as in the host.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._fresh = count()

    def of(self, graph: Graph) -> dict[str, int]:
        """Node id -> number. Numbers of signatures that this graph does not have are forgotten."""
        found: dict[str, int] = {}
        kept: dict[Hashable, int] = {}
        for node in _sources_first(graph):
            signature = self._signature(node, found)
            number = next(self._fresh) if signature is None else self._numbers.get(signature)
            number = next(self._fresh) if number is None else number
            if signature is not None:
                kept[signature] = self._numbers[signature] = number
            found[node.id] = number
        self._numbers = kept
        return found

    def _signature(self, node: GraphNode, found: Mapping[str, int]) -> Hashable | None:
        try:
            fingerprint = freeze(_fingerprint(node))
            inputs = tuple(
                (name, "link", found[source.node_id], source.slot)
                if isinstance(source, Link)
                else (name, "constant", freeze(source.value))
                for name, source in sorted(node.inputs.items())
            )
        except Uncomparable as error:
            log.warning("%s runs every time: %s", node, error)
            return None
        return node.type.id, fingerprint, node.id if node.type.keeps_to_itself else None, inputs


class Uncomparable(Exception):
    """A value has no identity that could be compared between runs."""


def freeze(value: object) -> Hashable:
    """Plain data as something hashable. Numbers equal to each other freeze equal; NaN and objects are refused."""
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return value
    if isinstance(value, float):
        if value != value:
            raise Uncomparable("NaN equals nothing")
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return ("mapping", frozenset((freeze(key), freeze(item)) for key, item in items))
    if isinstance(value, Sequence):
        return tuple(freeze(item) for item in cast("Sequence[Any]", value))
    raise Uncomparable(f"its fingerprint has a {type(value).__name__} in it, which cannot be compared")


def _fingerprint(node: GraphNode) -> object:
    """fingerprint_inputs over the constants; links are None, as in the host."""
    if not node.type.overrides("fingerprint_inputs"):
        return None
    values = {name: [None if isinstance(source, Link) else source.value] for name, source in node.inputs.items()}
    try:
        return call_each(node.type, "fingerprint_inputs", values)
    except (AtelierError, OSError, TypeError, ValueError) as error:
        raise Uncomparable(f"its fingerprint failed ({error})") from error


def _sources_first(graph: Graph) -> Iterable[GraphNode]:
    """All nodes, each after those it is linked to."""
    done: set[str] = set()
    stack = list(graph.nodes)[::-1]
    while stack:
        node = graph.nodes[stack[-1]]
        waiting = [link.node_id for _, link in node.links() if link.node_id not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        if node.id not in done:
            done.add(node.id)
            yield node
