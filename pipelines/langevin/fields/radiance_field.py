"""A radiance field: density and colour at every place of [-1,1]^3.

A place is encoded (`encodings`), a small network reads the code and gives the density and, with the direction of view where
the field is `directional`, the colour. The form 'mlp' is the literal one of the patent's claims 5 and 6: sines and one deep
network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InvalidInputError
from .cameras import length
from .encodings import Encoding, HashGrids, Planes, Sines

Form = Literal["planes", "mlp", "hash"]
Background = Literal["white", "black", "grey", "learned", "random"]
SHADES = {"white": 1.0, "black": 0.0, "grey": 0.5, "random": 1.0}
RANGES: dict[str, tuple[int, int]] = {
    "channels": (1, 64), "resolution": (8, 4096), "features": (1, 64), "width": (4, 1024), "depth": (1, 16),
    "frequencies": (0, 16), "levels": (1, 24), "table": (8, 24)}


@dataclass(frozen=True)
class FieldConfig:
    """What a field is made of.

    form: 'planes', 'mlp' or 'hash'. channels: of its colour, 3 for pictures 0..1, as many as a latent space has otherwise.
    colour: 'sigmoid' keeps it within 0..1, 'linear' leaves it free. activation: of the density. density_scale: the density, per
    unit of length, that a pre-activation of about 1 makes. blob, blob_radius: the pre-activation is raised by
    blob (1 - |x| / blob_radius), so that an untrained field is a soft ball; 0 for an empty one. background: behind everything;
    'random' is drawn anew for every picture while the field is fitted and is white when it is shown. directional: the colour
    depends on the direction of view. resolution: side of the planes, or of the finest grid. features: per place and plane or
    grid. width, depth: of the network. frequencies: of the sines. levels, table: grids and the logarithm of their tables.
    Raises InvalidInputError.
    """

    form: Form = "planes"
    channels: int = 3
    colour: Literal["sigmoid", "linear"] = "sigmoid"
    activation: Literal["softplus", "exp"] = "softplus"
    density_scale: float = 10.0
    blob: float = 0.0
    blob_radius: float = 0.5
    background: Background = "white"
    directional: bool = False
    resolution: int = 64
    features: int = 16
    width: int = 32
    depth: int = 2
    frequencies: int = 6
    levels: int = 8
    table: int = 15

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidInputError(f"The {name} of a radiance field lie between {low} and {high}, got "
                                        f"{getattr(self, name)}.")
        choices = {"form": FORMS, "colour": ("sigmoid", "linear"), "activation": ACTIVATIONS,
                   "background": (*SHADES, "learned")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InvalidInputError(f"The {name} of a radiance field is one of {', '.join(known)}, got "
                                        f"{str(getattr(self, name))!r:.40}.")
        if not (0 < self.density_scale < 1e6 and abs(self.blob) < 1e3 and 0 < self.blob_radius < 1e3):
            raise InvalidInputError("The density scale and the blob of a radiance field are finite, the scale and the radius "
                                    "above 0.")


def _planes(config: FieldConfig) -> Encoding:
    return Planes(config.resolution, config.features)


def _sines(config: FieldConfig) -> Encoding:
    return Sines(config.frequencies)


def _hash(config: FieldConfig) -> Encoding:
    return HashGrids(config.levels, config.features, 16, max(16, config.resolution), config.table)


FORMS: dict[str, Callable[[FieldConfig], Encoding]] = {"planes": _planes, "mlp": _sines, "hash": _hash}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"softplus": F.softplus, "exp": lambda x: x.clamp(max=15).exp()}
FORM_DEFAULTS: dict[str, dict[str, Any]] = {
    "planes": {}, "mlp": {"width": 64, "depth": 4},
    "hash": {"features": 2, "levels": 16, "table": 19, "resolution": 2048, "width": 64}}
"""What suits each form; an MLP as the paper's has width 256 and depth 8."""


def field_config(form: Form, **changes: Any) -> FieldConfig:
    """The configuration that suits a form, with changes."""
    if form not in FORMS:
        raise InvalidInputError(f"The form of a radiance field is one of {', '.join(FORMS)}, got {form!r:.40}.")
    return FieldConfig(form=form, **(FORM_DEFAULTS[form] | changes))


class RadianceField(nn.Module):
    """The field itself. Its numbers are in `state_dict()`, everything else in `config`."""

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        self.config = config
        self.encoding = FORMS[config.form](config)
        size, half = self.encoding.size, config.depth // 2
        self.layers = nn.ModuleList([nn.Linear((size if i == 0 else config.width) + (size if i == half and i > 1 else 0),
                                               config.width) for i in range(config.depth)])
        self.density_head = nn.Linear(config.width, 1)
        self.directions = Sines(4) if config.directional else None
        turned = config.width // 2
        self.turning = nn.Linear(config.width + Sines(4).size, turned) if config.directional else None
        self.colour_head = nn.Linear(turned if config.directional else config.width, config.channels)
        self.background = nn.Parameter(torch.zeros(config.channels)) if config.background == "learned" else None

    def _body(self, points: Tensor) -> Tensor:
        encoded = self.encoding(points)
        x, half = encoded, len(self.layers) // 2
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(torch.cat([x, encoded], dim=1) if i == half and i > 1 else x))
        return x

    def _density(self, body: Tensor, points: Tensor) -> Tensor:
        config = self.config
        raw = self.density_head(body)[:, 0] + config.blob * (1 - length(points)[:, 0] / config.blob_radius)
        return config.density_scale * ACTIVATIONS[config.activation](raw - 1)

    def density(self, points: Tensor) -> Tensor:
        """points [N,3] -> density per unit of length, 0 or more, [N]."""
        return self._density(self._body(points), points)

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """points, directions of view (unit) [N,3] -> density [N] and colour [N,C]."""
        body = self._body(points)
        x = body
        if self.directions is not None and self.turning is not None:
            x = F.relu(self.turning(torch.cat([body, self.directions(directions)], dim=1)))
        colour = self.colour_head(x)
        return self._density(body, points), colour.sigmoid() if self.config.colour == "sigmoid" else colour

    def shown_background(self) -> Tensor:
        """What lies behind everything when the field is shown, [C]."""
        if self.background is not None:
            return self.background.sigmoid() if self.config.colour == "sigmoid" else self.background
        shade = SHADES[self.config.background]
        return self.density_head.weight.new_full((self.config.channels,), shade)

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Parameters for an optimiser: what is stored in grids learns at `rate`, the network at a tenth of it; a field without
        grids at a tenth."""
        stored = list(self.encoding.parameters())
        own = {id(p) for p in stored}
        rest = [p for p in self.parameters() if id(p) not in own]
        return ([{"params": stored, "lr": rate}] if stored else []) + [{"params": rest, "lr": rate / 10}]

    @property
    def device(self) -> torch.device:
        """Where its numbers lie."""
        return self.density_head.weight.device


def new_field(config: FieldConfig, seed: int = 0) -> RadianceField:
    """An untrained field; its numbers follow from the seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("cpu"):
        field = RadianceField(config)
    with torch.no_grad():
        for name, value in sorted(field.named_parameters()):
            if name == "encoding.planes":
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
            elif name == "encoding.tables":
                value.copy_(2e-4 * torch.rand(value.shape, generator=generator) - 1e-4)
            elif value.ndim == 2:
                value.copy_(torch.randn(value.shape, generator=generator) * math.sqrt(2 / value.shape[1]))
            else:
                value.zero_()
        for head in (field.density_head, field.colour_head):
            head.weight.mul_(0.3)
    return field


def copied(field: RadianceField, device: torch.device | None = None) -> RadianceField:
    """A field of its own with the same numbers, free of the host's inference mode."""
    config = field.config
    with torch.inference_mode(False):
        found = RadianceField(config)
        found.load_state_dict({name: value.detach().clone() for name, value in field.state_dict().items()})
        return found if device is None else found.to(device)


def as_dict(config: FieldConfig) -> dict[str, Any]:
    """The configuration as JSON values."""
    return copy.deepcopy(asdict(config))
