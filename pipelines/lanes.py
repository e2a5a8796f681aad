"""Work side by side on a CPU: small operators on all cores wait for one another after each of them, whole batches need not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
Item = TypeVar("Item")


class Lanes:
    """`count` threads that share the cores of the thread that made them, each with its part of torch's threads."""

    def __init__(self, count: int) -> None:
        cores = torch.get_num_threads()
        started = threading.Barrier(count)

        def begin() -> None:
            torch.get_num_threads()  # a thread's first question sets its number to the common one
            torch.set_num_threads(max(1, cores // count))
            started.wait()

        self._pool = ThreadPoolExecutor(count, "lane", begin)
        for each in [self._pool.submit(int) for _ in range(count)]:
            each.result()
        torch.set_num_threads(cores)  # the common one is the last that was set

    def map(self, call: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
        """[call(item) for item in items], without gradients. Raises what a call raises."""
        def without_gradients(item: Item) -> T:
            with torch.no_grad():
                return call(item)

        return list(self._pool.map(without_gradients, items))
