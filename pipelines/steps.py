"""What a long loop tells its caller after each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class StepInfo:
    """One finished step of a loop.

    step: 1..total. losses: name -> value of the iterate this step evaluated. preview: decodes the current
    picture, float [B,3,H,W] in -1..1, only when called.
    """

    step: int
    total: int
    losses: Mapping[str, float] = field(default_factory=dict[str, float])
    preview: Callable[[], Tensor] | None = None


OnStep = Callable[[StepInfo], None]
"""Called after each step. Raising inside it stops the loop; nothing is left half done."""


def ignore(_: StepInfo) -> None:
    """The default OnStep."""
