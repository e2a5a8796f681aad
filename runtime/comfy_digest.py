"""What tells a MODEL of the host and its prompts from others, also after a restart: a run that was kept goes on only with the
ones it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WEIGHTS_READ = 16
"""Numbers of each tensor of weights that count; two trainings agree in none."""
COUNTS = ("weights", "cond_hint_original", "strength", "timestep_percent_range", "previous_controlnet")
"""Of the host's objects: the weights of a LoRA, the picture of a ControlNet and how it is used."""


def digest(model: Any, *told: Any) -> str:
    """SHA-256, 16 hexadecimal digits, of a ModelPatcher and of conditions and numbers. Of the model: names and shapes of its
    weights and of those of LoRAs, some numbers of each, and how strong LoRAs are."""
    found = hashlib.sha256()
    for name, weight in model.model.state_dict().items():
        _read(found, name)
        _read(found, weight, WEIGHTS_READ)
    for name, patches in model.patches.items():
        _read(found, name)
        _read(found, patches, WEIGHTS_READ)
    _read(found, told)
    return found.hexdigest()[:16]


def _read(found: Any, value: Any, numbers: int | None = None) -> None:
    """Tensors by shape and their first numbers, all by default; plain values as they are written; of the host's objects their
    kind and what COUNTS names."""
    if isinstance(value, Tensor):
        found.update(repr((tuple(value.shape), str(value.dtype))).encode())
        found.update(value.detach().flatten()[:numbers].cpu().contiguous().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            _read(found, str(key))  # pyright: ignore[reportUnknownArgumentType]
            _read(found, item, numbers)
    elif isinstance(value, str | bytes | int | float | bool | None):
        found.update(repr(value).encode() + b";")
    elif isinstance(value, Sequence):
        found.update(b"[")
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _read(found, item, numbers)
        found.update(b"]")
    else:
        found.update(type(value).__qualname__.encode() + b";")
        for name in COUNTS:
            if hasattr(value, name):
                _read(found, getattr(value, name), numbers)
