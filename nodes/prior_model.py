"""What the ATELIER_DENOISER socket carries: anything that becomes a denoiser while it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.denoiser import Denoiser, Guided, NetworkDenoiser, Region, Regions
from ..pipelines.langevin.preconditioning import NetworkPrior
from ..runtime.model_cache import ModelHandle

Body = Callable[[Denoiser], Any]


@dataclass(frozen=True, eq=False)
class PriorModel:
    """channels: of its data. crop: what it sees at once, per axis. multiple: sides of any crop are multiples of it. device:
    where it works. sample_rate: of sound, None where it is not known. run: gives a body the denoiser, inside whatever its
    network needs, and returns what the body returns."""

    name: str
    channels: int
    crop: tuple[int, ...]
    multiple: int
    device: torch.device
    run: Callable[[Body], Any]
    patcher: Any = None
    sample_rate: int | None = None

    @property
    def axes(self) -> int:
        """Of its data: 1 for sound, 2 for pictures, 3 for film."""
        return len(self.crop)


@dataclass(frozen=True, eq=False)
class PlacedRegion:
    """A denoiser for a part of the canvas. mask float [H,W] or [F,H,W], 0..1 over the whole canvas, of any size."""

    model: PriorModel
    mask: Tensor


def prior_model(value: ModelHandle | PriorModel, *, class_name: str = "", guidance: float = 1.0,
                precision: str = "float32", batch: int = 8) -> PriorModel:
    """What a denoiser socket holds, with a condition. Raises InvalidInputError for a class that the network does not know."""
    if isinstance(value, PriorModel):
        return value
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    shape = _network(value)
    shape.labels.index(class_name or None)

    def run(body: Body) -> Any:
        network = _network(value)

        def denoiser(chosen: str | None) -> NetworkDenoiser:
            return NetworkDenoiser(network, sigma_data=network.sigma_data, label=network.labels.condition(chosen), batch=batch,
                                   dtype=dtype)

        found: Denoiser = denoiser(class_name or None)
        if class_name and guidance != 1:
            found = Guided(found, denoiser(None), guidance)
        return body(found)

    return PriorModel(value.name, shape.channels, (shape.resolution,) * shape.dims, shape.multiple, value.device, run,
                      value.patcher, shape.sample_rate)


def _network(handle: ModelHandle) -> NetworkPrior:
    """The network behind a denoiser socket, on its device."""
    network = handle.acquire()
    if not isinstance(network, NetworkPrior):
        raise InvalidInputError(f"The denoiser input holds '{handle.name}', which is a {handle.architecture}; connect what "
                                f"Load Denoiser gives.")
    return network


def run_with_regions(model: PriorModel, regions: Sequence[PlacedRegion], size: Sequence[int], body: Body) -> Any:
    """body(denoiser) with every region's denoiser in its place; masks are scaled to the canvas."""
    placed: list[Region] = []

    def nested(background: Denoiser, rest: Sequence[PlacedRegion]) -> Any:
        if not rest:
            return body(Regions(background, placed) if placed else background)
        first = rest[0]
        if first.model.channels != model.channels or first.model.axes != model.axes:
            raise InvalidInputError(f"The region's denoiser '{first.model.name}' works on other data than '{model.name}'; give "
                                    f"one of the same kind.")

        def with_first(denoiser: Denoiser) -> Any:
            placed.append(Region(denoiser, scaled_mask(first.mask, size)))
            return nested(background, rest[1:])

        return first.model.run(with_first)

    return model.run(lambda denoiser: nested(denoiser, regions))


def scaled_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask [H,W] (or [F,H,W]) as float [1,*size], 0..1. One mask serves every frame of a film."""
    mask = mask.float().clamp(0, 1)
    if len(size) == 3:
        mask = mask[None] if mask.ndim == 2 else mask
        grown = torch.nn.functional.interpolate(mask[None, None], tuple(size), mode="trilinear", align_corners=False)
        return grown[0]
    mask = mask if mask.ndim == 2 else mask[0]
    return torch.nn.functional.interpolate(mask[None, None], tuple(size), mode="bilinear", align_corners=False)[0]
