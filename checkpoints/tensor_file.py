"""Safetensors files: read with every check, written atomically, and identified by a fingerprint."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import BadTensorError, CheckpointError, UnreadableFileError

MAX_DIMENSION = 2**18
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
INTEGERS = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
            "BOOL": torch.bool}
_CODES = {dtype: code for code, dtype in (FLOATS | INTEGERS).items()}


class _Entry(Protocol):
    def get_shape(self) -> list[int]: ...
    def get_dtype(self) -> str: ...


class _Tensors(Protocol):
    """What safetensors calls an open file."""

    def keys(self) -> Iterable[str]: ...
    def metadata(self) -> dict[str, str] | None: ...
    def get_slice(self, name: str) -> _Entry: ...
    def get_tensor(self, name: str) -> Tensor: ...


@dataclass(frozen=True)
class Header:
    """A safetensors file without its numbers. dtypes: the format's own names, as "F32"."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Names, shapes, number types and metadata. Raises UnreadableFileError or BadTensorError."""
    _require_file(path)
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    try:
        with _open(path) as file:
            metadata = dict(file.metadata() or {})
            for name in file.keys():  # noqa: SIM118 (not a dict)
                entry = file.get_slice(name)
                shapes[name], dtypes[name] = tuple(entry.get_shape()), entry.get_dtype()
    except (SafetensorError, OSError, OverflowError) as error:
        raise _unreadable(path, error) from error
    for name, shape in shapes.items():
        if dtypes[name] not in FLOATS and dtypes[name] not in INTEGERS:
            raise BadTensorError(f"{path.name}: the tensor '{name:.100}' has the number type {dtypes[name]}, expected "
                                 f"one of {', '.join(FLOATS)} or an integer type.")
        if any(not 0 < n <= MAX_DIMENSION for n in shape):
            raise BadTensorError(f"{path.name}: the tensor '{name:.100}' has shape {list(shape)}, expected sizes from "
                                 f"1 to {MAX_DIMENSION}.")
    return Header(shapes, dtypes, metadata)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors exactly as stored, on the CPU; call `read_header` first. Raises UnreadableFileError."""
    _require_file(path)
    try:
        with _open(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, OverflowError) as error:
        raise _unreadable(path, error) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file so that `path` is at every moment either the old file or the whole new one. Makes the folder.

    Raises CheckpointError when the disk does not take it.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(safetensors.torch.save(dict(tensors), metadata=dict(metadata)))  # save_file writes mode 0600
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} could not be written to {path.parent}: {error}.") from error


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 in hex over the tensors as they are, in the order of their names.

    Per tensor: name in UTF-8, 0, number type as in the file ("F32"), 0, sizes joined by commas, 0, the numbers in
    row-major order, least significant byte first. Metadata do not count.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sizes = ",".join(str(n) for n in tensor.shape)
        digest.update(f"{name}\0{_CODES[tensor.dtype]}\0{sizes}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def to_float32(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Floating-point tensors as float32, the others as they are. BadTensorError names one with NaN or infinity."""
    return {name: _finite(tensor.float(), name, where) if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()}


def to_storage(tensors: Mapping[str, Tensor], dtype: torch.dtype | None, where: str) -> dict[str, Tensor]:
    """Own copies to write, floating-point ones as `dtype` (None: as they are). BadTensorError as in `to_float32`."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        if tensor.dtype not in _CODES:
            raise BadTensorError(f"{where}: the tensor '{name}' has the number type {tensor.dtype}, which no weights "
                                 f"file has.")
        if tensor.is_floating_point():
            tensor = _finite(tensor.to(dtype or tensor.dtype), name, where)
        stored[name] = tensor.clone(memory_format=torch.contiguous_format)
    return stored


def _finite(tensor: Tensor, name: str, where: str) -> Tensor:
    bad = tensor.numel() - int(torch.isfinite(tensor).sum())
    if bad:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise BadTensorError(f"{where}: the tensor '{name}' holds {bad} values that are NaN or too large for {kind}; "
                             f"the file is damaged or its training diverged.")
    return tensor


def _open(path: Path) -> AbstractContextManager[_Tensors]:
    return cast("AbstractContextManager[_Tensors]", safe_open(path, framework="pt"))


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UnreadableFileError(f"There is no weights file {path.name} in {path.parent}.")


def _unreadable(path: Path, error: Exception) -> UnreadableFileError:
    return UnreadableFileError(f"{path.name} is no whole safetensors file ({error}); download it again, or convert "
                               f"another format with 'atelier weights convert'.")
