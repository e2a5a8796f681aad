"""Pictures to train on: decoded when asked for, in an order that an injected generator decides and a state can go on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import InvalidInputError
from .state import State

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
CACHE_BYTES = 2**30
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class Pictures(Protocol):
    """A finite set of pictures. digest: what tells this set from another, for the identity of a training."""

    @property
    def digest(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """Picture 0..len-1, uint8 [3,R,R]."""
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


def decode(path: Path, resolution: int) -> Tensor:
    """The picture in a file, uint8 [3,R,R]. InvalidInputError when it cannot be read."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
    except UNREADABLE as error:
        raise InvalidInputError(f"The picture {path.name} in {path.parent} cannot be read ({error}); replace or remove "
                                f"it.") from error
    image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def to_network(pictures: Tensor) -> Tensor:
    """uint8 [...,3,R,R] -> float32 -1..1."""
    return pictures.float() / 127.5 - 1


class PictureStream:
    """Batches without end. Every picture is seen once before any is seen again; the order of each round is drawn anew.

    rng: decides the order and, with mirror, which pictures are shown mirrored; its state belongs to this stream's.
    """

    def __init__(self, pictures: Pictures, *, rng: torch.Generator, mirror: bool = False) -> None:
        self.pictures, self.rng, self.mirror = pictures, rng, mirror
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def next(self, count: int) -> Tensor:
        """float32 [count,3,R,R] in -1..1."""
        chosen: list[Tensor] = []
        for _ in range(count):
            if self._position == len(self._order):
                self._order = torch.randperm(len(self.pictures), generator=self.rng)
                self._position = 0
            chosen.append(self.pictures[int(self._order[self._position])])
            self._position += 1
        batch = torch.stack(chosen)
        if self.mirror:
            flipped = torch.rand(count, generator=self.rng) < 0.5
            batch = torch.where(flipped[:, None, None, None], batch.flip(3), batch)
        return to_network(batch)

    def state_dict(self) -> State:
        """The order of this round, the place in it, and the generator."""
        return {"order": self._order, "position": self._position, "rng": self.rng.get_state()}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        self._order, self._position = state["order"], state["position"]
        self.rng.set_state(state["rng"])


def first_pictures(pictures: Pictures, count: int) -> Tensor:
    """float32 [min(count, len),3,R,R] in -1..1: what sample grids show."""
    return to_network(torch.stack([pictures[i] for i in range(min(count, len(pictures)))]))


def seeded(seed: int) -> torch.Generator:
    """A generator of its own stream."""
    return torch.Generator().manual_seed(seed % 2**63)
