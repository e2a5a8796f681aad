"""What a run did, as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch

from .executor import NodeRecord
from .graph import GraphNode
from .memory import PeakMemory
from .plain import Json

FORMAT = 1


class Report:
    """Watches one run; `as_json` says per node whether it ran, how long, what it wrote and how much memory it took."""

    def __init__(self, workflow: str, device: torch.device) -> None:
        self._workflow = workflow
        self._device = device
        self._begin = time.perf_counter()
        self._records: list[NodeRecord] = []

    def started(self, node: GraphNode) -> None:
        """Part of Observer; a node is recorded when it has finished."""

    def finished(self, record: NodeRecord) -> None:
        self._records.append(record)

    def as_json(self, status: Literal["done", "failed", "cancelled"], error: str | None = None) -> dict[str, Json]:
        """The report of the run up to now. Times in seconds, memory in bytes."""
        peaks = [record.peak_memory for record in self._records if record.peak_memory is not None]
        return {
            "atelier_report": FORMAT,
            "workflow": self._workflow,
            "status": status,
            "error": error,
            "seconds": round(time.perf_counter() - self._begin, 6),
            "device": str(self._device),
            "peak_memory": {"kind": PeakMemory(self._device).kind, "bytes": max(peaks, default=None)},
            "versions": versions(),
            "nodes": [_node(record) for record in self._records],
        }

    def write(self, path: Path, status: Literal["done", "failed", "cancelled"], error: str | None = None) -> None:
        """Writes the report, all of it or nothing. Raises OSError."""
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(self.as_json(status, error), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, path)


def _node(record: NodeRecord) -> dict[str, Json]:
    return {
        "id": record.node.id,
        "class_type": record.node.type.id,
        "title": record.node.title,
        "status": record.status,
        "seconds": round(record.seconds, 6),
        "files": [str(path) for path in record.files],
        "peak_memory_bytes": record.peak_memory,
    }


def versions() -> dict[str, Json]:
    """Of the pack and of what its results depend on; None for what is not installed."""
    found: dict[str, Json] = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("latent-atelier", "torch", "numpy", "pillow", "safetensors"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
