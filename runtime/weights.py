"""Official weights: what there is, where it comes from, under which licence, and where it lies here.

The list is weights_manifest.json. A file is downloaded to models/atelier/official and imported from there into the folder of
its family; `runtime.download` does the former, `checkpoints.convert` the latter.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pipelines.errors import AtelierError, InvalidInputError

MANIFEST = Path(__file__).parent.parent / "weights_manifest.json"
OFFICIAL = "official"
LOCKED = "locked_hashes.json"


class WeightsError(AtelierError, RuntimeError):
    """A weights file cannot be had, or is not the file it should be."""


@dataclass(frozen=True)
class OfficialFile:
    """One file of an entry. url: where it can be downloaded; torchvision: name of the weights whose address torchvision
    knows; page: where a person has to download it. size: bytes. sha256_prefix: where only the beginning of the hash is
    published."""

    name: str
    format: str
    size: int | None
    sha256: str | None
    url: str | None = None
    torchvision: str | None = None
    page: str | None = None
    sha256_prefix: str | None = None


@dataclass(frozen=True)
class Entry:
    """A network, or an edit vector, that somebody published. folder: family of the imported file, None where none is made.
    part: of a file that holds several networks. input_size: side in pixels of what it reads or draws."""

    name: str
    family: str
    architecture: str
    files: tuple[OfficialFile, ...]
    folder: str | None
    part: str | None
    input_size: int | None
    value_range: tuple[float, float] | None
    labels: str | None
    license: str
    terms: str
    provenance: str
    used_by: tuple[str, ...]

    @property
    def by_hand(self) -> bool:
        """Whether a person has to download it."""
        return any(file.page is not None for file in self.files)

    def source(self, models: Path, file: OfficialFile) -> Path:
        """Where a file of it lies after the download."""
        return models / "atelier" / OFFICIAL / file.name

    def imported(self, models: Path) -> Path | None:
        """Where the network that is made of it lies."""
        return None if self.folder is None else models / "atelier" / self.folder / f"{self.name}.safetensors"


def read_manifest(path: Path = MANIFEST) -> tuple[Entry, ...]:
    """The entries of a manifest, in its order."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return tuple(_entry(fields) for fields in content["entries"])


@functools.cache
def manifest() -> tuple[Entry, ...]:
    """The entries of the pack's own manifest."""
    return read_manifest()


def _entry(fields: Mapping[str, Any]) -> Entry:
    files = tuple(OfficialFile(**file) for file in fields["files"])
    span = fields["value_range"]
    given: dict[str, Any] = {**fields, "files": files, "value_range": None if span is None else (span[0], span[1]),
                             "used_by": tuple(fields["used_by"])}
    return Entry(**given)


def find(name: str, entries: tuple[Entry, ...] | None = None) -> Entry:
    """The entry of that name; InvalidInputError names those that are near."""
    entries = manifest() if entries is None else entries
    for entry in entries:
        if entry.name == name:
            return entry
    near = [entry.name for entry in entries if name.lower() in entry.name] or [entry.name for entry in entries[:5]]
    raise InvalidInputError(f"There are no weights '{name}'; `atelier weights list` shows all, such as {', '.join(near[:5])}.")


def advice_for(family: str, file_name: str) -> str:
    """How to get the official network that an imported file of that name holds; '' when it is no official one."""
    for entry in manifest():
        if entry.folder == family and file_name == f"{entry.name}.safetensors":
            where = f"; a person has to download it at {entry.files[0].page}" if entry.by_hand else ""
            return f" It is published under the {entry.license}; `atelier weights fetch {entry.name}` gets it{where}."
    return ""


def sha256_of(path: Path) -> str:
    """The hash of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def locked_hashes(folder: Path) -> dict[str, str]:
    """Hashes of files without a published one, as they were at the first download into this folder."""
    path = folder / LOCKED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def fault_of(file: OfficialFile, path: Path, locked: Mapping[str, str]) -> str | None:
    """What is wrong with a downloaded file, as the end of a sentence, or None. A folder is judged when it is imported."""
    if path.is_dir() and file.format == "folder":
        return None
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"has {size} bytes, expected {file.size}"
    known = file.sha256 or locked.get(file.name)
    if known is None and file.sha256_prefix is None:
        return None
    found = sha256_of(path)
    if (known is not None and found != known) or not found.startswith(file.sha256_prefix or ""):
        return f"has the SHA-256 {found}, expected {known or f'{file.sha256_prefix}...'}"
    return None


def is_proven(file: OfficialFile, locked: Mapping[str, str]) -> bool:
    """Whether there is a hash to hold the file against."""
    return bool(file.sha256 or file.sha256_prefix or locked.get(file.name))
