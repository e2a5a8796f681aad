"""Official files into this pack's: read as data, recognised by their keys, loaded strictly, written once as safetensors.

    NVIDIA's network pickles (stylegan2-ada, stylegan3's StyleGAN2)   G_ema or D, with mapping and average w
    TensorFlow's (StyleGAN2 config-f)                                 Gs or D
    rosinality's .pt                                                  g_ema with latent_avg and noises
    pSp, e4e, ReStyle                                                 the encoder, or the generator it was trained for
    EditGAN                                                           classifiers (a folder of them), encoder
    FUNIT                                                             gen_test, the averaged generator
    UNIT                                                              a and b; the shared-layer release's state dict; digits
    EDM's network pickles                             ema, the averaged denoiser, with its preconditioning
    ArcFace IR-SE50, state dicts in the layout of stylegan2-ada       as they are
    LPIPS                                                             the package's, or torchvision's backbone and its heads
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ..pipelines.labels import LabelSet
from ..pipelines.lpips_network import NETS
from ..pipelines.stylegan2.generator import Generator
from .architecture import Architecture, Config, Hints, Layout
from .edm import denoiser_hints
from .errors import CheckpointError, LayoutError, UnknownArchitectureError
from .label_branch import is_classifier, label_branch
from .persistence import persistent_hints, persistent_state
from .pickle_reader import Record, read_pickle
from .registry import ARCHITECTURES, CheckpointInfo, inspect, save_checkpoint
from .rosinality import from_rosinality
from .style_encoders import part_of, style_encoder
from .tensorflow import discriminator_state, generator_state, tensorflow_network
from .translation import without_stale

PARTS = {"generator": ("G_ema", "stylegan2-generator"), "discriminator": ("D", "stylegan2-discriminator"),
         "encoder": ("", "style-encoder")}
AVERAGED = 4096
"""Latents that the average w is taken over where a training checkpoint does not hold it."""
FIXED = ("resample_filter", "num_batches_tracked")
"""Ends of the names of tensors that are the same in every file, and that some formats leave out."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class _Found:
    """A network in an official file: architecture, tensors in our layout, and what shapes do not show."""

    name: str
    state: State
    hints: Config = field(default_factory=dict[str, object])
    labels: LabelSet | None = None


def convert(source: Path, target: Path, *, part: str = "generator", heads: Path | None = None,
            labels: LabelSet | None = None, license: str | None = None) -> CheckpointInfo:
    """Write the network in an official file as safetensors, and say what it is.

    source: a file, or a folder with the classifiers of one label branch. part: of files that hold several networks,
    'generator', 'discriminator' or 'encoder'. heads: LPIPS's learned heads, for a torchvision backbone. labels: of a label
    branch; without, the official names for its number of labels. license: kept in the file. Raises CheckpointError, and
    writes nothing, for a file that is damaged, forbidden, or no network that this version knows.
    """
    if part not in PARTS:
        raise CheckpointError(f"An official file has the parts {', '.join(PARTS)}, not '{part}'.")
    files = _classifier_files(source) if source.is_dir() else [source]
    try:
        found = _recognise([read_pickle(file) for file in files], part, source, heads, labels)
    except LayoutError as error:
        raise LayoutError(f"{source.name} cannot be imported: {str(error).rstrip('.')}.") from error
    try:
        module, config = _build(found)
    except CheckpointError as error:
        raise type(error)(f"{source.name} is no {found.name} as this version knows it: {str(error).rstrip('.')}.") from error
    save_checkpoint(target, module, architecture=found.name, config=config, labels=found.labels, license=license,
                    source_sha256=_sha256(files))
    return inspect(target)


def _classifier_files(folder: Path) -> list[Path]:
    """The classifiers of an ensemble, in the order of their numbers."""
    files = [(int(number[1]), path) for path in folder.iterdir()
             if (number := re.fullmatch(r".*?(\d+)\.pth", path.name)) and path.is_file()]
    if not files:
        raise CheckpointError(f"The folder {folder.name} holds no classifiers; they are called model_0.pth, model_1.pth, ...")
    return [path for _, path in sorted(files)]


def _sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()


def _recognise(values: list[object], part: str, source: Path, heads: Path | None, labels: LabelSet | None) -> _Found:
    members = [next((s for s in _state_dicts(value) if is_classifier(s)), None) for value in values]
    if all(members):
        state, hints, names = label_branch([m for m in members if m], labels)
        return _Found("editgan-segmenter", state, hints, names)
    if len(values) > 1:
        odd = members.index(None) + 1
        raise UnknownArchitectureError(f"File {odd} of the folder {source.name} is no classifier of a label branch.")
    value, entries = values[0], _dict(values[0])
    key, name = PARTS[part]
    if isinstance(entries.get(key), Record):
        network = cast(Record, entries[key])
        return _Found(name, persistent_state(network), persistent_hints(network, part))
    if isinstance(entries.get("ema"), Record):
        network = cast(Record, entries["ema"])
        return _Found("edm-denoiser", persistent_state(network), denoiser_hints(network))
    network = tensorflow_network(value, part)
    if network is not None:
        return _Found(name, generator_state(network) if part == "generator" else discriminator_state(network))
    average = entries.get("latent_avg")
    average = average if isinstance(average, Tensor) else None
    if isinstance(entries.get("g_ema"), dict):
        return _rosinality(_tensors(entries["g_ema"]), average)
    encoded = _tensors(entries.get("state_dict"))
    if any(k.startswith("encoder.styles.") for k in encoded):
        if part == "encoder":
            return _Found(name, *style_encoder(encoded, entries.get("opts"), average))
        return _rosinality(part_of(encoded, "decoder."), average)
    translator = _translator(entries)
    if translator is not None:
        return translator
    for state in _state_dicts(value):
        if "features.0.weight" in state:
            return _Found("lpips", lpips_from_torchvision(state, heads))
        if "lin0.model.1.weight" in state and "net.slice1.0.weight" in state:
            return _Found("lpips", {k: v for k, v in state.items() if re.match(r"net\.|lin\d+\.", k)})
        layout = Layout({k: tuple(v.shape) for k, v in state.items()})
        kinds = [a.name for a in ARCHITECTURES if a.matches(layout)]
        if len(kinds) == 1:
            return _Found(kinds[0], state)
    held = ", ".join(f"'{k!s:.40}'" for k in list(entries)[:6]) or f"a {type(value).__name__}"
    raise UnknownArchitectureError(f"{source.name} holds no network that this version can import; it holds {held}.")


def _translator(entries: Mapping[object, object]) -> _Found | None:
    """FUNIT's averaged generator, or UNIT's, of either release."""
    whole = _tensors(entries)
    if "encode_A.0.model.0.weight" in whole:
        return _Found("unit-shared", without_stale(whole))
    if isinstance(entries.get("gen_test"), dict):
        return _Found("funit", without_stale(_tensors(entries["gen_test"])))
    sides = {name: _tensors(entries.get(name)) for name in ("a", "b")}
    if not all(sides.values()):
        return None
    if any(key.startswith("cnns.") for key in sides["a"]):
        raise LayoutError("it holds UNIT's discriminators; import the gen_... file beside it")
    return _Found("unit", {f"{name}.{key}": value for name, state in sides.items()
                           for key, value in without_stale(state).items()})


def _dict(value: object) -> Mapping[object, object]:
    return cast("dict[object, object]", value) if isinstance(value, dict) else {}


def _tensors(value: object) -> State:
    """The tensors of a state dict, without the prefix that DataParallel gives them."""
    return {str(k).removeprefix("module."): v for k, v in _dict(value).items() if isinstance(k, str) and isinstance(v, Tensor)}


def _state_dicts(value: object) -> Iterator[State]:
    """The state dicts in a file: itself, and the dicts that it holds."""
    for entry in (value, *_dict(value).values()):
        if state := _tensors(entry):
            yield state


def _rosinality(state: State, average: Tensor | None) -> _Found:
    if average is not None:
        return _Found("stylegan2-generator", from_rosinality(state, average.float().reshape(-1, average.shape[-1])[0]))
    if "style.1.bias" not in state:
        raise LayoutError("its generator lacks 'style.1.bias'")
    blank = from_rosinality(state, torch.zeros(len(state["style.1.bias"])))
    return _Found("stylegan2-generator", {**blank, "mapping.w_avg": _average_w(blank)})


def _average_w(state: State) -> Tensor:
    """The mean of the mapping network's output, for training checkpoints that do not keep it."""
    generator = cast(Generator, _build(_Found("stylegan2-generator", state))[0])
    z = torch.randn(AVERAGED, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return generator.map(z)[:, 0].mean(dim=0)


def _architecture(name: str) -> Architecture:
    return next(a for a in ARCHITECTURES if a.name == name)


def _build(found: _Found) -> tuple[nn.Module, Config]:
    architecture, state = _architecture(found.name), found.state
    config = architecture.read_config(Layout({k: tuple(v.shape) for k, v in state.items()}), Hints(found.hints))
    with torch.device("meta"):
        expected = architecture.build(config).state_dict()
    missing = sorted(k for k in expected.keys() - state.keys() if not k.endswith(FIXED))
    extra = sorted(state.keys() - expected.keys())
    if missing or extra:
        raise LayoutError(f"its tensors differ from the network's {len(expected)}: {len(missing)} missing ({missing[:3]}), "
                          f"{len(extra)} unexpected ({extra[:3]})")
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape:
            raise LayoutError(f"the tensor '{key}' has shape {list(tensor.shape)}, expected {list(expected[key].shape)}")
    module = architecture.build(config)
    fixed = {k: v for k, v in module.state_dict().items() if k not in state}
    module.load_state_dict({**fixed, **{k: v.float() if v.is_floating_point() else v for k, v in state.items()}}, strict=True)
    return module.eval().requires_grad_(False), config


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
            _build(_Found("lpips", state))
        except CheckpointError:
            continue
        return state
    raise LayoutError("the backbone and the heads do not belong together, or are none of LPIPS's (alex, vgg, squeeze)")
