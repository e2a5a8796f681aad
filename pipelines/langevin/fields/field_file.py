"""A radiance field as a file: its numbers as safetensors, its configuration as JSON beside them."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...errors import InvalidInputError
from ...files import write_whole
from .radiance_field import FieldConfig, RadianceField, as_dict

METADATA_KEY, FORMAT = "atelier.radiance_field", 1


def save_field(path: Path, field: RadianceField) -> None:
    """Write a field; the file appears whole or not at all."""
    described = {"format": FORMAT, "config": as_dict(field.config)}
    numbers = {name: value.detach().cpu().contiguous() for name, value in field.state_dict().items()}
    write_whole(path, save(numbers, {METADATA_KEY: json.dumps(described)}))


def load_field(path: Path) -> RadianceField:
    """Read a field, onto the CPU. Raises InvalidInputError."""
    try:
        with cast("AbstractContextManager[Any]", safe_open(path, framework="pt")) as file:
            described = json.loads(cast("dict[str, str]", file.metadata() or {})[METADATA_KEY])
            if described["format"] != FORMAT:
                raise InvalidInputError(f"'{path.name}' is a radiance field of format {described['format']!r:.20}; update the "
                                        f"pack.")
            numbers = {name: cast(Tensor, file.get_tensor(name)) for name in cast("list[str]", file.keys())}
        with torch.device("meta"):  # nothing is allocated for what the configuration claims
            found = RadianceField(FieldConfig(**described["config"]))
        found.load_state_dict({name: value.float() for name, value in numbers.items()}, assign=True)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"'{path.name}' is not a readable radiance field ({error!s:.200}); save it "
                                f"again.") from error
    return found.requires_grad_(False)
