"""Progress on stderr: one bar over the nodes, one over the steps of the node at work."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

from .executor import NodeRecord
from .graph import Graph, GraphNode


class ProgressBars:
    """An Observer that draws. Use it as a context, so that the bars are closed whatever happens."""

    def __init__(self, graph: Graph) -> None:
        self._nodes: tqdm[Any] = tqdm(total=len(graph.nodes), file=sys.stderr, unit="node", leave=False)
        self._steps: tqdm[Any] | None = None
        self._title = ""

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
        if self._steps is None or self._steps.total != total or step < self._steps.n:
            self._close_steps()
            self._steps = tqdm(total=total, file=sys.stderr, desc=f"  {self._title}", unit="step", leave=False)
        self._steps.update(step - self._steps.n)

    def finished(self, record: NodeRecord) -> None:
        self._close_steps()
        if record.status == "run":
            self._nodes.write(f"{record.seconds:8.2f} s  {record.node}", file=sys.stderr)
        elif record.status == "cached":
            self._nodes.write(f"  cached    {record.node}", file=sys.stderr)
        self._nodes.update()

    def _close_steps(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None
