"""What a node remembers of its last run, so that the next one can go on from there while somebody paints.

Only for as long as the process lives, and only where a node is asked to: a result that depends on what was run before is no
result to keep.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

NODES = 16
"""So many nodes are remembered; beyond, the one that ran longest ago is forgotten."""

_memory: OrderedDict[str, tuple[str, Any]] = OrderedDict()
_lock = threading.Lock()


def remember(node: str, circumstances: str, value: Any) -> None:
    """Keep `value` for the node of that id. circumstances: what has to be the same for it to be of use again."""
    with _lock:
        _memory[node] = (circumstances, value)
        _memory.move_to_end(node)
        while len(_memory) > NODES:
            _memory.popitem(last=False)


def recall(node: str, circumstances: str) -> Any:
    """What the node kept under the same circumstances, or None."""
    with _lock:
        found = _memory.get(node)
    return found[1] if found is not None and found[0] == circumstances else None


def forget() -> None:
    """Forget every node."""
    with _lock:
        _memory.clear()
