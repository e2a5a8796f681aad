"""The TensorFlow pickles of StyleGAN2 (config-f: car, cat, church, ffhq, horse): (G, D, Gs), each a record of its variables.

Dense weights and modulations are stored transposed, convolutions as [kh,kw,in,out], those that enlarge mirrored; the bias of
a modulation lacks the 1 that it starts from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import cast

from torch import Tensor

from .errors import LayoutError
from .pickle_reader import Record

NETWORK = "dnnlib.tflib.network.Network"
ORDER = {"discriminator": 1, "generator": 2}
"""Position in the file: the generator is Gs, the averaged one."""


def tensorflow_network(value: object, part: str) -> Record | None:
    """The network of that part, or None when the file is no TensorFlow pickle."""
    entries = cast("tuple[object, ...]", value) if isinstance(value, tuple | list) else ()
    networks = [e for e in entries if isinstance(e, Record) and str(e.cls) == NETWORK]
    return networks[ORDER[part]] if len(networks) == len(entries) == 3 and part in ORDER else None


def variables(network: Record, prefix: str = "") -> dict[str, Tensor]:
    """Every variable by its path, those of the components behind their names."""
    fields = cast("dict[str, object]", network.state) if isinstance(network.state, dict) else {}
    found: dict[str, Tensor] = {}
    for entry in cast("list[object]", fields.get("variables") or []):
        name, value = cast("tuple[object, object]", entry)
        if isinstance(value, Tensor):
            found[f"{prefix}{name}"] = value
    components = fields.get("components")
    if isinstance(components, dict):
        for name, child in cast("dict[str, object]", components).items():
            if isinstance(child, Record):
                found |= variables(child, f"{prefix}{name}/")
    if not found:
        raise LayoutError("a network in it has no variables")
    return found


def _take(source: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in source:
        raise LayoutError(f"it lacks the variable '{name}'")
    return source[name].float()


def _convolution(source: Mapping[str, Tensor], name: str, *, mirrored: bool = False) -> Tensor:
    weight = _take(source, name).permute(3, 2, 0, 1)
    return (weight.flip(2, 3) if mirrored else weight).contiguous()


def _modulation(source: Mapping[str, Tensor], layer: str) -> Iterator[tuple[str, Tensor]]:
    yield "affine.weight", _take(source, f"{layer}/mod_weight").T.contiguous()
    yield "affine.bias", _take(source, f"{layer}/mod_bias") + 1


def _dense(source: Mapping[str, Tensor], pairs: Mapping[str, str]) -> dict[str, Tensor]:
    """ours -> theirs, for linear layers."""
    result: dict[str, Tensor] = {}
    for ours, theirs in pairs.items():
        result[f"{ours}.weight"] = _take(source, f"{theirs}/weight").T.contiguous()
        result[f"{ours}.bias"] = _take(source, f"{theirs}/bias")
    return result


def _count(source: Mapping[str, Tensor], pattern: str) -> int:
    return sum(bool(re.fullmatch(pattern, name)) for name in source)


def _resolutions(source: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted({int(found[1]) for name in source if (found := re.fullmatch(pattern, name))})


def generator_state(network: Record) -> dict[str, Tensor]:
    """The state dict of a generator in our key layout, without its fixed filters."""
    source = variables(network)
    pairs = {f"mapping.fc{i}": f"mapping/Dense{i}" for i in range(_count(source, r"mapping/Dense\d+/weight"))}
    if "mapping/LabelEmbed/weight" in source:
        pairs["mapping.embed"] = "mapping/LabelEmbed"
    result = {"mapping.w_avg": _take(source, "dlatent_avg"), **_dense(source, pairs),
              "synthesis.b4.const": _take(source, "synthesis/4x4/Const/const")[0]}
    for r in _resolutions(source, r"synthesis/(\d+)x\d+/.*"):
        block, place = f"synthesis.b{r}", f"synthesis/{r}x{r}"
        names = {"conv1": "Conv"} if r == 4 else {"conv0": "Conv0_up", "conv1": "Conv1"}
        for ours, theirs in names.items():
            layer, number = f"{block}.{ours}", 2 * round(math.log2(r)) - (5 if ours == "conv0" else 4)
            result |= {f"{layer}.{key}": value for key, value in _modulation(source, f"{place}/{theirs}")}
            result[f"{layer}.weight"] = _convolution(source, f"{place}/{theirs}/weight", mirrored=ours == "conv0")
            result[f"{layer}.bias"] = _take(source, f"{place}/{theirs}/bias")
            result[f"{layer}.noise_strength"] = _take(source, f"{place}/{theirs}/noise_strength").reshape(())
            result[f"{layer}.noise_const"] = _take(source, f"synthesis/noise{number}")[0, 0]
        if f"{place}/ToRGB/weight" in source:
            result |= {f"{block}.torgb.{key}": value for key, value in _modulation(source, f"{place}/ToRGB")}
            result[f"{block}.torgb.weight"] = _convolution(source, f"{place}/ToRGB/weight")
            result[f"{block}.torgb.bias"] = _take(source, f"{place}/ToRGB/bias")
        if f"{place}/Skip/weight" in source:
            result[f"{block}.skip.weight"] = _convolution(source, f"{place}/Skip/weight", mirrored=True)
    return result


def discriminator_state(network: Record) -> dict[str, Tensor]:
    """The state dict of a discriminator in our key layout, without its fixed filters."""
    source = variables(network)
    pairs = {"b4.fc": "4x4/Dense0", "b4.out": "Output"}
    if "LabelEmbed/weight" in source:
        pairs["mapping.embed"] = "LabelEmbed"
        pairs |= {f"mapping.fc{i}": f"Mapping{i}" for i in range(_count(source, r"Mapping\d+/weight"))}
    result = {**_dense(source, pairs), "b4.conv.weight": _convolution(source, "4x4/Conv/weight"),
              "b4.conv.bias": _take(source, "4x4/Conv/bias")}
    for r in _resolutions(source, r"(\d+)x\d+/.*"):
        for ours, theirs in {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down"}.items():
            if f"{r}x{r}/{theirs}/weight" in source:
                result[f"b{r}.{ours}.weight"] = _convolution(source, f"{r}x{r}/{theirs}/weight")
                result[f"b{r}.{ours}.bias"] = _take(source, f"{r}x{r}/{theirs}/bias")
        if f"{r}x{r}/Skip/weight" in source:
            result[f"b{r}.skip.weight"] = _convolution(source, f"{r}x{r}/Skip/weight")
    return result
