"""Progress on stderr: one bar over the nodes, one over the steps of the node at work."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

from .executor import NodeRecord
from .graph import Graph, GraphNode


class ProgressBars:
    """An Observer that draws. Use it as a context, so that the bars are closed whatever happens.

    Without `draw` (standard error is no terminal) there are only the lines about finished nodes.
    """

    def __init__(self, graph: Graph, *, draw: bool) -> None:
        self._draw = draw
        self._title = ""
        self._done = 0
        self._nodes = self._bar(len(graph.nodes), "", "node")
        self._steps: tqdm[Any] | None = None

    def _bar(self, total: int, description: str, unit: str) -> tqdm[Any]:
        return tqdm(total=total, desc=description, unit=unit, file=sys.stderr, leave=False, disable=not self._draw)

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_steps()
        self._nodes.close()

    def started(self, node: GraphNode) -> None:
        self._title = node.title
        self._nodes.set_description(node.title)

    def stepped(self, step: int, total: int) -> None:
        """Step 1..total of the node at work is done."""
        if self._steps is None or self._steps.total != total or step < self._done:
            self._close_steps()
            self._steps = self._bar(total, f"  {self._title}", "step")
        self._steps.update(step - self._done)
        self._done = step

    def finished(self, record: NodeRecord) -> None:
        self._close_steps()
        if record.status == "run":
            self._nodes.write(f"{record.seconds:8.2f} s  {record.node}", file=sys.stderr)
        elif record.status == "cached":
            self._nodes.write(f"  cached    {record.node}", file=sys.stderr)
        self._nodes.update()

    def _close_steps(self) -> None:
        self._done = 0
        if self._steps is not None:
            self._steps.close()
            self._steps = None
