"""Pictures to train on: decoded when asked for, in an order that an injected generator decides and a state can go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import InvalidInputError
from .state import State
from .together import ALONE, Group

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
CACHE_BYTES = 2**30
LARGEST_SIDE = 16384
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
T = TypeVar("T")


class Pictures(Protocol):
    """A finite set of pictures. digest: what tells this set from another, for the identity of a training."""

    @property
    def digest(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """Picture 0..len-1, uint8 [3,R,R]. Raises InvalidInputError for one that cannot be read."""
        ...


class PictureFolder:
    """The pictures of a folder and its subfolders, sorted by path: centre square, scaled to R x R, alpha dropped.

    Decoded when asked for; up to cache_bytes of decoded pictures are kept. Raises InvalidInputError when the folder is
    missing or empty, and when a picture that is asked for cannot be read.
    """

    def __init__(self, folder: Path, resolution: int, *, cache_bytes: int = CACHE_BYTES) -> None:
        if not folder.is_dir():
            raise InvalidInputError(f"There is no folder {folder} to read pictures from.")
        self.folder, self.resolution = folder, resolution
        self.names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                            if path.suffix.lower() in SUFFIXES and path.is_file())
        if not self.names:
            raise InvalidInputError(f"The folder {folder} holds no pictures; {', '.join(sorted(SUFFIXES))} files are read.")
        self._kept: dict[int, Tensor] = {}
        self._room = cache_bytes // (3 * resolution**2)

    @property
    def digest(self) -> str:
        """SHA-256 of the names and sizes of the files, 16 hex digits."""
        listed = (f"{name}\0{(self.folder / name).stat().st_size}\n" for name in self.names)
        return hashlib.sha256("".join(listed).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        picture = decode(self.folder / self.names[index], self.resolution)
        if len(self._kept) < self._room:
            self._kept[index] = picture
        return picture


class PictureArray:
    """Pictures in memory (or a memory map), uint8 [N,R,R,3]."""

    def __init__(self, pictures: npt.NDArray[np.uint8]) -> None:
        self.pictures = pictures

    @property
    def digest(self) -> str:
        """SHA-256 of the shape and of at most 64 pictures spread over the set, 16 hex digits."""
        digest = hashlib.sha256(str(self.pictures.shape).encode())
        for index in np.linspace(0, len(self.pictures) - 1, min(64, len(self.pictures))).astype(int):
            digest.update(np.ascontiguousarray(self.pictures[index]).tobytes())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.pictures[index])).permute(2, 0, 1)


def read_rgb(path: Path) -> Image.Image:
    """The picture in a file, upright: grey as three channels, 16 bits as 8, without alpha. InvalidInputError when it cannot be
    read or is larger than LARGEST_SIDE."""
    try:
        with Image.open(path) as file:
            if max(file.size) > LARGEST_SIDE:
                raise ValueError(f"{file.width}x{file.height} pixels, at most {LARGEST_SIDE} a side")
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits; a plain conversion would clip them
                return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")
    except UNREADABLE as error:
        raise InvalidInputError(f"The picture {path.name} in {path.parent} cannot be read ({error}); replace or remove "
                                f"it.") from error


def decode(path: Path, resolution: int) -> Tensor:
    """The picture in a file, uint8 [3,R,R]. InvalidInputError when it cannot be read."""
    image = ImageOps.fit(read_rgb(path), (resolution, resolution), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def to_network(pictures: Tensor) -> Tensor:
    """uint8 [...,3,R,R] -> float32 -1..1."""
    return pictures.float() / 127.5 - 1


class Shuffle:
    """The numbers below `length` without end: each once per round, the order of each round drawn anew."""

    def __init__(self, length: int, rng: torch.Generator) -> None:
        self.length, self.rng = length, rng
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def next(self, count: int) -> Tensor:
        """The next so many, int64 [count]."""
        chosen: list[Tensor] = []
        while count:
            if self._position == len(self._order):
                self._order, self._position = torch.randperm(self.length, generator=self.rng), 0
            chosen.append(self._order[self._position:self._position + count])
            self._position += len(chosen[-1])
            count -= len(chosen[-1])
        return torch.cat(chosen)

    def state_dict(self) -> State:
        """The order of this round, the place in it, and the generator."""
        return {"order": self._order, "position": self._position, "rng": self.rng.get_state()}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        self._order, self._position = state["order"], state["position"]
        self.rng.set_state(state["rng"])


def whole_numbers(values: Tensor) -> list[int]:
    """int64 [N] as a list."""
    return cast("list[int]", values.tolist())


def readable(index: int, length: int, read: Callable[[int], T | None], bad: set[int]) -> tuple[int, T]:
    """Item `index`, or another, always the same, in the stead of one that cannot be read. `bad` gets what cannot be read.
    Raises InvalidInputError when nothing can."""
    if index not in bad:
        item = read(index)
        if item is not None:
            return index, item
        bad.add(index)
    for other in whole_numbers(torch.randperm(length, generator=seeded(index))):
        item = None if other in bad else read(other)
        if item is not None:
            return other, item
        bad.add(other)
    raise InvalidInputError("None of the pictures to train on can be read.")


class PictureStream:
    """Batches without end. Every picture is seen once before any is seen again; the order of each round is drawn anew.

    rng: decides the order and, with mirror, which pictures are shown mirrored; its state belongs to this stream's. group: of
    processes that share every batch. skipped: the pictures that could not be read, by index; others stand in for them.
    """

    def __init__(self, pictures: Pictures, *, rng: torch.Generator, mirror: bool = False, group: Group = ALONE) -> None:
        self.pictures, self.rng, self.mirror, self.group = pictures, rng, mirror, group
        self.skipped: set[int] = set()
        self._shuffle = Shuffle(len(pictures), rng)

    def next(self, count: int) -> Tensor:
        """float32 [count,3,R,R] in -1..1."""
        whole = count * self.group.size
        chosen = self.group.share(self._shuffle.next(whole))
        batch = torch.stack([readable(index, len(self.pictures), self._read, self.skipped)[1]
                             for index in whole_numbers(chosen)])
        if self.mirror:
            flipped = self.group.share(torch.rand(whole, generator=self.rng) < 0.5)
            batch = torch.where(flipped[:, None, None, None], batch.flip(3), batch)
        return to_network(batch)

    def count_of_skipped(self) -> dict[str, float]:
        """For the losses of a step: how many pictures could not be read, where there are any."""
        return {"skipped": float(len(self.skipped))} if self.skipped else {}

    def _read(self, index: int) -> Tensor | None:
        return picture_or_none(self.pictures, index)

    def state_dict(self) -> State:
        """The order of this round, the place in it, the generator, and what was skipped."""
        return {**self._shuffle.state_dict(), "skipped": sorted(self.skipped)}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        self._shuffle.load_state_dict(state)
        self.skipped = set(state.get("skipped", ()))


def picture_or_none(pictures: Pictures, index: int) -> Tensor | None:
    """A picture; None for one that cannot be read."""
    try:
        return pictures[index]
    except InvalidInputError:
        return None


def first_pictures(pictures: Pictures, count: int) -> Tensor:
    """float32 [min(count, readable ones),3,R,R] in -1..1: what sample grids show. Raises InvalidInputError when none can be
    read."""
    found: list[Tensor] = []
    for index in range(len(pictures)):
        picture = picture_or_none(pictures, index)
        if picture is not None:
            found.append(picture)
            if len(found) == count:
                break
    if not found:
        raise InvalidInputError("None of the pictures to train on can be read.")
    return to_network(torch.stack(found))


def seeded(seed: int) -> torch.Generator:
    """A generator of its own stream."""
    return torch.Generator().manual_seed(seed % 2**63)
