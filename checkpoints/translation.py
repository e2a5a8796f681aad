"""FUNIT's and UNIT's generators in their official key layouts, and how the official files hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from ..pipelines.funit.network import Translator
from ..pipelines.image_blocks import ACTIVATIONS, PADDINGS
from ..pipelines.unit.digits import DigitsVae
from ..pipelines.unit.network import TwoDomains
from ..pipelines.unit.shared import SharedDomains
from .architecture import Architecture, Config, Hints, Layout
from .errors import MetadataError

STALE = re.compile(r".*\.running_(mean|var)")
"""Statistics that old files carry and that no forward pass reads."""

State = dict[str, Tensor]


def _read_funit(layout: Layout, hints: Hints) -> Config:
    content = layout.count("enc_content.model.{n}.conv.weight") - 1
    return {
        "width": layout.size("enc_content.model.0.conv.weight", 0),
        "n_downs_content": content,
        "n_downs_class": layout.count("enc_class_model.model.{n}.conv.weight") - 1,
        "n_res": layout.count(f"enc_content.model.{content + 1}.model.{{n}}.model.0.conv.weight"),
        "latent_dim": layout.size("mlp.model.0.fc.weight", 1),
        "mlp_width": layout.size("mlp.model.0.fc.weight", 0),
        "mlp_layers": layout.count("mlp.model.{n}.fc.weight"),
    }


def _build_funit(config: Config) -> nn.Module:
    return Translator(**config)


def _choice(hints: Hints, key: str, default: str, known: Mapping[str, object]) -> str:
    value = hints.values.get(key, default)
    if value not in known:
        raise MetadataError(f"the option '{key}' is one of {', '.join(known)}, got {value!r:.40}")
    return cast(str, value)


def _read_unit(layout: Layout, hints: Hints) -> Config:
    downs = layout.count("a.enc.model.{n}.conv.weight") - 1
    return {
        "width": layout.size("a.enc.model.0.conv.weight", 0),
        "n_downs": downs,
        "n_res": layout.count(f"a.enc.model.{downs + 1}.model.{{n}}.model.0.conv.weight"),
        "channels": layout.size("a.enc.model.0.conv.weight", 1),
        "activation": _choice(hints, "activation", "relu", ACTIVATIONS),
        "pad": _choice(hints, "pad", "reflect", PADDINGS),
    }


def _build_unit(config: Config) -> nn.Module:
    return TwoDomains(**config)


def _read_shared(layout: Layout, hints: Hints) -> Config:
    first = layout.numbers("encode_A.{n}.model.0.weight")
    residual = layout.numbers("encode_A.{n}.model.3.weight")
    return {
        "width": layout.size("encode_A.0.model.0.weight", 0),
        "n_downs": len(first) - len(residual) - 1,
        "n_res": len(residual),
        "n_encoder_shared": layout.count("enc_shared.{n}.model.0.weight"),
        "n_generator_shared": layout.count("dec_shared.{n}.model.0.weight"),
        "channels": layout.size("encode_A.0.model.0.weight", 1),
    }


def _build_shared(config: Config) -> nn.Module:
    return SharedDomains(**config)


def _read_digits(layout: Layout, hints: Hints) -> Config:
    return {
        "width": layout.size("g_en_conv0_a.model.0.weight", 0),
        "channels_a": layout.size("de_conv4_a.weight", 1),
        "channels_b": layout.size("de_conv4_b.weight", 1),
    }


def _build_digits(config: Config) -> nn.Module:
    return DigitsVae(**config)


ARCHITECTURES = (
    Architecture("funit", ("enc_class_model.model.0.conv.weight", "enc_content.model.0.conv.weight", "mlp.model.0.fc.weight"),
                 _read_funit, _build_funit),
    Architecture("unit", ("a.enc.model.0.conv.weight", "b.enc.model.0.conv.weight",
                          "a.dec.model.0.model.0.model.0.conv.weight"), _read_unit, _build_unit),
    Architecture("unit-shared", ("encode_A.0.model.0.weight", "enc_shared.0.model.0.weight", "dec_shared.0.model.0.weight"),
                 _read_shared, _build_shared),
    Architecture("unit-digits", ("g_en_conv0_a.model.0.weight", "g_vae.en_mu.weight", "de_conv4_b.weight"),
                 _read_digits, _build_digits),
)


def without_stale(state: Mapping[str, Tensor]) -> State:
    """The tensors that the networks read."""
    return {key: value for key, value in state.items() if not STALE.fullmatch(key)}
