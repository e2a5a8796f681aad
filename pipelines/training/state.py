"""The state of a training as a file: its tensors as safetensors, everything else as JSON. Nothing is pickled.

A state is what `state_dict` methods return: tensors, numbers, strings, booleans and None in dicts (keys str or int),
lists and tuples, to any depth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import TrainingStateError
from ..files import write_whole

State = dict[str, Any]

METADATA_KEY = "atelier.training"
FORMAT = 1


def save_state(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all. identity: which training this is, plain JSON.

    Raises UnwritableFileError, and TypeError for a state that holds anything else than the above.
    """
    tensors: dict[str, Tensor] = {}
    plain = _take_apart(state, "state", tensors)
    text = json.dumps({"format": FORMAT, "identity": dict(identity), "state": plain})
    write_whole(path, save(tensors, {METADATA_KEY: text}))


def load_state(path: Path, identity: Mapping[str, Any]) -> State:
    """The inverse of `save_state`, on the CPU.

    Raises TrainingStateError when the file is damaged, or is of a training with another identity, naming the difference.
    """
    try:
        with cast("AbstractContextManager[Any]", safe_open(path, framework="pt")) as file:
            described = json.loads((cast("dict[str, str] | None", file.metadata()) or {})[METADATA_KEY])
            tensors = {name: cast(Tensor, file.get_tensor(name)) for name in cast("list[str]", file.keys())}
        if described["format"] == FORMAT:
            _require_same(path, described["identity"], json.loads(json.dumps(dict(identity))))
            return cast(State, _put_together(described["state"], tensors))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        if isinstance(error, TrainingStateError):
            raise
        raise TrainingStateError(f"{path.name} in {path.parent} is no readable state of a training ({error}); remove it "
                                 f"to begin anew.") from error
    raise TrainingStateError(f"{path.name} in {path.parent} was written by another version of this pack (format "
                             f"{described['format']!r:.20}, expected {FORMAT}); remove it to begin anew.")


def _require_same(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key in sorted(found.keys() | expected.keys()):
        old, new = found.get(key), expected.get(key)
        if old != new:
            raise TrainingStateError(f"{path.parent} holds a training begun with {key} {_told_apart(old, new)}; use the same "
                                     f"settings to go on, or another folder to begin anew.")


def _told_apart(old: Any, new: Any) -> str:
    """Both values; of two lists, how long they are and what one lacks."""
    if not isinstance(old, list) or not isinstance(new, list):
        return f"{old!r:.80}, asked for is {new!r:.80}"
    before, now = cast("list[Any]", old), cast("list[Any]", new)
    said = f"of {len(before)} names, asked for are {len(now)}"
    for lacks, there, lacking in (("without", before, now), ("with the new", now, before)):
        odd = [str(name) for name in there if name not in lacking]
        said += f", {lacks} {', '.join(odd[:3])}{' and others' if len(odd) > 3 else ''}" if odd else ""
    return said


def _take_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The value in JSON, every tensor replaced by its name: tagged, so that nothing is ambiguous."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = cast("Mapping[str | int, Any]", value).items()
        return {"dict": [[key, _take_apart(part, f"{name}.{key}", tensors)] for key, part in items]}
    if isinstance(value, list | tuple):
        parts = cast("list[Any]", value)
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_take_apart(part, f"{name}.{i}", tensors) for i, part in enumerate(parts)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which the state of a training cannot hold")


def _put_together(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((kind, content),) = cast("dict[str, Any]", plain).items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _put_together(part, tensors) for key, part in content}
    parts = [_put_together(part, tensors) for part in content]
    return tuple(parts) if kind == "tuple" else parts
