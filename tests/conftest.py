"""What tests of every layer use, and how they share the machine when several processes run them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import nullcontext

# These are read when torch is loaded. MKL's default sums depend on where in memory the numbers lie, and comparisons bit for
# bit must not; a processor that has no such mode keeps the default. How threads wait for each other: see headless/__init__.py.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    cores_each = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores_each)))

import pytest
import torch
from machine_lock import machine

FIRST = ("test_painter_speed.py", "test_shipped.py", "test_painter_page.py")
"""What waits for the other processes, while they have little to end yet, and what takes long: begun last, it would keep all
waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    alone = item.get_closest_marker("alone") is not None
    with machine(item.config.cache.mkdir("machine"), alone=alone) if parallel else nullcontext():
        return (yield)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For comparisons bit for bit: with several threads a sum may round differently from run to run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
