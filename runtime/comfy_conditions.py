"""The host's conditions on a canvas that is denoised crop by crop.

Areas, masks and the pictures of ControlNets lie on the whole canvas, and the host takes them to lie on what it denoises: here
every batch of crops gets its own part of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.canvas import Crops
from ..pipelines.langevin.denoiser import View
from ..pipelines.langevin.placement import Placement

PLACE = "atelier_placement"
Condition = dict[str, Any]
"""What the host knows of one prompt."""


def lifted(condition: Condition) -> Condition:
    """A copy whose area and mask have become a Placement on the canvas. Raises InvalidInputError."""
    if "gligen" in condition:
        raise InvalidInputError("The conditioning holds GLIGEN boxes, which do not go with a canvas in crops; give areas or "
                                "masks instead.")
    out = dict(condition)
    area, mask = out.pop("area", None), out.pop("mask", None)
    if out.pop("set_area_to_bounds", False) and mask is not None:
        area = None
    if area is None and mask is None:
        return out
    relative = area is not None and area[0] == "percentage"
    out[PLACE] = Placement(None if area is None else tuple(area[1:] if relative else area), relative, mask)
    return out


def require_covered(conditions: Iterable[Condition], size: Sequence[int]) -> None:
    """Raise InvalidInputError where a part of the canvas has no condition at all."""
    conditions = list(conditions)
    if not conditions or any(PLACE not in condition or "default" in condition for condition in conditions):
        return
    total = torch.stack([condition[PLACE].on(size) for condition in conditions]).sum(dim=0)
    if bool((total <= 0).any()):
        bare = float((total <= 0).float().mean())
        raise InvalidInputError(f"The areas and masks of the conditioning leave {bare:.1%} of the picture without a prompt; "
                                f"combine them with a prompt for the whole picture.")


def placed(conditions: Sequence[Condition], view: View | None, like: Tensor, part: slice) -> list[Condition]:
    """The conditions for a part of the crops of a view, each with the mask of those crops; what holds in none is left out."""
    out: list[Condition] = []
    for condition in conditions:
        place: Placement | None = condition.get(PLACE)
        if place is None:
            out.append(condition)
            continue
        if isinstance(view, Crops):
            mask = view.crop(place.on(view.frame.size))[part, 0]
        else:
            mask = place.on(like.shape[2:]).expand(len(like), *like.shape[2:])
        if bool((mask > 0).any()):
            out.append({**condition, "mask": mask.to(like.device)})
    return out


class Hints:
    """The pictures of ControlNets, cut into crops while a batch is denoised."""

    def __init__(self) -> None:
        self._whole: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @contextmanager
    def cut(self, conditions: Iterable[Condition], view: View | None, part: slice) -> Generator[None, None, None]:
        """Inside, every ControlNet of the conditions has what its picture shows of the crops."""
        nets = _nets(conditions) if isinstance(view, Crops) else []
        before = [(net, net.cond_hint_original, getattr(net, "extra_concat_orig", [])) for net in nets]
        try:
            for net, hint, extra in before:
                self._give(net, self._crops(net, hint, view, part), [self._crops(net, one, view, part) for one in extra])
            yield
        finally:
            for net, hint, extra in before:
                self._give(net, hint, extra)

    @staticmethod
    def _give(net: Any, hint: Tensor | None, extra: list[Tensor | None]) -> None:
        net.cond_hint_original, net.extra_concat_orig = hint, extra
        net.cond_hint = net.extra_concat = None

    def _crops(self, net: Any, hint: Tensor | None, view: Any, part: slice) -> Tensor | None:
        if hint is None:
            return None
        scale = int(getattr(net, "compression_ratio", 8))
        fine: Crops = view.magnified(scale)
        known = self._whole.get((id(hint), scale))
        if known is None:
            known = self._whole[id(hint), scale] = (hint, F.interpolate(hint.float(), fine.frame.size, mode="nearest-exact"))
        return fine.crop(known[1][0])[part]


def _nets(conditions: Iterable[Condition]) -> list[Any]:
    found: dict[int, Any] = {}
    for condition in conditions:
        net = condition.get("control")
        while net is not None:
            found[id(net)] = net
            net = net.previous_controlnet
    return list(found.values())
