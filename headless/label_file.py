"""Label sets given on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from ..pipelines.errors import InvalidInputError
from ..pipelines.labels import LabelSet


def read_label_set(path: Path) -> LabelSet:
    """A label set from a JSON file. InvalidInputError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} is no readable JSON: {error}.") from error
    return LabelSet.from_json(value)
