"""Constants of a workflow -> values of the declared type, with the host's limits."""

from __future__ import annotations

import math
from typing import cast

from .node_types import ANY, InputSpec
from .plain import Json

_SHOWN = 20


class UnfitConstant(Exception):
    """The value does not fit; the message says why, in one sentence."""


def convert(spec: InputSpec, value: Json) -> Json:
    """The constant as the input's type.

    The host's conversions (numbers and their texts to INT and FLOAT, numbers to STRING, 0 and 1 to BOOLEAN), without
    those that lose meaning: 5.7 is no INT and "false" no BOOLEAN. Raises UnfitConstant.
    """
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    kinds = spec.types
    if value is None and not spec.required and spec.io_type not in ("INT", "FLOAT"):
        return None
    if not spec.takes_constant:
        raise UnfitConstant(f"it needs a link from an output of type {spec.io_type}, got the constant {show(value)}.")
    if spec.io_type == "INT":
        return _integer(value)
    if spec.io_type == "FLOAT":
        return _number(value)
    if spec.io_type == "BOOLEAN":
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
        raise UnfitConstant(f"expected true or false, got {show(value)}.")
    if spec.io_type == "STRING":
        if isinstance(value, (list, dict)) or value is None:
            raise UnfitConstant(f"expected a text, got {show(value)}.")
        return str(value)
    if kinds & {"INT", "FLOAT"} and not kinds & {"STRING", "COMBO", ANY}:
        return _integer(value) if "FLOAT" not in kinds else _number(value)
    return value


def check_limits(spec: InputSpec, value: Json) -> None:
    """The host's own checks: min, max and the list of choices. Raises UnfitConstant."""
    if isinstance(value, (int, float)):
        low, high = spec.options.get("min"), spec.options.get("max")
        if low is not None and value < low:
            raise UnfitConstant(f"{value} is below the smallest allowed value {low}.")
        if high is not None and value > high:
            raise UnfitConstant(f"{value} is above the largest allowed value {high}.")
    if spec.io_type == "COMBO":
        _check_choice(spec, value)


def _check_choice(spec: InputSpec, value: Json) -> None:
    choices = cast("list[Json]", spec.options.get("options") or [])
    several = bool(spec.options.get("multiselect")) and isinstance(value, list)
    values = cast("list[Json]", value) if several else [value]
    unknown = [item for item in values if item not in choices]
    if not unknown:
        return
    got = ", ".join(show(item) for item in unknown)
    if not choices:
        raise UnfitConstant(f"{got} is not there: no file or choice is available.")
    listed = ", ".join(show(item) for item in choices[:_SHOWN])
    more = f" and {len(choices) - _SHOWN} more" if len(choices) > _SHOWN else ""
    raise UnfitConstant(f"{got} is not one of {listed}{more}.")


def _integer(value: Json) -> int:
    number = _number(value)
    if number != int(number):
        raise UnfitConstant(f"expected a whole number, got {show(value)}.")
    return int(value) if isinstance(value, (int, str)) and not _is_decimal(value) else int(number)


def _is_decimal(value: int | str) -> bool:
    return isinstance(value, str) and not value.strip().lstrip("+-").isdigit()


def _number(value: Json) -> float:
    if not isinstance(value, (int, float, str)):
        raise UnfitConstant(f"expected a number, got {show(value)}.")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise UnfitConstant(f"expected a number, got {show(value)}.") from error
    if not math.isfinite(number):
        raise UnfitConstant(f"expected a finite number, got {show(value)}.")
    return number


def show(value: Json) -> str:
    """The value as it may stand in a sentence, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
