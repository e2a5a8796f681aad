"""From a weights file to a network and back: recognise, check, build, load strictly, save.

The networks are data (`architecture.Architecture`); a file says which it is in its metadata, and where it says nothing
(official key layouts) its tensor names do. Hyper-parameters are read off the shapes. Nothing of the size that a file
claims is allocated before its tensors are known to be exactly those of the network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..pipelines.errors import AtelierError
from ..pipelines.labels import LabelSet
from . import editgan, edm, perceptual, style_encoders, stylegan2, translation
from .architecture import Architecture, Config, Hints, Layout
from .errors import BadTensorError, CheckpointError, LayoutError, MetadataError, UnknownArchitectureError
from .tensor_file import FLOATS, Header, fingerprint, read_header, read_tensors, to_float32, to_storage, write_tensors

ARCHITECTURES: tuple[Architecture, ...] = (*stylegan2.ARCHITECTURES, *editgan.ARCHITECTURES,
                                            *style_encoders.ARCHITECTURES, *perceptual.ARCHITECTURES,
                                            *translation.ARCHITECTURES, *edm.ARCHITECTURES)

MAX_METADATA_LENGTH = 2**20
_ARCHITECTURE, _CONFIG, _LABELS = "atelier.architecture", "atelier.config", "atelier.labels"
_LICENSE, _SOURCE, _GENERATOR = "atelier.license", "atelier.source_sha256", "atelier.generator"
_SHA256_HEX_DIGITS = 64


@dataclass(frozen=True, eq=False)
class CheckpointInfo:
    """What a file is, known without reading its numbers.

    config: the constructor arguments as plain JSON. labels: of networks that tell parts apart. source_sha256: of the
    official file it was converted from. generator: fingerprint of the generator a network was trained around.
    """

    path: Path
    architecture: str
    config: Config
    labels: LabelSet | None
    license: str | None
    source_sha256: str | None
    generator: str | None


@dataclass(frozen=True, eq=False)
class Checkpoint(CheckpointInfo):
    """A loaded network: in eval mode, float32, on the CPU, no gradients. fingerprint: of the tensors as stored."""

    module: nn.Module
    fingerprint: str


def inspect(path: Path | str, *, architectures: Sequence[Architecture] = ARCHITECTURES) -> CheckpointInfo:
    """What the file at `path` is. Reads the header only and checks names, shapes and metadata. CheckpointError."""
    path = Path(path)
    header = read_header(path)
    return _identify(path, header, architectures)[1]


def load_checkpoint(path: Path | str, *, architectures: Sequence[Architecture] = ARCHITECTURES) -> Checkpoint:
    """The network in the file at `path`. Every fault of the file raises a CheckpointError that names it.

    Neither the global random state nor an inference mode of the caller leaves a trace in the result.
    """
    path = Path(path)
    header = read_header(path)
    architecture, info = _identify(path, header, architectures)
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=[]):
        tensors = read_tensors(path)
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != dict(header.shapes):
            raise CheckpointError(f"{path.name} changed while it was being read; load it again.")
        identity = fingerprint(tensors)
        module = architecture.build(info.config)
        module.load_state_dict(to_float32(tensors, path.name), strict=True)
    module.eval().requires_grad_(False)
    return Checkpoint(**_fields(info), module=module, fingerprint=identity)


def save_checkpoint(path: Path | str, module: nn.Module, *, architecture: str, config: Mapping[str, Any] | None = None,
                    labels: LabelSet | None = None, license: str | None = None, source_sha256: str | None = None,
                    generator: str | None = None, dtype: torch.dtype | None = None,
                    architectures: Sequence[Architecture] = ARCHITECTURES) -> str:
    """Write a network so that `load_checkpoint` gives it back, and return its fingerprint.

    config: what the shapes do not show is taken from it; what they show must agree. dtype: of the stored numbers, as
    torch.float16; None keeps them. The file appears whole or not at all. CheckpointError when the network is not of
    the architecture, holds NaN or infinity (or would in `dtype`), or the file cannot be written.
    """
    path = Path(path)
    tensors = to_storage(module.state_dict(), dtype, path.name)
    try:
        config_text = json.dumps(config or {}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MetadataError(f"{path.name}: the config must be plain JSON: {error}.") from error
    metadata = {_ARCHITECTURE: architecture, _CONFIG: config_text}
    if labels is not None:
        metadata[_LABELS] = json.dumps(labels.to_json(), ensure_ascii=False)
    if license is not None:
        metadata[_LICENSE] = license
    if source_sha256 is not None:
        metadata[_SOURCE] = source_sha256
    if generator is not None:
        metadata[_GENERATOR] = generator
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dtypes = {name: "F32" if tensor.is_floating_point() else "I64" for name, tensor in tensors.items()}
    info = _identify(path, Header(shapes, dtypes, metadata), architectures)[1]
    metadata[_CONFIG] = json.dumps(info.config)
    write_tensors(path, tensors, metadata)
    return fingerprint(tensors)


def _identify(path: Path, header: Header, architectures: Sequence[Architecture]) -> tuple[Architecture, CheckpointInfo]:
    """Which network this is, its config, and the proof that names and shapes are exactly the network's."""
    layout = Layout(header.shapes)
    for key, text in header.metadata.items():
        if key.startswith("atelier.") and len(text) > MAX_METADATA_LENGTH:
            raise MetadataError(f"{path.name}: the metadata '{key}' has {len(text)} characters, at most "
                                f"{MAX_METADATA_LENGTH} are read.")
    architecture = _find(path, layout, header.metadata.get(_ARCHITECTURE), architectures)
    stated = _config(path, header.metadata.get(_CONFIG))
    try:
        read = architecture.read_config(layout, Hints(stated))
        config = cast("Config", json.loads(json.dumps(read)))
        _require_agreement(stated, config)
        with torch.device("meta"):
            expected = architecture.build(config).state_dict()
        _require_same_tensors(layout, {name: tuple(tensor.shape) for name, tensor in expected.items()})
        for name, tensor in expected.items():
            if tensor.is_floating_point() != (header.dtypes[name] in FLOATS):
                raise BadTensorError(f"the tensor '{name}' has the number type {header.dtypes[name]}, expected "
                                     f"{'a floating-point' if tensor.is_floating_point() else 'an integer'} one")
    except AtelierError as error:
        kind = type(error) if isinstance(error, CheckpointError) else LayoutError
        raise kind(f"{path.name} is no {architecture.name} as this version knows it: "
                   f"{str(error).rstrip('.')}.") from error
    return architecture, CheckpointInfo(
        path, architecture.name, config, _labels(path, header.metadata.get(_LABELS)), header.metadata.get(_LICENSE),
        _hash(path, header, _SOURCE), _hash(path, header, _GENERATOR))


def _find(path: Path, layout: Layout, stated: str | None, architectures: Sequence[Architecture]) -> Architecture:
    known = ", ".join(architecture.name for architecture in architectures)
    if stated is not None:
        for architecture in architectures:
            if architecture.name == stated:
                return architecture
        raise UnknownArchitectureError(f"{path.name} holds a '{stated:.60}', unknown to this version (it knows "
                                       f"{known}); update the pack.")
    found = [architecture for architecture in architectures if architecture.matches(layout)]
    if len(found) != 1:
        names = ", ".join(f"'{name:.60}'" for name in sorted(layout.shapes)[:3]) or "none"
        raise UnknownArchitectureError(f"{path.name} holds no network that this version knows ({known}); its first "
                                       f"tensors are {names}.")
    return found[0]


def _config(path: Path, text: str | None) -> Mapping[str, Any]:
    value = _json(path, _CONFIG, text or "{}")
    if not isinstance(value, dict):
        raise MetadataError(f"{path.name}: the metadata '{_CONFIG}' is a JSON object, got {value!r:.60}.")
    return cast("dict[str, Any]", value)


def _labels(path: Path, text: str | None) -> LabelSet | None:
    if text is None:
        return None
    try:
        return LabelSet.from_json(_json(path, _LABELS, text))
    except AtelierError as error:
        raise MetadataError(f"{path.name}: the labels in its metadata are wrong: {error}") from error


def _hash(path: Path, header: Header, key: str) -> str | None:
    text = header.metadata.get(key)
    if text is not None and (len(text) != _SHA256_HEX_DIGITS or any(c not in "0123456789abcdef" for c in text)):
        raise MetadataError(f"{path.name}: the metadata '{key}' is a SHA-256 in hex, got '{text:.70}'.")
    return text


def _json(path: Path, key: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{path.name}: the metadata '{key}' is not JSON.") from error


def _require_agreement(stated: Mapping[str, Any], config: Config) -> None:
    for key, value in stated.items():
        if key not in config:
            raise MetadataError(f"its config has the unknown option '{key:.60}'; update the pack")
        if value is not None and value != config[key]:
            raise MetadataError(f"its config says {key} = {value!r:.60}, its tensors say {config[key]!r:.60}")


def _require_same_tensors(layout: Layout, expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = sorted(expected.keys() - layout.shapes.keys())
    extra = sorted(layout.shapes.keys() - expected.keys())
    faults = [f"{len(names)} {kind} ({_listed(names)})"
              for kind, names in (("missing", missing), ("unexpected", extra)) if names]
    if faults:
        raise LayoutError(f"its tensors differ from the network's {len(expected)}: {' and '.join(faults)}")
    for name, shape in expected.items():
        if layout.shapes[name] != shape:
            raise LayoutError(f"the tensor '{name}' has shape {list(layout.shapes[name])}, expected {list(shape)}")


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{name:.60}'" for name in names[:4]]
    return ", ".join(shown + ["..."] * (len(names) > 4))


def _fields(info: CheckpointInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in CheckpointInfo.__dataclass_fields__}
