"""Denoisers in the key layout of EDM, and of ours for sound.

Not visible in shapes, and taken from the file's config: the preconditioning (EDM's own where nothing is said), sigma_data, the
side of a patch, what the labels mean (`position.Labels`), and the sample rate of sound.
"""

from __future__ import annotations

import re
from typing import cast

from torch import nn

from ..pipelines.langevin.position import POSE_FEATURES
from ..pipelines.langevin.preconditioning import PRECONDITIONINGS, build_prior
from .architecture import Architecture, Config, Hints, Layout
from .errors import LayoutError, MetadataError
from .persistence import persistent_attribute, persistent_class
from .pickle_reader import Record

FIRST = re.compile(r"model\.enc\.(\d{1,7})(x\d{1,7})?_conv\.weight")
MAX_SAMPLE_RATE = 768_000
MAX_CLASSES = 100_000
OFFICIAL = {"EDMPrecond": "edm", "VPPrecond": "vp", "VEPrecond": "ve", "iDDPMPrecond": "iddpm"}
"""Names of the classes in official pickles."""
STATED = tuple(kind for kind in PRECONDITIONINGS if kind not in ("iddpm", "lapped"))
"""Preconditionings that leave no trace in the tensors."""


def _text(hints: Hints, key: str, default: str, known: tuple[str, ...]) -> str:
    value = hints.values.get(key, default)
    if value not in known:
        raise MetadataError(f"the option '{key}' is one of {', '.join(known)}, got {value!r:.40}")
    return value


def _names(hints: Hints, key: str) -> list[str]:
    value: object = hints.values.get(key)
    if value is None:
        return []
    if isinstance(value, list) and len(cast("list[object]", value)) <= MAX_CLASSES:
        entries = cast("list[object]", value)
        names = [name for name in entries if isinstance(name, str) and name]
        if len(set(names)) == len(entries):
            return names
    raise MetadataError(f"the option '{key}' is a list of different names, got {value!r:.60}")


def _exact(value: int, divisor: int, what: str) -> int:
    if divisor < 1 or value % divisor or value < divisor:
        raise LayoutError(f"{what} are {value}, which is no multiple of {divisor}")
    return value // divisor


def _read(layout: Layout, hints: Hints) -> Config:
    found = [match for name in layout.shapes if (match := FIRST.fullmatch(name))]
    if len(found) != 1:
        raise LayoutError(f"it has {len(found)} first convolutions 'model.enc.RxR_conv.weight'")
    first = found[0][0]
    dims, grid = (1 if found[0][2] is None else 2), int(found[0][1])

    def level(side: int) -> str:
        return str(side) if dims == 1 else f"{side}x{side}"

    sides = [grid]
    while sides[-1] % 2 == 0 and f"model.enc.{level(sides[-1] // 2)}_down.conv0.weight" in layout:
        sides.append(sides[-1] // 2)
    adm = "model.out_conv.weight" in layout
    width = layout.size("model.map_layer0.weight", 1) if adm else layout.size(first, 0)
    channels = [layout.size(f"model.enc.{level(side)}_block0.conv0.weight", 0) for side in sides]
    patch = hints.integer("patch", 1, low=1, high=64)
    transformed = "deviations" in layout
    block = layout.size("deviations", 1) if transformed else 1
    labels = layout.size("model.map_label.weight", 1) if "model.map_label.weight" in layout else 0
    classes, features = _names(hints, "classes"), hints.integer("position_features", 0, low=0, high=1024)
    poses = hints.boolean("poses", False)
    if poses and features:
        raise MetadataError("it names both positions and poses, and a denoiser knows one of them")
    told = POSE_FEATURES if poses else features
    if (classes or told) and len(classes) + told != labels:
        raise MetadataError(f"it names {len(classes)} classes and {told} features of the {'pose' if poses else 'position'}, "
                            f"its labels are of {labels}")
    second = level(sides[1]) if len(sides) > 1 else ""
    filtered = f"model.enc.{second}_down.conv0.resample_filter"
    return {
        "network": "adm" if adm else "song",
        "preconditioning": ("iddpm" if "u" in layout else "lapped" if transformed
                            else _text(hints, "preconditioning", "edm", STATED)),
        "dims": dims,
        "patch": patch,
        "block": block if transformed else 0,
        "resolution": grid * patch * block,
        "channels": _exact(layout.size(first, 1), patch**dims * block, "the channels of its first convolution"),
        "labels": labels,
        "augment": layout.size("model.map_augment.weight", 1) if "model.map_augment.weight" in layout else 0,
        "width": width,
        "multipliers": [_exact(n, width, "the channels of a level") for n in channels],
        "embedding_multiplier": _exact(layout.size("model.map_layer0.weight", 0), width, "the channels of its embedding"),
        "noise_multiplier": _exact(layout.size("model.map_layer0.weight", 1), width, "the channels of its noise embedding"),
        "blocks": layout.count(f"model.enc.{level(grid)}_block{{n}}.conv0.weight"),
        "attention": [side for side in sides if f"model.enc.{level(side)}_block0.qkv.weight" in layout],
        "middle_attention": f"model.dec.{level(sides[-1])}_in0.qkv.weight" in layout,
        "embedding": "fourier" if "model.map_noise.freqs" in layout else "positional",
        "encoder": next((kind for kind in ("residual", "skip") if f"model.enc.{second}_aux_{kind}.weight" in layout),
                        "standard"),
        "decoder": "skip" if second and f"model.dec.{second}_aux_conv.weight" in layout else "standard",
        "taps": [1, 3, 3, 1] if filtered in layout and layout.size(filtered, 2) == 4 else [1, 1],
        "sigma_data": hints.optional_positive("sigma_data") or 0.5,
        "classes": classes,
        "position_features": features,
        "poses": poses,
        "sample_rate": hints.optional_integer("sample_rate", None, low=1, high=MAX_SAMPLE_RATE),
    }


def _build(config: Config) -> nn.Module:
    return build_prior(**config)


def denoiser_hints(record: Record) -> Config:
    """What shapes do not show of a denoiser in an official pickle."""
    name = persistent_class(record)
    if name not in OFFICIAL:
        raise LayoutError(f"its network is a '{name:.40}', expected one of {', '.join(OFFICIAL)}")
    kind, deviation = OFFICIAL[name], persistent_attribute(record, "sigma_data")
    hints: Config = {"preconditioning": kind} if kind != "iddpm" else {}
    return hints | ({"sigma_data": float(deviation)} if isinstance(deviation, int | float) else {})


ARCHITECTURES = (Architecture("edm-denoiser", ("model.map_layer0.weight", "model.map_layer1.weight"), _read, _build),)
