"""Calls a node's class methods as the host does: once per list item, with `hidden` filled in."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..runtime.host import io
from .node_types import NodeType

Values = Mapping[str, Sequence[Any]]
"""Input name -> the list of its values; a plain value is a list of one."""

Hidden = Mapping[io.Hidden, Any]
"""What a node finds in `cls.hidden`."""


def call_each(node: NodeType, method: str, values: Values, hidden: Hidden | None = None) -> list[Any]:
    """The results of calling the class method once per set of arguments, in order."""
    function = bound(node, method, hidden or {})
    return [call(function, arguments) for arguments in argument_sets(node, values)]


def argument_sets(node: NodeType, values: Values) -> list[dict[str, Any]]:
    """The keyword arguments of each call.

    A node with is_input_list is called once with the whole lists. Any other is called once per item of the longest
    list, shorter ones repeating their last item; without inputs it is called once. Every list must have an item.
    """
    if node.is_input_list:
        return [{name: list(items) for name, items in values.items()}]
    count = max((len(items) for items in values.values()), default=1)
    return [{name: items[min(index, len(items) - 1)] for name, items in values.items()} for index in range(count)]


def bound(node: NodeType, method: str, hidden: Hidden) -> Callable[..., Any]:
    """The class method of a throw-away clone with `hidden` set, so that nothing a node writes on itself survives."""
    return getattr(node.cls.PREPARE_CLASS_CLONE({"hidden_inputs": dict(hidden)}), method)


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> object:
    """The result of a plain or an async function."""
    result = function(**arguments)
    return asyncio.run(result) if inspect.iscoroutine(result) else result
