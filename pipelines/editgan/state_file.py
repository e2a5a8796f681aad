"""An interrupted edit as a file, to go on from another day."""

from __future__ import annotations

import dataclasses
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InvalidInputError
from .editing import EditState

METADATA_KEY = "atelier.edit_state"
FORMAT = 1
TENSORS = tuple(f.name for f in dataclasses.fields(EditState) if f.name != "step")


def save_state(path: Path, state: EditState) -> None:
    """Write the tensors of the state as safetensors, its step as metadata; temporary file, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: cast(Tensor, getattr(state, name)).detach().cpu().contiguous() for name in TENSORS}
    part = path.with_name(path.name + ".part")
    part.write_bytes(save(tensors, {METADATA_KEY: json.dumps({"format": FORMAT, "step": state.step})}))
    part.replace(path)


def load_state(path: Path) -> EditState:
    """Read what `save_state` wrote; InvalidInputError for anything else."""
    try:
        with cast("AbstractContextManager[Any]", safe_open(path, framework="pt")) as file:
            fields = json.loads((cast("dict[str, str] | None", file.metadata()) or {})[METADATA_KEY])
            tensors = {name: cast(Tensor, file.get_tensor(name)) for name in TENSORS}
            step, version = int(fields["step"]), fields["format"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"'{path.name}' is no saved state of an edit ({error}); save it again.") from error
    if version != FORMAT:
        raise InvalidInputError(f"'{path.name}' is an edit state of format {version}; this version reads format {FORMAT}, "
                                f"so update the pack.")
    batch = tensors["codes"].shape
    same = all(tensors[name].shape == batch for name in ("first_moment", "second_moment", "best"))
    per_picture = all(tensors[name].shape == batch[:1] for name in ("best_loss", "best_step"))
    if len(batch) != 3 or not same or not per_picture or tensors["curve"].shape[1:] != batch[:1] or step < 0:
        raise InvalidInputError(f"'{path.name}' is no saved state of an edit: its tensors do not fit each other.")
    if not all(bool(torch.isfinite(t).all()) for name, t in tensors.items() if name != "best_loss"):
        raise InvalidInputError(f"'{path.name}' holds NaN or infinite values and cannot be continued.")
    return EditState(step=step, **tensors)
