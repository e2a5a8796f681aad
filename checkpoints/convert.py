"""Official files into this pack's: read as data, recognised by their keys, loaded strictly, written once as safetensors.

    NVIDIA's network pickles (stylegan2-ada, stylegan3's StyleGAN2)   G_ema or D, with mapping and average w
    rosinality's .pt                                                  g_ema with latent_avg and noises
    state dicts in the layout of stylegan2-ada                        as they are
    LPIPS                                                             the package's, or torchvision's backbone and its heads
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..pipelines.lpips_network import NETS
from ..pipelines.stylegan2.generator import Generator
from .architecture import Architecture, Config, Hints, Layout
from .errors import CheckpointError, LayoutError, UnknownArchitectureError
from .pickle_reader import Record, read_pickle
from .registry import ARCHITECTURES, CheckpointInfo, inspect, save_checkpoint
from .rosinality import from_rosinality

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
PARTS = {"generator": ("G_ema", "stylegan2-generator"), "discriminator": ("D", "stylegan2-discriminator")}
AVERAGED = 4096
"""Latents that the average w is taken over where a training checkpoint does not hold it."""

State = dict[str, Tensor]


def convert(source: Path, target: Path, *, part: str = "generator", heads: Path | None = None,
            license: str | None = None) -> CheckpointInfo:
    """Write the network in an official file as safetensors, and say what it is.

    part: of files that hold several networks, 'generator' or 'discriminator'. heads: LPIPS's learned heads, for a
    torchvision backbone. license: kept in the file. Raises CheckpointError, and writes nothing, for a file that is
    damaged, forbidden, or no network that this version knows.
    """
    if part not in PARTS:
        raise CheckpointError(f"A network pickle has the parts {' and '.join(PARTS)}, not '{part}'.")
    value = read_pickle(source)
    name, state, hints = _recognise(value, part, source, heads)
    try:
        module, config = _build(name, state, hints)
    except CheckpointError as error:
        raise type(error)(f"{source.name} is no {name} as this version knows it: {str(error).rstrip('.')}.") from error
    save_checkpoint(target, module, architecture=name, config=config, license=license, source_sha256=_sha256(source))
    return inspect(target)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _recognise(value: object, part: str, source: Path, heads: Path | None) -> tuple[str, State, Config]:
    """Architecture, tensors in our layout, and what shapes do not show."""
    entries = cast("dict[object, object]", value) if isinstance(value, dict) else {}
    key, name = PARTS[part]
    if isinstance(entries.get(key), Record):
        network = cast(Record, entries[key])
        return name, persistent_state(network), _persistent_hints(network, part)
    if isinstance(entries.get("g_ema"), dict):
        state = _tensors(entries["g_ema"])
        average = entries.get("latent_avg")
        if isinstance(average, Tensor):
            return "stylegan2-generator", from_rosinality(state, average.float().reshape(-1, average.shape[-1])[0]), {}
        blank = from_rosinality(state, torch.zeros(len(state["style.1.bias"])))
        return "stylegan2-generator", {**blank, "mapping.w_avg": _average_w(blank)}, {}
    state = _tensors(entries)
    if "features.0.weight" in state:
        return "lpips", lpips_from_torchvision(state, heads), {}
    if "lin0.model.1.weight" in state and "net.slice1.0.weight" in state:
        return "lpips", {k: v for k, v in state.items() if re.match(r"net\.|lin\d+\.", k)}, {}
    layout = Layout({k: tuple(v.shape) for k, v in state.items()})
    found = [a.name for a in ARCHITECTURES if a.matches(layout)]
    if len(found) == 1:
        return found[0], state, {}
    held = ", ".join(f"'{k!s:.40}'" for k in list(entries)[:6]) or f"a {type(cast(object, value)).__name__}"
    raise UnknownArchitectureError(f"{source.name} holds no network that this version can import; it holds {held}.")


def _tensors(value: object) -> State:
    """The tensors of a state dict, without the prefix that DataParallel gives them."""
    entries = cast("dict[object, object]", value) if isinstance(value, dict) else {}
    return {str(k).removeprefix("module."): v for k, v in entries.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _architecture(name: str) -> Architecture:
    return next(a for a in ARCHITECTURES if a.name == name)


def _build(name: str, state: State, hints: Config) -> tuple[nn.Module, Config]:
    architecture = _architecture(name)
    config = architecture.read_config(Layout({k: tuple(v.shape) for k, v in state.items()}), Hints(hints))
    with torch.device("meta"):
        expected = architecture.build(config).state_dict()
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or extra:
        raise LayoutError(f"its tensors differ from the network's {len(expected)}: {len(missing)} missing ({missing[:3]}), "
                          f"{len(extra)} unexpected ({extra[:3]})")
    for key, tensor in expected.items():
        if tensor.shape != state[key].shape:
            raise LayoutError(f"the tensor '{key}' has shape {list(state[key].shape)}, expected {list(tensor.shape)}")
    module = architecture.build(config)
    module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=True)
    return module.eval().requires_grad_(False), config


def _fields(record: Record) -> Mapping[str, Any]:
    """The attributes of a module that NVIDIA's persistence stored; its source, which came with them, is left alone."""
    meta = record.arguments[0] if str(record.cls) == PERSISTENT and len(record.arguments) == 1 else None
    state = cast("dict[str, Any]", meta).get("state") if isinstance(meta, dict) else None
    if not isinstance(state, dict):
        raise LayoutError("a network in it is not stored as stylegan2-ada stores its networks")
    return cast("Mapping[str, Any]", state)


def _dict(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def persistent_state(record: Record, prefix: str = "") -> State:
    """The state dict of a network in one of NVIDIA's pickles."""
    fields = _fields(record)
    transient = fields.get("_non_persistent_buffers_set") or ()
    state = {f"{prefix}{name}": value
             for kind in ("_parameters", "_buffers") for name, value in _dict(fields.get(kind)).items()
             if isinstance(value, Tensor) and name not in transient}
    for name, child in _dict(fields.get("_modules")).items():
        if isinstance(child, Record):
            state |= persistent_state(child, f"{prefix}{name}.")
    return state


def _children(module: object) -> Mapping[str, Any]:
    return _dict(_fields(module).get("_modules")) if isinstance(module, Record) else {}


def _persistent_hints(record: Record, part: str) -> Config:
    """conv_clamp, and the minibatch deviation's group size: plain attributes of the modules."""
    hints: Config = {}
    synthesis = _children(record).get("synthesis") if part == "generator" else record
    for block in _children(synthesis).values():
        inner = _children(block)
        layer, deviation = inner.get("conv1"), inner.get("mbstd")
        if isinstance(layer, Record) and _fields(layer).get("conv_clamp") is not None:
            hints["conv_clamp"] = float(_fields(layer)["conv_clamp"])
        if isinstance(deviation, Record):
            hints["mbstd_group_size"] = _fields(deviation).get("group_size")
    return hints


def _average_w(state: State) -> Tensor:
    """The mean of the mapping network's output, for training checkpoints that do not keep it."""
    module, _ = _build("stylegan2-generator", state, {})
    generator = cast(Generator, module)
    z = torch.randn(AVERAGED, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return generator.map(z)[:, 0].mean(dim=0)


def lpips_from_torchvision(backbone: State, heads: Path | None) -> State:
    """LPIPS's tensors from a torchvision classifier's and the heads of the lpips package."""
    if heads is None:
        raise CheckpointError("A torchvision backbone is half of LPIPS; give the lpips package's heads for it, too (its "
                              "weights/v0.1 folder has one file per backbone).")
    learned = _tensors(read_pickle(heads))
    for layers, ends in NETS.values():
        state = {k: v for k, v in learned.items() if re.fullmatch(r"lin\d+\.model\.1\.weight", k)}
        for index in (i for i, row in layers.items() if row != "pool"):
            number = next(n for n, end in enumerate(ends, start=1) if index < end)
            state |= {f"net.slice{number}.{index}.{k.removeprefix(f'features.{index}.')}": v
                      for k, v in backbone.items() if k.startswith(f"features.{index}.")}
        try:
            _build("lpips", state, {})
        except CheckpointError:
            continue
        return state
    raise LayoutError("the backbone and the heads do not belong together, or are none of LPIPS's (alex, vgg, squeeze)")
