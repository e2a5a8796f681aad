"""W+ codes as a value: what flows between encoding, editing and generating."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import FingerprintMismatchError, InvalidInputError


@dataclass(frozen=True)
class WPlus:
    """W+ codes of a batch of pictures.

    codes: float32 [B,num_ws,w_dim]. fingerprint: SHA-256 of the generator they belong to. noise: one map
    [1 or B,1,r,r] per synthesis layer, or None for the generator's own. tuned_from: where the generator was tuned on
    these pictures, the fingerprint of the one it was before, whose edit vectors still fit; else ''. generator: the name
    of the generator's file.
    """

    codes: Tensor
    fingerprint: str
    noise: tuple[Tensor, ...] | None = None
    tuned_from: str = ""
    generator: str = ""

    def __post_init__(self) -> None:
        if self.codes.ndim != 3 or self.codes.dtype != torch.float32:
            raise InvalidInputError(f"W+ codes are float32 [B,num_ws,w_dim], got {self.codes.dtype} "
                                    f"{list(self.codes.shape)}.")
        if not bool(torch.isfinite(self.codes).all()):
            raise InvalidInputError("The W+ codes hold NaN or infinite values; encode the picture again.")

    def with_codes(self, codes: Tensor) -> WPlus:
        """The same pictures' codes, changed; of each picture several, one after the other, if there are so many."""
        times = len(codes) // len(self.codes)
        if self.noise is None or times == 1:
            return replace(self, codes=codes)
        noise = tuple(n if len(n) == 1 else n.repeat_interleave(times, dim=0) for n in self.noise)
        return replace(self, codes=codes, noise=noise)

    def picture(self, index: int) -> WPlus:
        """One picture of the batch, as a batch of one."""
        noise = None if self.noise is None else tuple(n if len(n) == 1 else n[index:index + 1] for n in self.noise)
        return replace(self, codes=self.codes[index:index + 1], noise=noise)


def named(generator: str, fingerprint: str) -> str:
    """A generator in words: its file's name, if known, and the first 16 digits of its fingerprint."""
    short = fingerprint[:16] or "unknown"
    return f"'{generator}' ({short})" if generator else short


def require_same_generator(fingerprint: str, generator: str, what: str, name: str = "", generator_name: str = "") -> None:
    """Raise FingerprintMismatchError unless `what` (with `fingerprint`) belongs to the generator.

    name, generator_name: of the files of the two generators, where known.
    """
    if fingerprint != generator:
        raise FingerprintMismatchError(
            f"{what} belongs to generator {named(name, fingerprint)}, but the generator loaded here is "
            f"{named(generator_name, generator)}; load the generator it was made with, or make it again with this one.")
