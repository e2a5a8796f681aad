"""What denoisers are trained on: random crops of pictures of any size, of one picture, and of sounds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import InvalidInputError
from ..training.data import CACHE_BYTES, SUFFIXES, UNREADABLE, to_network
from .position import Labels

Drawn = tuple[Tensor, Tensor, Tensor]
"""Crops float32 [N,C,*size] in -1..1, classes int64 [N] (-1 for none), positions of their middles float32 [N], or
poses [N,2] in degrees."""


class Crops(Protocol):
    """Data without end. digest: tells one set from another, 16 hex digits. size: side of a crop. dims: 1 or 2."""

    size: int
    dims: int
    channels: int
    labels: Labels

    @property
    def digest(self) -> str: ...

    def draw(self, count: int, rng: torch.Generator) -> Drawn: ...


class Whole(Protocol):
    """Where crops are cut from: uint8 [3,H,W] pictures."""

    @property
    def digest(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor: ...


class PicturesInMemory:
    """Pictures uint8 [3,H,W], of any sizes."""

    def __init__(self, pictures: Sequence[Tensor]) -> None:
        self.pictures = list(pictures)
        digest = hashlib.sha256()
        for picture in self.pictures:
            digest.update(f"{tuple(picture.shape)}".encode())
            digest.update(picture.contiguous().numpy().data)
        self.digest = digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        return self.pictures[index]


class PictureFiles:
    """The picture in a file, or the pictures of a folder and its subfolders, in their own sizes, sorted by path; alpha is
    dropped.

    longest: larger pictures are made smaller. Up to cache_bytes of decoded ones are kept.
    """

    def __init__(self, folder: Path, *, longest: int = 1024, cache_bytes: int = CACHE_BYTES) -> None:
        if not folder.exists():
            raise InvalidInputError(f"There is no file or folder {folder} to read pictures from.")
        self.folder, self.longest = folder if folder.is_dir() else folder.parent, longest
        self.paths = sorted(path for path in (folder.rglob("*") if folder.is_dir() else [folder])
                            if path.suffix.lower() in SUFFIXES and path.is_file())
        if not self.paths:
            raise InvalidInputError(f"The folder {folder} holds no pictures; {', '.join(sorted(SUFFIXES))} files are read.")
        self._kept: dict[int, Tensor] = {}
        self._room = cache_bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the names and sizes of the files, 16 hex digits."""
        listed = (f"{path.relative_to(self.folder).as_posix()}\0{path.stat().st_size}\n" for path in self.paths)
        return hashlib.sha256("".join(listed).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        path = self.paths[index]
        try:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file).convert("RGB")
        except UNREADABLE as error:
            raise InvalidInputError(f"The picture {path.name} in {path.parent} cannot be read ({error}); replace or remove "
                                    f"it.") from error
        image.thumbnail((self.longest, self.longest), Image.Resampling.LANCZOS)
        picture = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        if self._room >= picture.numel():
            self._room -= picture.numel()
            self._kept[index] = picture
        return picture


def by_folder(files: PictureFiles) -> tuple[list[int], tuple[str, ...]]:
    """The class of each picture and the names of the classes: the folders that lie directly in the folder."""
    tops = [path.relative_to(files.folder).parts[:-1][:1] for path in files.paths]
    if not all(tops):
        raise InvalidInputError(f"The folder {files.folder} holds pictures that lie in no folder of a class; move them "
                                f"there.")
    names = tuple(sorted({top[0] for top in tops}))
    return [names.index(top[0]) for top in tops], names


class PictureCrops:
    """Square crops at random places of pictures drawn at random.

    classes: of each picture, indices into labels.classes. wrap: the left and right ends of the pictures meet. mirror: every
    other crop is mirrored. Raises InvalidInputError for a picture smaller than a crop.
    """

    dims, channels = 2, 3

    def __init__(self, whole: Whole, size: int, *, classes: Sequence[int] | None = None, labels: Labels | None = None,
                 wrap: bool = False, mirror: bool = True) -> None:
        self.whole, self.size, self.wrap, self.mirror = whole, size, wrap, mirror
        self.classes, self.labels = classes, labels or Labels()

    @property
    def digest(self) -> str:
        text = f"{self.whole.digest} {self.size} {self.classes} {self.labels} {self.wrap} {self.mirror}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def draw(self, count: int, rng: torch.Generator) -> Drawn:
        chosen = integers(torch.randint(len(self.whole), (count,), generator=rng))
        places = torch.rand((count, 3), generator=rng)
        size = self.size
        crops: list[Tensor] = []
        positions: list[float] = []
        for index, place in zip(chosen, places, strict=True):
            across, down, turn = (float(value) for value in place)
            picture = self.whole[index]
            height, width = picture.shape[1:]
            if height < size or (width < size and not self.wrap):
                raise InvalidInputError(f"A picture of {width}x{height} pixels is smaller than the crops of {size}x{size}; "
                                        f"give a larger one, or train on smaller crops.")
            y = int(down * (height - size + 1))
            if self.wrap:
                columns = (torch.arange(size) + int(across * width)) % width
                crop = picture[:, y:y + size].index_select(2, columns)
            else:
                x = int(across * (width - size + 1))
                crop = picture[:, y:y + size, x:x + size]
            crops.append(crop.flip(2) if self.mirror and turn < 0.5 else crop)
            positions.append((y + size / 2) / height)
        classes = [-1 if self.classes is None else self.classes[index] for index in chosen]
        return to_network(torch.stack(crops)), torch.tensor(classes), torch.tensor(positions)


class SoundCrops:
    """Stretches of sounds, drawn in proportion to their lengths. sounds: float [C,T] in -1..1, all of the same channels.
    classes: of the sounds, indices into the labels'."""

    dims = 1

    def __init__(self, sounds: Sequence[Tensor], size: int, *, classes: Sequence[int] | None = None,
                 labels: Labels | None = None) -> None:
        self.sounds, self.size, self.labels = [sound.float().cpu() for sound in sounds], size, labels or Labels()
        self.classes = classes
        if not self.sounds or len({sound.shape[0] for sound in self.sounds}) != 1:
            raise InvalidInputError("The sounds of a training all have the same channels; give mono or stereo, not both.")
        short = min(sound.shape[1] for sound in self.sounds)
        if short < size:
            raise InvalidInputError(f"A sound of {short} samples is shorter than the crops of {size}; give a longer one, or "
                                    f"train on shorter crops.")
        self.channels = int(self.sounds[0].shape[0])
        self._ends = torch.tensor([float(sound.shape[1] - size + 1) for sound in self.sounds], dtype=torch.float64).cumsum(0)

    @property
    def digest(self) -> str:
        digest = hashlib.sha256(f"{self.size} {self.classes} {self.labels}".encode())
        for sound in self.sounds:
            digest.update(sound.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def draw(self, count: int, rng: torch.Generator) -> Drawn:
        at = torch.rand(count, generator=rng, dtype=torch.float64) * self._ends[-1]
        chosen = torch.searchsorted(self._ends, at, right=True).clamp(max=len(self.sounds) - 1)
        crops: list[Tensor] = []
        positions: list[float] = []
        for place, index in zip(at, integers(chosen), strict=True):
            sound = self.sounds[index]
            start = int(float(place) - (float(self._ends[index - 1]) if index else 0.0))
            start = min(start, sound.shape[1] - self.size)
            crops.append(sound[:, start:start + self.size])
            positions.append((start + self.size / 2) / sound.shape[1])
        classes = [-1 if self.classes is None else self.classes[index] for index in integers(chosen)]
        return torch.stack(crops), torch.tensor(classes), torch.tensor(positions)


def integers(values: Tensor) -> list[int]:
    """An integer tensor [N] as a list."""
    return [int(value) for value in values]


def pictures_from(array: npt.NDArray[np.uint8]) -> PicturesInMemory:
    """uint8 [N,H,W,3]."""
    return PicturesInMemory([torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous() for picture in array])
