"""Calls a node's class methods as the host does: once per list item, with `hidden` filled in."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..runtime.host import io

Values = Mapping[str, Sequence[Any]]
"""Input name -> the list of its values; a plain value is a list of one."""


def call_each(
    cls: type[io.ComfyNode], method: str, values: Values, hidden: Mapping[str, Any] | None = None
) -> list[Any]:
    """The results of calling the class method once per set of arguments, in order."""
    function = bound(cls, method, hidden or {})
    return [call(function, arguments) for arguments in argument_sets(cls, values)]


def argument_sets(cls: type[io.ComfyNode], values: Values) -> list[dict[str, Any]]:
    """The keyword arguments of each call.

    A node with is_input_list is called once with the whole lists. Any other is called once per item of the longest
    list, shorter ones repeating their last item; without inputs it is called once. Every list must have an item.
    """
    if cls.INPUT_IS_LIST:
        return [{name: list(items) for name, items in values.items()}]
    count = max((len(items) for items in values.values()), default=1)
    return [{name: items[min(index, len(items) - 1)] for name, items in values.items()} for index in range(count)]


def bound(cls: type[io.ComfyNode], method: str, hidden: Mapping[str, Any]) -> Callable[..., Any]:
    """The class method of a throw-away clone with `hidden` set, so that nothing a node writes on itself survives."""
    clone = cls.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden[name]: value for name, value in hidden.items()}})
    return getattr(clone, method)


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> object:
    """The result of a plain or an async function."""
    result = function(**arguments)
    return asyncio.run(result) if inspect.iscoroutine(result) else result
