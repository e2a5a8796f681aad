"""The key layout of rosinality's StyleGAN2 (also EditGAN's copy of it) in ours, which is stylegan2-ada-pytorch's.

Values are equal up to shape: both store raw weights and put the equalised learning rate in at run time, and both feed
the up-convolution unflipped. The average w stands beside the state dict, not in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..pipelines.stylegan2.generator import block_resolutions
from ..pipelines.stylegan2.ops import resample_filter
from .errors import LayoutError

_LAYER = {"conv.weight": "weight", "conv.modulation.weight": "affine.weight", "conv.modulation.bias": "affine.bias",
          "noise.weight": "noise_strength", "activate.bias": "bias"}
_RGB = {"conv.weight": "weight", "conv.modulation.weight": "affine.weight", "conv.modulation.bias": "affine.bias",
        "bias": "bias"}


def from_rosinality(state: Mapping[str, Tensor], latent_avg: Tensor) -> dict[str, Tensor]:
    """The generator state dict `g_ema` with `latent_avg` [w_dim], in our key layout. LayoutError names what is missing.

    Old files hold no noise maps, and the official code then draws them anew for each picture; here they become zero.
    """
    resolutions = block_resolutions(8 << sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", key)) for key in state) >> 1)
    maps = any(key.startswith("noises.") for key in state)
    result = {"mapping.w_avg": latent_avg}
    for i in range(sum(bool(re.fullmatch(r"style\.\d+\.weight", key)) for key in state)):
        for part in ("weight", "bias"):
            result[f"mapping.fc{i}.{part}"] = _take(state, f"style.{i + 1}.{part}")
    result["synthesis.b4.const"] = _take(state, "input.input")[0]
    for number, r in enumerate(resolutions):
        block = f"synthesis.b{r}"
        result[f"{block}.resample_filter"] = resample_filter()
        layers = [("conv1", "conv1", 0)] if number == 0 else [
            ("conv0", f"convs.{2 * number - 2}", 2 * number - 1), ("conv1", f"convs.{2 * number - 1}", 2 * number)]
        for ours, theirs, noise in layers:
            for source, target in _LAYER.items():
                value = _take(state, f"{theirs}.{source}")
                result[f"{block}.{ours}.{target}"] = value[0] if source in ("conv.weight", "noise.weight") else value
            result[f"{block}.{ours}.noise_const"] = (_take(state, f"noises.noise_{noise}")[0, 0] if maps
                                                     else torch.zeros(r, r))
            result[f"{block}.{ours}.resample_filter"] = resample_filter()
        rgb = "to_rgb1" if number == 0 else f"to_rgbs.{number - 1}"
        for source, target in _RGB.items():
            value = _take(state, f"{rgb}.{source}")
            result[f"{block}.torgb.{target}"] = value[0] if source == "conv.weight" else value.flatten() if (
                source == "bias") else value
    _require_same_filter(state)
    return result


def _take(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise LayoutError(f"its state dict lacks '{key}'")
    return state[key]


def _require_same_filter(state: Mapping[str, Tensor]) -> None:
    """Their filters hold the gain of 4; any other filter than [1,3,3,1] would change the picture silently."""
    for key, value in state.items():
        if key.endswith(".kernel") and not torch.allclose(value, resample_filter() * 4, atol=math.ulp(1.0) * 2**30):
            raise LayoutError(f"its filter '{key}' is not the [1,3,3,1] filter of StyleGAN2")
