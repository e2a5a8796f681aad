"""`atelier doctor`: whether this installation can run the shipped workflows, in a few lines."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ..pipelines.errors import AtelierError
from .node_types import all_classes, object_info
from .report import versions

Check = Callable[[], str]


def examine(checks: dict[str, Check] | None = None) -> Iterator[tuple[bool, str]]:
    """(fine, line) per check. A check answers with what it found, or raises AtelierError, ImportError or OSError."""
    for name, check in (CHECKS if checks is None else checks).items():
        try:
            yield True, f"{name}: {check()}"
        except (AtelierError, ImportError, OSError, ValueError) as error:
            yield False, f"{name}: {error}"


def _versions() -> str:
    return ", ".join(f"{name} {version or '-'}" for name, version in versions().items())


def _devices() -> str:
    if not torch.cuda.is_available():
        return f"cpu with {torch.get_num_threads()} threads (no CUDA)"
    return f"cpu, cuda ({torch.cuda.get_device_name()})"


def _nodes() -> str:
    return f"{len(object_info(all_classes()))} node classes"


def _converter() -> str:
    if importlib.util.find_spec("comfy_cli") is None:
        raise ImportError("comfy-cli is missing, so only the API form can be read; install latent-atelier[headless]")
    return "UI and API form"


def _demo() -> str:
    demo = Path(__file__).parent.parent / "demo"
    weights, pictures = (len(list((demo / folder).rglob(f"*{suffix}"))) for folder, suffix in _SHIPPED)
    if not weights or not pictures:
        raise ValueError(f"{weights} weights and {pictures} pictures are shipped with this installation, expected some")
    return f"{weights} weights, {pictures} pictures"


_SHIPPED = (("weights", ".safetensors"), ("images", ".png"))

CHECKS: dict[str, Check] = {
    "versions": _versions,
    "devices": _devices,
    "nodes": _nodes,
    "workflows": _converter,
    "demo": _demo,
}
