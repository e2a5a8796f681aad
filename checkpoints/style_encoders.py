"""Encoders and recognition networks in their official key layouts: pSp, e4e and ReStyle, EditGAN's pyramid, ArcFace's IR-SE50.

Not visible in shapes, so taken from the file's config: whether the rows are offsets from the first (e4e), and which rows of
the picture are shown (cars).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..pipelines.editgan.style_encoders import SIDE, PyramidEncoder, StyleEncoder
from ..pipelines.ir_se import FaceIdentity
from .architecture import Architecture, Config, Hints, Layout
from .errors import LayoutError, MetadataError
from .pickle_reader import Record

TYPES = {"GradualStyleEncoder": False, "Encoder4Editing": True, "BackboneEncoder": False, "ProgressiveBackboneEncoder": True,
         "ResNetBackboneEncoder": False, "ResNetProgressiveBackboneEncoder": True}
"""`encoder_type` in the official options, and whether its rows are offsets from the first."""
CAR_ROWS = [32, 224]
"""A car picture of 512x384 pixels, padded to a square and scaled to 256."""

State = dict[str, Tensor]


def _read_style_encoder(layout: Layout, hints: Hints) -> Config:
    resnet = "conv1.weight" in layout
    first = "conv1.weight" if resnet else "input_layer.0.weight"
    rows = None if hints.values.get("rows") is None else hints.integers("rows")
    if rows is not None and (len(rows) != 2 or not rows[0] < rows[1] <= SIDE):
        raise MetadataError(f"the option 'rows' is a first row and one behind the last, at most {SIDE}, got {rows}")
    return {
        "num_ws": layout.count("styles.{n}.linear.weight"),
        "w_dim": layout.size("styles.0.linear.weight", 0),
        "width": layout.size(first, 0),
        "in_channels": layout.size(first, 1),
        "body": "resnet34" if resnet else "ir_se50",
        "pyramid": "latlayer1.weight" in layout,
        "progressive": hints.boolean("progressive", False),
        "rows": rows,
    }


def _build_style_encoder(config: Config) -> nn.Module:
    return StyleEncoder(**config)


def _read_pyramid_encoder(layout: Layout, hints: Hints) -> Config:
    heads = [layout.count(f"{group}_styles.{{n}}.linear.weight") for group in ("course", "medium", "fine")]
    return {
        "num_ws": sum(heads),
        "w_dim": layout.size("course_styles.0.linear.weight", 0),
        "width": layout.size("FPN_module.conv1.weight", 0),
        "features": layout.size("FPN_module.toplayer.weight", 0),
    }


def _build_pyramid_encoder(config: Config) -> nn.Module:
    return PyramidEncoder(**config)


def _read_identity(layout: Layout, hints: Hints) -> Config:
    width = layout.size("input_layer.0.weight", 0)
    pixels = layout.size("output_layer.3.weight", 1) // max(8 * width, 1)
    return {"width": width, "embedding": layout.size("output_layer.3.weight", 0), "size": 16 * math.isqrt(pixels)}


def _build_identity(config: Config) -> nn.Module:
    return FaceIdentity(**config)


ARCHITECTURES = (
    Architecture("style-encoder", ("w_avg", "styles.0.linear.weight", "styles.0.convs.0.weight"),
                 _read_style_encoder, _build_style_encoder),
    Architecture("editgan-pyramid-encoder", ("FPN_module.conv1.weight", "course_styles.0.linear.weight"),
                 _read_pyramid_encoder, _build_pyramid_encoder),
    Architecture("arcface-ir-se", ("output_layer.3.weight", "input_layer.0.weight", "body.0.res_layer.5.fc1.weight"),
                 _read_identity, _build_identity),
)


def part_of(state: Mapping[str, Tensor], prefix: str) -> State:
    """The tensors behind a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def style_encoder(state: Mapping[str, Tensor], options: object, average: Tensor | None) -> tuple[State, Config]:
    """The encoder in a pSp, e4e or ReStyle file: its tensors with the average w, and what its options say of it.

    options: `opts` of the file, a dict or a namespace. average: `latent_avg`, [w_dim] or [num_ws,w_dim].
    """
    opts = _options(options)
    kind, kept = str(opts.get("encoder_type", "")), part_of(state, "encoder.")
    if kind not in TYPES:
        raise LayoutError(f"its encoder is a '{kind:.60}', and this version reads {', '.join(TYPES)}")
    channels = next((kept[key].shape[1] for key in ("input_layer.0.weight", "conv1.weight") if key in kept), 0)
    if channels not in (3, 6):
        raise LayoutError(f"its encoder takes {channels} channels, so it encodes sketches or label maps; this version reads "
                          f"encoders of photographs")
    rows = sum(bool(re.fullmatch(r"styles\.\d+\.linear\.weight", key)) for key in kept)
    if not rows:
        raise LayoutError("its encoder has no heads")
    shape = (rows, kept["styles.0.linear.weight"].shape[0])
    added = channels == 6 or bool(opts.get("start_from_latent_avg", True))
    if added and average is None:
        raise LayoutError("its codes start from the average w, and it holds none ('latent_avg')")
    kept["w_avg"] = average.float().expand(shape).contiguous() if added and average is not None else torch.zeros(shape)
    cars = "car" in str(opts.get("dataset_type", ""))
    return kept, {"progressive": TYPES[kind], "rows": CAR_ROWS if cars else None}


def _options(value: object) -> Mapping[str, Any]:
    value = value.state if isinstance(value, Record) else value
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
