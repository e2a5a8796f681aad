"""What a run without a host needs to know: its folders, its device, who watches it, whether it was cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import torch


class Cancelled(Exception):
    """The run was cancelled; no error of anyone."""


@dataclass(frozen=True)
class Folders:
    """input: searched in their order. output, temp: written to. models: each holds atelier/<family>/."""

    input: Sequence[Path]
    output: Path
    temp: Path
    models: Sequence[Path] = ()

    def of_type(self, kind: str) -> Path:
        """The folder of the host's name for it: 'output', 'temp' or 'input' (the first)."""
        if kind == "output":
            return self.output
        return self.temp if kind == "temp" else self.input[0]


@dataclass
class ExecutionContext:
    """One headless run. on_progress is told (step, total) of the node at work; `cancel` ends it at its next step."""

    folders: Folders
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    on_progress: Callable[[int, int], None] | None = None
    node_id: str | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """From any thread or a signal handler."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    @contextmanager
    def activate(self) -> Generator[ExecutionContext, None, None]:
        """Makes this the context of the current thread."""
        token = _ACTIVE.set(self)
        try:
            yield self
        finally:
            _ACTIVE.reset(token)

    @contextmanager
    def node(self, node_id: str) -> Generator[None, None, None]:
        """Names the node at work."""
        before, self.node_id = self.node_id, node_id
        try:
            yield
        finally:
            self.node_id = before


_ACTIVE: ContextVar[ExecutionContext | None] = ContextVar("latent_atelier_execution", default=None)


def active() -> ExecutionContext | None:
    """The context of the current thread, None outside a run."""
    return _ACTIVE.get()
