"""What pickled checkpoints are made of: torch storages and tensors, NumPy arrays and scalars. Each is built from bytes.

Every size is checked against the bytes there are before anything is allocated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from .pickle_machine import Builder, Record, Stateful, plain_key

STORAGES = {
    "torch.DoubleStorage": torch.float64, "torch.FloatStorage": torch.float32, "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_DTYPE_KINDS = "fiub"


class Budget:
    """Bytes that one file may still turn into. A value that a pickle uses again and again is paid for each time."""

    def __init__(self, size: int) -> None:
        self.left = size

    def charge(self, size: int) -> None:
        """ValueError when the file asks for more than it can honestly hold."""
        self.left -= size
        if self.left < 0:
            raise ValueError("it describes far more data than it holds")


@dataclass(eq=False)
class Storage:
    """A flat run of numbers. values: None until the bytes were read (legacy files store them behind the pickle)."""

    dtype: torch.dtype
    length: int
    values: Tensor | None = None

    @property
    def nbytes(self) -> int:
        return self.length * self.dtype.itemsize

    def fill(self, data: bytes | memoryview, budget: Budget) -> None:
        """Take the numbers from little-endian bytes. ValueError when there are not exactly as many as promised."""
        budget.charge(len(data))
        if len(data) != self.nbytes:
            raise ValueError(f"a storage of {self.length} numbers has {len(data)} bytes instead of {self.nbytes}")
        buffer = bytearray(data)  # a writable copy: torch warns of read-only memory
        self.values = torch.frombuffer(buffer, dtype=self.dtype) if buffer else torch.empty(0, dtype=self.dtype)


@dataclass(eq=False)
class TensorView:
    """A tensor before its storage is there: `finish` makes it."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def finish(self) -> Tensor:
        """The tensor, contiguous, with memory of its own."""
        if self.storage.values is None:
            raise ValueError("the numbers of a tensor are missing")
        return torch.as_strided(self.storage.values, self.size, self.stride, self.offset).clone(
            memory_format=torch.contiguous_format)


def _whole(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list):
        raise ValueError("a shape is a tuple")
    numbers = tuple(cast("tuple[object, ...]", values))
    if len(numbers) > 16 or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
        raise ValueError("a shape or stride is up to 16 numbers, none below 0")
    return cast("tuple[int, ...]", numbers)


def rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> TensorView:
    """torch._utils._rebuild_tensor_v2. A tensor never has more numbers than its storage, nor reaches outside of it."""
    if not isinstance(storage, Storage) or isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise ValueError("a tensor without a storage or with a wrong offset")
    shape, steps = _whole(size), _whole(stride)
    if len(shape) != len(steps):
        raise ValueError(f"a tensor of shape {list(shape)} with strides {list(steps)}")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) if count else offset - 1
    if count > storage.length or last >= storage.length:
        raise ValueError(f"a tensor of shape {list(shape)} reaches outside its storage of {storage.length} numbers")
    return TensorView(storage, offset, shape, steps)


def rebuild_parameter(data: object, *_: object) -> object:
    """torch._utils._rebuild_parameter: the tensor."""
    if not isinstance(data, TensorView):
        raise ValueError("a parameter without a tensor")
    return data


class _NumpyType(Stateful):
    """numpy.dtype(code, align, copy) and its state, whose second entry is the byte order."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or len(code) > 16:
            raise ValueError("a number type without a name")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in _DTYPE_KINDS or self.dtype.hasobject:
            raise ValueError(f"arrays of type {code!r:.20} hold no numbers")

    def accept_state(self, state: object) -> None:
        order = cast("tuple[object, ...]", state)[1] if isinstance(state, tuple) and len(cast(Any, state)) > 1 else "|"
        if order not in ("<", ">", "|", "="):
            raise ValueError("an unknown byte order")
        self.dtype = self.dtype.newbyteorder(cast(Any, order))


class _NumpyArray(Stateful):
    """numpy's _reconstruct, then a state (version, shape, type, Fortran order, bytes)."""

    def __init__(self, budget: Budget) -> None:
        self.values: np.ndarray[Any, Any] | None = None
        self.budget = budget

    def accept_state(self, state: object) -> None:
        entries = cast("tuple[object, ...]", state) if isinstance(state, tuple) else ()
        if len(entries) != 5 or not isinstance(entries[2], _NumpyType):
            raise ValueError("an array without its description")
        shape, data = _whole(entries[1]), as_bytes(entries[4])
        if math.prod(shape) * entries[2].dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {list(shape)} with {len(data)} bytes")
        self.budget.charge(len(data))
        order = "F" if entries[3] else "C"
        native = entries[2].dtype.newbyteorder("=")
        self.values = np.frombuffer(data, entries[2].dtype).reshape(shape, order=order).astype(native, order="C")


def as_bytes(value: object) -> bytes:
    """Bytes, or the text that Python 2 files have in their place."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise ValueError("numbers that are no bytes")


def _scalar(kind: object, data: object = b"") -> object:
    if not isinstance(kind, _NumpyType):
        raise ValueError("a number without its type")
    values = np.frombuffer(as_bytes(data), kind.dtype)
    if len(values) != 1:
        raise ValueError(f"one number with {len(values)} values")
    return values[0].item()


def builders(budget: Budget) -> dict[str, Builder]:
    """The names that may be called, and what each gives instead of what it would be in Python."""

    def encode(text: object, encoding: object = "latin-1", *_: object) -> bytes:
        """_codecs.encode: how protocol 2 writes bytes."""
        if not isinstance(text, str) or not isinstance(encoding, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("encoded text of an unknown kind")
        budget.charge(len(text))
        return text.encode("latin-1")

    def ordered_dict(pairs: object = ()) -> dict[object, object]:
        entries = cast("list[tuple[object, object]]", pairs if isinstance(pairs, list | tuple) else ())
        budget.charge(64 * len(entries))
        return {plain_key(key): value for key, value in entries}

    return {
        "collections.OrderedDict": ordered_dict,
        "dnnlib.util.EasyDict": ordered_dict,
        "torch._utils._rebuild_tensor_v2": rebuild_tensor,
        "torch._utils._rebuild_tensor": rebuild_tensor,
        "torch._utils._rebuild_parameter": rebuild_parameter,
        "torch.Size": _whole,
        "numpy.dtype": _NumpyType,
        "_codecs.encode": encode,
        **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray._reconstruct": lambda *_: _NumpyArray(budget) for core in ("core", "_core")},
    }


RECORDS = frozenset({*STORAGES, "numpy.ndarray", "argparse.Namespace", "torch_utils.persistence._reconstruct_persistent_obj",
                     "torch.nn.modules.container.ModuleDict", "dnnlib.tflib.network.Network"})
"""Names that stay what they are: records of what the file says about an object."""


def finished(value: object, budget: Budget) -> object:
    """The value with every tensor and array in it made: dicts, lists, tuples and records are walked, shared parts once.

    Raises ValueError when a tensor has no numbers, when the values hold one another, or when they exceed the budget.
    """
    return _Finisher(budget).walk(value, 0)


class _Finisher:
    """Walks a value; a container that holds itself, or is nested too deep, is refused."""

    MAX_DEPTH, MAX_VALUES = 200, 2_000_000

    def __init__(self, budget: Budget) -> None:
        self.budget, self.left = budget, self.MAX_VALUES
        self.done: dict[int, tuple[object, object]] = {}

    def walk(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, str | bytes | int | float):
            return value
        if id(value) in self.done:
            return self.done[id(value)][1]
        self.left -= 1
        if self.left < 0 or depth > self.MAX_DEPTH:
            raise ValueError("it is nested too deep or holds too many values for a checkpoint")
        result = self._made(value, depth)
        self.done[id(value)] = (value, result)  # the value is kept so that its id is not given to another
        return result

    def _made(self, value: object, depth: int) -> object:
        if isinstance(value, TensorView):
            self.budget.charge(math.prod(value.size) * value.storage.dtype.itemsize)
            return value.finish()
        if isinstance(value, _NumpyArray):
            if value.values is None:
                raise ValueError("an array without numbers")
            return torch.from_numpy(value.values)
        if isinstance(value, dict):
            pairs = cast("dict[object, object]", value)
            return {key: self.walk(item, depth + 1) for key, item in pairs.items()}
        if isinstance(value, list | tuple):
            items = [self.walk(item, depth + 1) for item in cast("list[object]", value)]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, Record):
            arguments = cast("tuple[object, ...]", self.walk(value.arguments, depth + 1))
            keywords = cast("dict[str, object]", self.walk(dict(value.keywords), depth + 1))
            return Record(value.cls, arguments, self.walk(value.state, depth + 1), keywords)
        return value
