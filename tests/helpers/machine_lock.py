"""Tests run side by side; a test that counts frames or seconds waits until the others pause, and has the machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where tests run one after the other
    fcntl = None


@contextmanager
def machine(folder: Path, *, alone: bool) -> Iterator[None]:
    """Share the machine with the other processes that name this folder, or wait until it is free and keep it.

    Everybody comes in through a turnstile, in which who wants to be alone stays while the others finish."""
    if fcntl is None:
        yield
        return
    with (folder / "turnstile").open("w") as turnstile, (folder / "machine").open("w") as room:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield
