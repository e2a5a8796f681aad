"""Running out of memory, said so that it helps."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from ..pipelines.errors import AtelierError


class OutOfRoomError(AtelierError, torch.OutOfMemoryError):
    """The memory of the device does not suffice. It is torch's own error as well, at which the host makes room."""


@contextmanager
def room_for(what: str, advice: str) -> Generator[None, None, None]:
    """Turns an error of memory into one sentence. advice: what to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, OutOfRoomError) or not _of_memory(error):
            raise
        raise OutOfRoomError(f"There is too little memory for {what}; lower {advice}.") from error


def _of_memory(error: BaseException) -> bool:
    """torch has a class of its own for the GPU alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
