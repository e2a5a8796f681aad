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
CONTROL = ("cond_hint_original", "strength", "timestep_percent_range", "previous_controlnet")


def digest(model: Any, *told: Any) -> str:
    """SHA-256, 16 hexadecimal digits, of a ModelPatcher and of conditions and numbers. Of the model: names and shapes of its
    weights, some numbers of each, and which weights LoRAs change how strongly."""
    found = hashlib.sha256()
    for name, weight in model.model.state_dict().items():
        _read(found, name)
        _read(found, str(tuple(weight.shape)))
        _read(found, weight.flatten()[:WEIGHTS_READ].float())
    for name, patches in model.patches.items():
        _read(found, name)
        _read(found, [patch[0] for patch in patches])
    _read(found, told)
    return found.hexdigest()[:16]


def _read(found: Any, value: Any) -> None:
    """Tensors by shape and numbers, plain values as they are written; of the host's objects their kind, and of ControlNets
    picture and strength."""
    if isinstance(value, Tensor):
        found.update(repr((tuple(value.shape), str(value.dtype))).encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            _read(found, str(key))  # pyright: ignore[reportUnknownArgumentType]
            _read(found, item)
    elif isinstance(value, str | bytes | int | float | bool | None):
        found.update(repr(value).encode() + b";")
    elif isinstance(value, Sequence):
        found.update(b"[")
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _read(found, item)
        found.update(b"]")
    else:
        found.update(type(value).__qualname__.encode() + b";")
        for name in CONTROL:
            if hasattr(value, name):
                _read(found, getattr(value, name))
