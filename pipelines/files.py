"""Files that are whole or not there."""

from __future__ import annotations

import secrets
from pathlib import Path

from .errors import UnwritableFileError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that `path` is at every moment either the old file or the whole new one. Makes the folder.

    Raises UnwritableFileError when the disk does not take it.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableFileError(f"{path.name} could not be written to {path.parent}: {error}.") from error
