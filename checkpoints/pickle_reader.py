"""Official pickles (.pkl, .pt, .pth) as plain data and tensors, without running anything that is in them.

Three containers: a bare pickle (NVIDIA's network pickles, TensorFlow's), torch's zip archive, and torch's stream from
before version 1.6, which also lies inside NVIDIA's pickles, one per tensor.
"""

from __future__ import annotations

import io
import mmap
import zipfile
from pathlib import Path
from typing import Any, cast

from .errors import CheckpointError, UnreadableFileError
from .pickle_machine import Global, Machine, Record
from .pickle_values import RECORDS, STORAGES, Budget, Storage, as_bytes, builders, finished

__all__ = ["Global", "Record", "read_pickle"]

SLACK = 2**20
"""Bytes that any file may turn into, however small it is."""
_LEGACY_MAGIC, _LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_pickle(path: Path | str) -> object:
    """What the file describes: dict, list, tuple, text, number, Tensor, or `Record` for an object of a class.

    Tensors are contiguous, on the CPU, with memory of their own. Raises UnreadableFileError (no file, damaged, cut off)
    or ForbiddenPickleError (it names something that no checkpoint needs; nothing was run).
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableFileError(f"There is no weights file {path.name} in {path.parent}.")
    try:
        reading = _Reading(path.name, Budget(2 * path.stat().st_size + SLACK))
        if zipfile.is_zipfile(path):
            value = reading.archive(path)
        else:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                value = reading.stream(cast(Any, mapped))
        return finished(value, Budget(4 * path.stat().st_size + SLACK))
    except CheckpointError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, MemoryError,
            RecursionError) as error:
        raise UnreadableFileError(f"{path.name} is damaged or no checkpoint ({type(error).__name__}: {str(error)[:200]}); "
                                  f"download it again.") from error


def _new_storage(identity: object) -> tuple[str, Storage]:
    """('storage', type, key, location, length) -> key and the empty storage."""
    entries = cast("tuple[Any, ...]", identity) if isinstance(identity, tuple) else ()
    if len(entries) < 5 or entries[0] != "storage" or not isinstance(entries[1], Global | Record):
        raise ValueError("a reference to something that is no storage")
    name = str(entries[1] if isinstance(entries[1], Global) else entries[1].cls)
    length = entries[4]
    if name not in STORAGES or isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise ValueError(f"a storage of type {name[:40]} without a length")
    return _key(entries[2]), Storage(STORAGES[name], length)


def _key(value: object) -> str:
    """The key of a storage as text; it is text or a number."""
    if not isinstance(value, str | int):
        raise ValueError("the key of a storage is no text")
    return str(value)


class _Reading:
    """One file: its name for the messages, and what it may turn into."""

    def __init__(self, where: str, budget: Budget) -> None:
        self.where, self.budget = where, budget
        self.builders = {**builders(budget), "torch.storage._load_from_bytes": self.nested}

    def machine(self, **options: Any) -> Machine:
        return Machine(builders=self.builders, records=RECORDS, where=self.where, **options)

    def archive(self, path: Path) -> object:
        """torch's zip archive: NAME/data.pkl, and the numbers uncompressed in NAME/data/KEY."""
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            descriptions = [name for name in entries if name.endswith("/data.pkl") or name == "data.pkl"]
            if len(descriptions) != 1:
                raise UnreadableFileError(f"{self.where} is a zip file, but not one that torch wrote.")
            folder = descriptions[0].removesuffix("data.pkl")

            def stored(name: str, size: int | None = None) -> bytes:
                info = entries[name]
                if info.compress_type != zipfile.ZIP_STORED or (size is not None and info.file_size != size):
                    raise ValueError(f"the entry '{name[-40:]}' is packed or has {info.file_size} bytes instead of {size}")
                self.budget.charge(info.file_size)
                return archive.read(info)

            if f"{folder}byteorder" in entries and stored(f"{folder}byteorder") != b"little":
                raise UnreadableFileError(f"{self.where} was written on a big-endian machine; save it again on another.")
            storages: dict[str, Storage] = {}

            def persistent(identity: object) -> Storage:
                key, storage = _new_storage(identity)
                if key not in storages:
                    storage.fill(stored(f"{folder}data/{key}", storage.nbytes), self.budget)
                    storages[key] = storage
                return storages[key]

            return self.machine(persistent=persistent).load(io.BytesIO(stored(descriptions[0])))

    def stream(self, stream: io.BytesIO) -> object:
        """A bare pickle, or torch's old stream, which begins with a pickled magic number."""
        first = self.machine().load(stream)
        return self.legacy(stream) if isinstance(first, int) and first == _LEGACY_MAGIC else first

    def nested(self, data: object) -> object:
        """What torch.storage._load_from_bytes gives: an old stream inside a pickle."""
        content = as_bytes(data)
        self.budget.charge(len(content) // 4)  # its numbers are charged when they are read
        stream = io.BytesIO(content)
        first = self.machine(nested=True).load(stream)
        if not isinstance(first, int) or first != _LEGACY_MAGIC:
            raise ValueError("a tensor's numbers are no stream of torch")
        return self.legacy(stream)

    def legacy(self, stream: io.BytesIO) -> object:
        """After the magic number: version, system, the object, the keys of its storages, and their numbers."""
        version, system = self.machine(nested=True).load(stream), self.machine(nested=True).load(stream)
        little = cast("dict[str, object]", system).get("little_endian", True) if isinstance(system, dict) else True
        if not isinstance(version, int) or version != _LEGACY_VERSION or little is not True:
            raise ValueError("a stream of torch of an unknown version or of a big-endian machine")
        storages: dict[str, Storage] = {}

        def persistent(identity: object) -> Storage:
            key, storage = _new_storage(identity)
            entries = cast("tuple[object, ...]", identity)
            if len(entries) > 5 and entries[5] is not None:
                raise ValueError("a view of a storage, which torch has not written since version 0.4")
            return storages.setdefault(key, storage)

        value = self.machine(nested=True, persistent=persistent).load(stream)
        keys = self.machine(nested=True).load(stream)
        names = [_key(key) for key in cast("list[object]", keys)] if isinstance(keys, list) else []
        if len(names) != len(storages) or set(names) != storages.keys():
            raise ValueError("the storages of a stream are not those that it names")
        for name in names:
            storage = storages[name]
            if int.from_bytes(stream.read(8), "little") != storage.length:
                raise ValueError("a storage has another length than promised")
            storage.fill(stream.read(storage.nbytes), self.budget)
        return value
