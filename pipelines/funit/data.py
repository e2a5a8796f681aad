"""Pictures with a class each, as FUNIT trains on them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..errors import InvalidInputError
from ..training.data import SUFFIXES, Shuffle, read_rgb, readable, seeded, to_network, whole_numbers
from ..training.state import State
from ..training.together import ALONE, Group

FEWEST_CLASSES = 2


class ClassPictures(Protocol):
    """Pictures and the class of each. classes: their names; labels int64 [N]; digest: what tells this set from another."""

    classes: list[str]
    labels: Tensor

    @property
    def digest(self) -> str: ...

    def picture(self, index: int, rng: torch.Generator) -> Tensor | None:
        """Picture 0..len-1 with a random crop, uint8 [3,R,R]; None for one that cannot be read."""
        ...


class ClassArray:
    """Pictures in memory, uint8 [N,R,R,3], shown as they are."""

    def __init__(self, pictures: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: list[str]) -> None:
        self.pictures, self.labels, self.classes = pictures, torch.from_numpy(labels), classes

    @property
    def digest(self) -> str:
        """SHA-256 of the shape, the labels and at most 64 pictures, 16 hex digits."""
        digest = hashlib.sha256(str(self.pictures.shape).encode() + self.labels.numpy().tobytes())
        for index in np.linspace(0, len(self.pictures) - 1, min(64, len(self.pictures))).astype(int):
            digest.update(np.ascontiguousarray(self.pictures[index]).tobytes())
        return digest.hexdigest()[:16]

    def picture(self, index: int, rng: torch.Generator) -> Tensor | None:
        return torch.from_numpy(np.array(self.pictures[index])).permute(2, 0, 1)


class ClassFolder:
    """A folder with a folder of pictures per class; labels follow the sorted names.

    As in the official loader the shortest side is scaled to resolution * 140 / 128 and a random square of the resolution is
    cut out. Raises InvalidInputError for a folder that is missing, has no two classes, or a class without pictures.
    """

    def __init__(self, folder: Path, resolution: int) -> None:
        if not folder.is_dir():
            raise InvalidInputError(f"There is no folder {folder} to read classes from.")
        self.folder, self.resolution = folder, resolution
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        self.classes = [path.name for path in inner]
        if len(inner) < FEWEST_CLASSES:
            raise InvalidInputError(f"The folder {folder} holds {len(inner)} classes; it needs at least {FEWEST_CLASSES} "
                                    f"folders, one per class, with pictures in each.")
        self.files: list[Path] = []
        labels: list[int] = []
        for label, path in enumerate(inner):
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not found:
                raise InvalidInputError(f"The class folder {path} holds no pictures; add some or remove the folder.")
            self.files += found
            labels += [label] * len(found)
        self.labels = torch.tensor(labels)

    @property
    def digest(self) -> str:
        """SHA-256 of the names and sizes of the files, 16 hex digits."""
        listed = (f"{path.relative_to(self.folder).as_posix()}\0{path.stat().st_size}\n" for path in self.files)
        return hashlib.sha256("".join(listed).encode()).hexdigest()[:16]

    def picture(self, index: int, rng: torch.Generator) -> Tensor | None:
        try:
            image = read_rgb(self.files[index])
        except InvalidInputError:
            return None
        side = round(self.resolution * 140 / 128)
        scale = side / min(image.size)
        image = image.resize((max(side, round(image.width * scale)), max(side, round(image.height * scale))),
                             Image.Resampling.BILINEAR)
        left, top = (int(torch.randint(extent - self.resolution + 1, (1,), generator=rng)) for extent in image.size)
        image = image.crop((left, top, left + self.resolution, top + self.resolution))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class ClassStream:
    """Batches of pictures and labels without end; every picture once per round, the order of each round drawn anew.

    group: of processes that share every batch. skipped: the pictures that could not be read, by index; others stand in for
    them. Raises InvalidInputError when none is left.
    """

    def __init__(self, pictures: ClassPictures, *, rng: torch.Generator, mirror: bool = True, group: Group = ALONE) -> None:
        self.pictures, self.rng, self.mirror, self.group = pictures, rng, mirror, group
        self.skipped: set[int] = set()
        self._shuffle = Shuffle(len(pictures.labels), rng)
        self._members = [(pictures.labels == label).nonzero()[:, 0] for label in range(len(pictures.classes))]

    def next(self, count: int) -> tuple[Tensor, Tensor]:
        """images float32 [count,3,R,R] in -1..1, labels int64 [count]."""
        images, labels = self.next_shots(count, 1)
        return images[:, 0], labels

    def next_shots(self, count: int, shots: int) -> tuple[Tensor, Tensor]:
        """images float32 [count,shots,3,R,R] in -1..1, labels int64 [count]: behind each picture others of its class, which may
        repeat."""
        images: list[Tensor] = []
        labels: list[int] = []
        whole = count * self.group.size
        chosen, crops = self._shuffle.next(whole), torch.randint(2**62, (whole, shots), generator=self.rng)
        beside = torch.rand(whole, shots - 1, generator=self.rng)
        for index, crop, places in zip(whole_numbers(self.group.share(chosen)), self.group.share(crops),
                                       self.group.share(beside), strict=True):
            seeds = whole_numbers(crop)
            found, picture = readable(index, len(self.pictures.labels), lambda i, s=seeds[0]: self._read(i, s), self.skipped)
            label = int(self.pictures.labels[found])
            others = self._members[label][(places * len(self._members[label])).long()]
            images += [picture, *(self._companion(other, found, seed)
                                  for other, seed in zip(whole_numbers(others), seeds[1:], strict=True))]
            labels.append(label)
        batch = torch.stack(images).reshape(count, shots, *images[0].shape)
        if self.mirror:
            flipped = self.group.share(torch.rand(whole, shots, generator=self.rng) < 0.5)
            batch = torch.where(flipped[:, :, None, None, None], batch.flip(4), batch)
        return to_network(batch), torch.tensor(labels)

    def _read(self, index: int, seed: int) -> Tensor | None:
        return self.pictures.picture(index, seeded(seed))

    def _companion(self, index: int, instead: int, seed: int) -> Tensor:
        """Picture `index`; if it cannot be read, the readable one that it was to stand beside."""
        picture = None if index in self.skipped else self._read(index, seed)
        if picture is None:
            self.skipped.add(index)
            picture = self._read(instead, seed)
        if picture is None:
            raise InvalidInputError("A picture to train on could be read, and now cannot; keep the folder as it is.")
        return picture

    def state_dict(self) -> State:
        """The order of this round, the place in it, the generator, and what was skipped."""
        return {**self._shuffle.state_dict(), "skipped": sorted(self.skipped)}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        self._shuffle.load_state_dict(state)
        self.skipped = set(state["skipped"])
