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
    [1 or B,1,r,r] per synthesis layer, or None for the generator's own.
    """

    codes: Tensor
    fingerprint: str
    noise: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        if self.codes.ndim != 3 or self.codes.dtype != torch.float32:
            raise InvalidInputError(f"W+ codes are float32 [B,num_ws,w_dim], got {self.codes.dtype} "
                                    f"{list(self.codes.shape)}.")
        if not bool(torch.isfinite(self.codes).all()):
            raise InvalidInputError("The W+ codes hold NaN or infinite values; encode the picture again.")

    def with_codes(self, codes: Tensor) -> WPlus:
        """The same pictures' codes, changed."""
        return replace(self, codes=codes)


def require_same_generator(fingerprint: str, generator: str, what: str) -> None:
    """Raise FingerprintMismatchError unless `what` (with `fingerprint`) belongs to the generator."""
    if fingerprint != generator:
        raise FingerprintMismatchError(
            f"{what} belongs to generator {fingerprint[:16]}, but the generator loaded here is {generator[:16]}; "
            f"load the generator it was made with, or make it again with this one.")
