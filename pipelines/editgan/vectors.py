"""Edit vectors: a direction in W+ that realises an edit, its file, and its application."""

from __future__ import annotations

import json
import math
import tokenize
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from ..errors import InvalidInputError
from .latents import WPlus, named, require_same_generator

METADATA_KEY = "atelier.edit_vector"
FORMAT = 1
THUMBNAIL = 128
MAX_VECTOR_BYTES = 16 * 2**20
_UNREADABLE_ARRAY = (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError,
                     tokenize.TokenError)  # NumPy reads the header of an array as Python source


@dataclass(frozen=True)
class EditVector:
    """delta float32 [num_ws,w_dim]: w+ + strength * delta shows the edit.

    name: for the library. edit_type: how it was made ('optimised', 'imported'). labels: the parts edited (Q_edit).
    strength_range: where it is meant to be used. fingerprint: SHA-256 of its generator, '' when unknown; generator:
    the name of that generator's file. tags: words to find it by. provenance: how it was made, plain JSON values.
    """

    delta: Tensor
    name: str
    fingerprint: str
    edit_type: str = "optimised"
    labels: tuple[str, ...] = ()
    strength_range: tuple[float, float] = (-1.0, 2.0)
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])
    generator: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.delta.ndim != 2 or self.delta.dtype != torch.float32:
            raise InvalidInputError(f"An edit vector is float32 [num_ws,w_dim], got {self.delta.dtype} "
                                    f"{list(self.delta.shape)}.")
        if not bool(torch.isfinite(self.delta).all()):
            raise InvalidInputError(f"Edit vector '{self.name}' holds NaN or infinite values and cannot be used; "
                                    f"make it again.")

    @property
    def owner(self) -> str:
        """The generator in words: its file's name, if known, and the first digits of its fingerprint."""
        return named(self.generator, self.fingerprint)


def apply_vector(w: WPlus, vector: EditVector, strength: float, *, rows: tuple[int, int] | None = None) -> WPlus:
    """W+ codes moved along the vector: w + strength * delta (EditGAN, section 3.3, mode 1).

    rows: apply to W+ rows first..last only (inclusive), None for all. A vector of another generator is refused; one
    that does not say whose it is (an imported array) only has to have the right shape.
    """
    if vector.fingerprint and vector.fingerprint != w.tuned_from:
        require_same_generator(vector.fingerprint, w.fingerprint, f"Edit vector '{vector.name}'", vector.generator,
                               w.generator)
    if vector.delta.shape != w.codes.shape[1:]:
        raise InvalidInputError(f"Edit vector '{vector.name}' has shape {list(vector.delta.shape)}, but the W+ codes "
                                f"have {list(w.codes.shape[1:])} per picture.")
    if not math.isfinite(strength):
        raise InvalidInputError(f"The strength of an edit is a finite number, got {strength}.")
    delta = vector.delta
    if rows is not None:
        first, last = rows
        if not 0 <= first <= last < delta.shape[0]:
            raise InvalidInputError(f"The range of W+ rows lies within 0..{delta.shape[0] - 1}, got {first}..{last}.")
        index = torch.arange(delta.shape[0])[:, None]
        delta = torch.where((index >= first) & (index <= last), delta, torch.zeros_like(delta))
    return w.with_codes(w.codes + strength * delta.to(w.codes.device))


def save_vector(path: Path, vector: EditVector, thumbnail: Tensor | None = None) -> None:
    """Write safetensors `delta` with every other field as JSON metadata; temporary file, then rename.

    thumbnail: float [H,W,3] 0..1, kept beside the vector in the same file as uint8, at most THUMBNAIL pixels a side, so
    that a shared vector brings its picture along.
    """
    fields = {"format": FORMAT, "name": vector.name, "edit_type": vector.edit_type, "labels": list(vector.labels),
              "strength_range": list(vector.strength_range), "fingerprint": vector.fingerprint,
              "generator": vector.generator, "tags": list(vector.tags), "provenance": vector.provenance}
    tensors = {"delta": vector.delta.detach().cpu().contiguous()}
    if thumbnail is not None:
        small = thumbnail.detach().float().cpu().permute(2, 0, 1)[None]
        scale = THUMBNAIL / max(small.shape[2:])
        if scale < 1:
            size = tuple(max(1, round(n * scale)) for n in small.shape[2:])
            small = F.interpolate(small, size, mode="bilinear", antialias=True, align_corners=False)
        tensors["thumbnail"] = (small[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(save(tensors, {METADATA_KEY: json.dumps(fields)}))
    part.replace(path)


def load_thumbnail(path: Path) -> Tensor | None:
    """The picture that a vector's file brings along, uint8 [H,W,3], or None."""
    if path.suffix == ".npy":
        return None
    try:
        with cast("AbstractContextManager[Any]", safe_open(path, framework="pt")) as file:
            picture = cast(Tensor, file.get_tensor("thumbnail")) if "thumbnail" in file.keys() else None  # noqa: SIM118
    except (SafetensorError, OSError):
        return None
    valid = picture is not None and picture.dtype == torch.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    return picture if valid and 0 not in cast(Tensor, picture).shape else None


def load_vector(path: Path) -> EditVector:
    """Read an edit vector: ours (.safetensors), or the official EditGAN array (.npy float [1,num_ws,w_dim])."""
    if not path.is_file():
        raise InvalidInputError(f"There is no edit vector file '{path.name}'.")
    if path.stat().st_size > MAX_VECTOR_BYTES:
        raise InvalidInputError(f"'{path.name}' has {path.stat().st_size} bytes; an edit vector has at most "
                                f"{MAX_VECTOR_BYTES}, so this is no edit vector file.")
    return _load_npy(path) if path.suffix == ".npy" else _load_safetensors(path)


def _load_safetensors(path: Path) -> EditVector:
    try:
        with cast("AbstractContextManager[Any]", safe_open(path, framework="pt")) as file:
            metadata = cast("dict[str, str]", file.metadata() or {})
            delta = cast(Tensor, file.get_tensor("delta"))
    except (SafetensorError, OSError) as error:
        raise InvalidInputError(f"'{path.name}' is not a readable edit vector file ({error}); save it again or copy "
                                f"it anew.") from error
    try:
        fields = json.loads(metadata[METADATA_KEY])
        version = fields["format"]
        vector = EditVector(delta.float(), name=str(fields["name"]), fingerprint=str(fields["fingerprint"]),
                            edit_type=str(fields["edit_type"]), labels=tuple(map(str, fields["labels"])),
                            strength_range=_pair(fields["strength_range"]), provenance=dict(fields["provenance"]),
                            generator=str(fields.get("generator", "")), tags=tuple(map(str, fields.get("tags", []))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"'{path.name}' holds no valid edit vector description ({error!r}); it was not saved "
                                f"as an edit vector, or is damaged.") from error
    if version != FORMAT:
        raise InvalidInputError(f"'{path.name}' is an edit vector of format {version}; this version reads format "
                                f"{FORMAT}, so update the pack.")
    return vector


def _pair(values: Sequence[Any]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _load_npy(path: Path) -> EditVector:
    try:
        array = np.load(path, allow_pickle=False)
    except _UNREADABLE_ARRAY as error:
        raise InvalidInputError(f"'{path.name}' is not a readable NumPy array ({error}).") from error
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InvalidInputError(f"An EditGAN vector is a float array [1,num_ws,w_dim], '{path.name}' holds "
                                f"{array.dtype} {list(array.shape)}.")
    return EditVector(torch.from_numpy(array.astype(np.float32)), name=path.stem, fingerprint="", edit_type="imported",
                      provenance={"file": path.name})
