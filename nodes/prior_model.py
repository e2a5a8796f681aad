"""What the ATELIER_DENOISER socket carries: anything that becomes a denoiser while it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.codec import Codec, Pixels
from ..pipelines.langevin.denoiser import Denoiser, Guided, NetworkDenoiser, Region, Regions
from ..pipelines.langevin.preconditioning import NetworkPrior
from ..runtime.comfy_denoiser import HostPrior
from ..runtime.model_cache import ModelHandle
from ..runtime.precision import number_type

Body = Callable[[Denoiser], Any]


@dataclass(frozen=True, eq=False)
class PriorModel:
    """channels: of its data. crop: what it sees at once, per axis. multiple: sides of any crop are multiples of it. device:
    where it works. run: gives a body the denoiser, inside whatever its network needs, and returns what the body returns.
    sample_rate: of sound, None where it is not known. codec: from pictures to its data; None for data that are no pictures, or
    pictures as they are. host: what it is made of when it is the host's MODEL, whose crops are smaller on a smaller canvas.
    condition: what it was told, where that is known, for what is kept to know it again."""

    name: str
    channels: int
    crop: tuple[int, ...]
    multiple: int
    device: torch.device
    run: Callable[[Body], Any]
    patcher: Any = None
    sample_rate: int | None = None
    codec: Codec | None = None
    host: HostPrior | None = None
    condition: str = ""

    @property
    def pictures(self) -> Codec:
        """Its codec of pictures."""
        return Pixels(self.channels) if self.codec is None else self.codec

    def crop_on(self, size: Sequence[int]) -> tuple[int, ...]:
        """Its crops of a canvas of that size."""
        if self.host is None:
            return self.crop
        unit = self.multiple
        return tuple(max(unit, min(c, n) // unit * unit) for c, n in zip(self.crop, size, strict=True))

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
                precision: str = "auto", batch: int = 32) -> PriorModel:
    """What a denoiser socket holds, with a condition. precision: one of `runtime.precision.PRECISIONS`. Raises
    InvalidInputError for a class that the network does not know."""
    if isinstance(value, PriorModel):
        return value
    dtype, shape = number_type(precision, value.device), _network(value)
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
                      value.patcher, shape.sample_rate, condition=f"{class_name} {guidance:g}" if class_name else "")


def _network(handle: ModelHandle) -> NetworkPrior:
    """The network behind a denoiser socket, on its device."""
    network = handle.acquire()
    if not isinstance(network, NetworkPrior):
        raise InvalidInputError(f"The denoiser input holds '{handle.name}', which is a {handle.architecture}; connect what "
                                f"Load Denoiser gives.")
    return network


def run_with_regions(model: PriorModel, regions: Sequence[PlacedRegion], size: Sequence[int], body: Body, *,
                     gradients: bool = False) -> Any:
    """body(denoiser) with every region's denoiser in its place; masks are scaled to the canvas. gradients: they will go through
    the denoisers."""
    def together(denoisers: Sequence[Denoiser]) -> Any:
        placed = [Region(denoiser, scaled_mask(region.mask, size))
                  for denoiser, region in zip(denoisers[1:], regions, strict=True)]
        return body(Regions(denoisers[0], placed) if placed else denoisers[0])

    return run_together(model, [region.model for region in regions], size, together, gradients=gradients)


def run_together(model: PriorModel, others: Sequence[PriorModel], size: Sequence[int],
                 body: Callable[[Sequence[Denoiser]], Any], *, gradients: bool = False) -> Any:
    """body([denoiser of the model, those of the others]) for data of a size. Raises InvalidInputError for others of another
    kind."""
    for there in others:
        if (there.channels, there.axes, there.host is None) != (model.channels, model.axes, model.host is None):
            raise InvalidInputError(f"The denoiser '{there.name}' works on other data than '{model.name}'; give one of the "
                                    f"same kind.")
    if model.host is not None:
        hosts = [there.host for there in others if there.host is not None]
        return replace(model.host, gradients=gradients, crop=model.crop_on(size)).run(body, hosts)

    def nested(found: Sequence[Denoiser], rest: Sequence[PriorModel]) -> Any:
        return rest[0].run(lambda denoiser: nested([*found, denoiser], rest[1:])) if rest else body(found)

    return model.run(lambda denoiser: nested([denoiser], others))


def scaled_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask [H,W] (or [F,H,W]) as float [1,*size], 0..1. One mask serves every frame of a film."""
    mask = mask.float().clamp(0, 1)
    if len(size) == 3:
        mask = mask[None] if mask.ndim == 2 else mask
        grown = torch.nn.functional.interpolate(mask[None, None], tuple(size), mode="trilinear", align_corners=False)
        return grown[0]
    mask = mask if mask.ndim == 2 else mask[0]
    return torch.nn.functional.interpolate(mask[None, None], tuple(size), mode="bilinear", align_corners=False)[0]
