"""What a kind of network is, as data: how to recognise it, read its hyper-parameters, and build it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from .errors import LayoutError, MetadataError

Config = dict[str, Any]
"""Constructor arguments as plain JSON: lists, and string keys in dicts."""


@dataclass(frozen=True)
class Layout:
    """The tensors of a file by name and shape."""

    shapes: Mapping[str, tuple[int, ...]]

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def size(self, name: str, axis: int) -> int:
        """One dimension of a tensor; LayoutError when there is no such tensor or dimension."""
        if name not in self.shapes:
            raise LayoutError(f"the tensor '{name}' is missing")
        shape = self.shapes[name]
        if axis >= len(shape):
            raise LayoutError(f"the tensor '{name}' has shape {list(shape)}, which is one dimension short")
        return shape[axis]

    def numbers(self, pattern: str) -> list[int]:
        """The distinct numbers n for which a name begins with `pattern`, its {n} replaced; ascending."""
        before, after = (re.escape(part) for part in pattern.split("{n}"))
        expression = re.compile(f"{before}(0|[1-9][0-9]{{0,5}}){after}")
        return sorted({int(found[1]) for name in self.shapes if (found := expression.match(name))})

    def count(self, pattern: str) -> int:
        """How many numbers 0, 1, 2, ... `pattern` has; LayoutError when one in between is missing."""
        numbers = self.numbers(pattern)
        if numbers != list(range(len(numbers))):
            gap = next(i for i, n in enumerate(numbers) if i != n)
            raise LayoutError(f"the tensors '{pattern.replace('{n}', str(gap))}...' are missing")
        return len(numbers)


@dataclass(frozen=True)
class Hints:
    """What the file's metadata say about the hyper-parameters that shapes do not show."""

    values: Mapping[str, Any]

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise MetadataError(f"the option '{key}' is an integer from {low} to {high}, got {value!r:.40}")
        return value

    def optional_integer(self, key: str, default: int | None, *, low: int, high: int) -> int | None:
        """As `integer`, but null is a value of its own."""
        if self.values.get(key, default) is None:
            return None
        return self.integer(key, default or 0, low=low, high=high)

    def optional_positive(self, key: str) -> float | None:
        """A finite positive number, or None where the file says nothing or null."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise MetadataError(f"the option '{key}' is a positive number or null, got {value!r:.40}")
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise MetadataError(f"the option '{key}' is true or false, got {value!r:.40}")
        return value

    def integers(self, key: str) -> list[int]:
        """A list of positive integers that only the metadata can tell; MetadataError when absent."""
        value = self.values.get(key)
        if isinstance(value, list):
            values = cast("list[object]", value)
            numbers = [n for n in values if isinstance(n, int) and not isinstance(n, bool) and n > 0]
            if numbers and len(numbers) == len(values):
                return numbers
        found = "nothing" if value is None else f"{value!r:.60}"
        raise MetadataError(f"the option '{key}' is a list of positive integers, got {found}")


@dataclass(frozen=True)
class Architecture:
    """A kind of network.

    name: what files carry in `atelier.architecture`. required: names of tensors that every such file has and that
    tell it from the others. read_config: hyper-parameters from shapes, and from the hints where shapes do not show
    them; raises LayoutError or MetadataError with the middle of a sentence. build: the module, randomly initialised.
    """

    name: str
    required: tuple[str, ...]
    read_config: Callable[[Layout, Hints], Config]
    build: Callable[[Config], nn.Module]

    def matches(self, layout: Layout) -> bool:
        return all(name in layout for name in self.required)
