"""Runs a checked graph as the host does: what the output nodes need, each node once, unchanged nodes not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch

from ..pipelines.errors import AtelierError
from ..runtime.context import ExecutionContext
from ..runtime.host import Cancelled, check_cancel, io
from .graph import Graph, GraphNode, Link
from .memory import PeakMemory
from .node_calls import Hidden, argument_sets, bound, call, call_each
from .signatures import Signatures

log = logging.getLogger(__name__)


class NodeFailedError(AtelierError):
    """A node did not finish; the message names it and says why in one sentence."""


UiResult = Mapping[str, Sequence[Any]]
"""What a node shows, such as {"images": [{filename, subfolder, type}]}."""


@dataclass(frozen=True)
class NodeRecord:
    """What became of one node. files: what it wrote, as its ui result names it. seconds and peak_memory: of running."""

    node: GraphNode
    status: Literal["run", "cached", "failed", "cancelled", "skipped"]
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    peak_memory: int | None = None


class Observer(Protocol):
    """Is told how a run proceeds."""

    def started(self, node: GraphNode) -> None: ...

    def finished(self, record: NodeRecord) -> None: ...


@dataclass(frozen=True)
class Blocked:
    """Stands on an output that a node has blocked; a call that would receive it is not made."""


@dataclass(frozen=True)
class _Entry:
    """A finished node: per output slot the list of its values, and what it showed."""

    outputs: tuple[list[Any], ...]
    ui: UiResult


@dataclass
class _Run:
    """One run: the graph, the number of each node's signature, and what was found out on the way."""

    graph: Graph
    numbers: Mapping[str, int]
    observers: Sequence[Observer]
    visited: set[str] = field(default_factory=set[str])
    asked: dict[str, set[str]] = field(default_factory=dict[str, set[str]])


class Executor:
    """Runs graphs one after the other and remembers the results of the latest.

    As in the host, a node runs again only when its signature changed (class, constants, ancestors,
    fingerprint_inputs), two equal nodes of one graph run once, and the whole run is inside torch.inference_mode().
    """

    def __init__(self, context: ExecutionContext) -> None:
        self._context = context
        self._memory = PeakMemory(context.device)
        self._signatures = Signatures()
        self._entries: dict[int, _Entry] = {}

    def run(self, graph: Graph, observers: Sequence[Observer] = ()) -> dict[str, UiResult]:
        """What output nodes, and others with something to show, showed: node id -> ui result, such as {"images": [{filename,
        subfolder, type}]}.

        Raises NodeFailedError when a node fails, and whatever runtime's check_cancel raises (or KeyboardInterrupt)
        when the run is cancelled. What had finished by then is remembered.
        """
        with torch.inference_mode(), self._context.activate():
            run = _Run(graph, self._signatures.of(graph), observers)
            known = set(run.numbers.values())
            self._entries = {number: entry for number, entry in self._entries.items() if number in known}
            for output in graph.outputs:
                self._evaluate(run, output)
            for node in graph.nodes.values():
                if node.id not in run.visited:
                    entry = self._entries.get(run.numbers[node.id])
                    self._tell(run, NodeRecord(node, "skipped") if entry is None else self._cached(node, entry))
            shown = {node: entry.ui for node in graph.nodes if (entry := self._entries.get(run.numbers[node])) is not None}
            return {node: ui for node, ui in shown.items() if ui or node in graph.outputs}

    def _evaluate(self, run: _Run, target: str) -> None:
        """Runs `target` after everything it needs; deep graphs need no deep stack."""
        stack = [target]
        while stack:
            node = run.graph.nodes[stack[-1]]
            entry = self._entries.get(run.numbers[node.id])
            if entry is not None:
                stack.pop()
                if node.id not in run.visited:
                    self._tell(run, self._cached(node, entry))
                continue
            asked = run.asked.setdefault(node.id, set())
            waiting = [
                link.node_id
                for name, link in node.links()
                if (name not in node.type.lazy or name in asked) and run.numbers[link.node_id] not in self._entries
            ]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            self._run_node(run, node, asked)

    def _run_node(self, run: _Run, node: GraphNode, asked: set[str]) -> None:
        """Runs one node whose inputs are there, or adds the lazy inputs that it turns out to need to `asked`."""
        check_cancel()
        values = self._values(run, node)
        hidden = self._hidden(run, node)
        with _named(node):
            more = _lazily_needed(node, values, hidden) - asked
        if more:
            asked |= more
            return
        for observer in run.observers:
            observer.started(node)
        self._memory.start()
        begin = time.perf_counter()
        status: Literal["run", "failed", "cancelled"] = "cancelled"
        entry = None
        try:
            with _named(node), self._context.node(node.id):
                entry = _execute(node, values, hidden)
            status = "run"
            self._entries[run.numbers[node.id]] = entry
        except NodeFailedError:
            status = "failed"
            raise
        finally:
            seconds = time.perf_counter() - begin
            files = self._files(entry) if entry else ()
            self._tell(run, NodeRecord(node, status, seconds, files, self._memory.peak()))

    def _values(self, run: _Run, node: GraphNode) -> dict[str, list[Any]]:
        """Input name -> list of values; a lazy input that was not evaluated is [None]."""
        values: dict[str, list[Any]] = {}
        for name, source in node.inputs.items():
            if not isinstance(source, Link):
                values[name] = [source.value]
                continue
            entry = self._entries.get(run.numbers[source.node_id])
            values[name] = [None] if entry is None else entry.outputs[source.slot]
            if not values[name]:
                origin = run.graph.nodes[source.node_id]
                raise NodeFailedError(f"{node}, input {name}: the list from output {source.slot} of {origin} is empty.")
        return values

    def _hidden(self, run: _Run, node: GraphNode) -> dict[io.Hidden, Any]:
        offered: dict[io.Hidden, Any] = {
            io.Hidden.prompt: run.graph.prompt,
            io.Hidden.extra_pnginfo: run.graph.extra_pnginfo,
            io.Hidden.unique_id: node.id,
        }
        return {hidden: offered.get(hidden) for hidden in node.type.hidden}

    def _cached(self, node: GraphNode, entry: _Entry) -> NodeRecord:
        return NodeRecord(node, "cached", files=self._files(entry))

    def _files(self, entry: _Entry) -> tuple[Path, ...]:
        """The files that a ui result names."""
        items = [item for shown in entry.ui.values() for item in shown]
        named = [cast("Mapping[str, str]", item) for item in items if isinstance(item, Mapping) and "filename" in item]
        return tuple(
            self._context.folders.of_type(item.get("type", "output")) / item.get("subfolder", "") / item["filename"]
            for item in named
        )

    def _tell(self, run: _Run, record: NodeRecord) -> None:
        run.visited.add(record.node.id)
        for observer in run.observers:
            observer.finished(record)


@contextmanager
def _named(node: GraphNode) -> Generator[None, None, None]:
    """Gives what goes wrong inside the node's name. An error that no input causes is logged with its traceback."""
    try:
        yield
    except (NodeFailedError, Cancelled):
        raise
    except AtelierError as error:
        raise NodeFailedError(f"{node}: {error}") from error
    except Exception as error:  # the boundary between nodes and their runner: nothing is swallowed
        log.exception("%s failed", node)
        raise NodeFailedError(f"{node} failed: {type(error).__name__}: {error}") from error


def _lazily_needed(node: GraphNode, values: Mapping[str, list[Any]], hidden: Hidden) -> set[str]:
    """The linked lazy inputs that the node's check_lazy_status names."""
    if not node.type.lazy or not node.type.overrides("check_lazy_status"):
        return set()
    answers = call_each(node.type, "check_lazy_status", values, hidden)
    wanted = {name for answer in answers for name in answer or ()}
    return wanted & {name for name, _ in node.links() if name in node.type.lazy}


def _execute(node: GraphNode, values: Mapping[str, list[Any]], hidden: Hidden) -> _Entry:
    """Calls the node and joins the results of its calls."""
    execute = bound(node.type, "execute", hidden)
    results = [
        io.NodeOutput(block_execution="") if _blocked(arguments) else _as_output(node, call(execute, arguments))
        for arguments in argument_sets(node.type, values)
    ]
    is_list = node.type.output_is_list
    outputs: tuple[list[Any], ...] = tuple([] for _ in is_list)
    for result in results:
        for joined, several, value in zip(outputs, is_list, _row(node, result, len(is_list)), strict=True):
            joined.extend(value if several and not isinstance(value, Blocked) else [value])
    return _Entry(outputs, _join_ui(results))


def _blocked(arguments: Mapping[str, Any]) -> bool:
    lists = [cast("list[Any]", value) if isinstance(value, list) else [value] for value in arguments.values()]
    return any(isinstance(item, Blocked) for items in lists for item in items)


def _row(node: GraphNode, result: io.NodeOutput, slots: int) -> tuple[Any, ...]:
    """One value per output slot."""
    if result.block_execution is not None:
        if result.block_execution:
            log.warning("%s blocks what follows: %s", node, result.block_execution)
        return (Blocked(),) * slots
    row = tuple(result.result or ())
    if len(row) != slots:
        raise TypeError(f"it returned {len(row)} value(s) and declares {slots}")
    return row


def _as_output(node: GraphNode, result: object) -> io.NodeOutput:
    if result is None:
        return io.NodeOutput()
    if isinstance(result, tuple):
        return io.NodeOutput(*cast("tuple[Any, ...]", result))
    if not isinstance(result, io.NodeOutput):
        raise TypeError(f"it returned a {type(result).__name__} instead of a NodeOutput")
    if result.expand is not None:
        raise NodeFailedError(f"{node}: nodes that expand into a graph run only in ComfyUI itself.")
    return result


def _join_ui(results: Sequence[io.NodeOutput]) -> UiResult:
    """The ui results of all calls, key by key."""
    given = [result.ui for result in results if result.ui]
    shown = [cast("UiResult", ui if isinstance(ui, Mapping) else ui.as_dict()) for ui in given]
    return {key: [item for ui in shown for item in ui.get(key, ())] for key in (shown[0] if shown else ())}
