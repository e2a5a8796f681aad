"""Class codes: averaged, mixed, kept in files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import FingerprintMismatchError, InvalidInputError
from ..files import write_whole
from .network import ClassCode

METADATA_KEY, FORMAT = "atelier.class_code", 1


def require_same_translator(codes: Sequence[ClassCode]) -> None:
    """Raise FingerprintMismatchError, with both names, when the codes are of different translators."""
    for code in codes[1:]:
        if code.fingerprint != codes[0].fingerprint:
            raise FingerprintMismatchError(f"The class code '{code.name}' belongs to the translator '{code.translator}', and "
                                           f"'{codes[0].name}' to '{codes[0].translator}'; mix codes of one translator.")


def mix(codes: Sequence[ClassCode], weights: Sequence[float], name: str) -> ClassCode:
    """The weighted mean of class codes [1,latent_dim]; the weights are scaled to a sum of 1. Raises InvalidInputError."""
    require_same_translator(codes)
    total = sum(weights)
    if abs(total) < 1e-6:
        raise InvalidInputError("The weights of the class codes cancel out; give them a sum other than 0.")
    mixed = torch.stack([code.code * (weight / total) for code, weight in zip(codes, weights, strict=True)]).sum(dim=0)
    return codes[0].with_code(mixed, sum(code.count for code in codes), name)


def save_class_code(path: Path, code: ClassCode) -> None:
    """Write a class code; the file appears whole or not at all."""
    fields = {"format": FORMAT, "count": code.count, "fingerprint": code.fingerprint, "translator": code.translator,
              "name": code.name}
    write_whole(path, save({"code": code.code.contiguous()}, {METADATA_KEY: json.dumps(fields)}))


def load_class_code(path: Path) -> ClassCode:
    """Read a class code. Raises InvalidInputError."""
    try:
        with cast("AbstractContextManager[Any]", safe_open(path, framework="pt")) as file:
            fields = json.loads(cast("dict[str, str]", file.metadata() or {})[METADATA_KEY])
            code = cast(Tensor, file.get_tensor("code"))
        if fields["format"] != FORMAT:
            raise InvalidInputError(f"'{path.name}' is a class code of format {fields['format']}; update the pack.")
        return ClassCode(code.float(), int(fields["count"]), str(fields["fingerprint"]), str(fields["translator"]),
                         str(fields["name"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"'{path.name}' is not a readable class code ({error}); save it again.") from error
