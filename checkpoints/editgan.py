"""EditGAN's networks in this pack's layout: the label branch and the encoder.

The label branch knows only the sum of the feature channels from its shapes; their list stands in the file's config.
"""

from __future__ import annotations

from torch import nn

from ..pipelines.editgan.encoder import Encoder
from ..pipelines.editgan.segmentation import Segmenter
from .architecture import Architecture, Config, Hints, Layout
from .errors import LayoutError
from .stylegan2 import constructor_arguments, read_block_channels, read_resolutions


def _read_segmenter(layout: Layout, hints: Hints) -> Config:
    channels = hints.integers("feature_channels")
    width = layout.size("members.0.layers.0.weight", 1)
    if sum(channels) != width:
        raise LayoutError(f"its config lists {sum(channels)} feature channels, its first layer takes {width}")
    return {
        "feature_channels": channels,
        "num_classes": layout.size("members.0.layers.6.weight", 0),
        "hidden": [layout.size("members.0.layers.0.weight", 0), layout.size("members.0.layers.3.weight", 0)],
        "members": layout.count("members.{n}.layers.0.weight"),
    }


def _build_segmenter(config: Config) -> nn.Module:
    first, second = config["hidden"]
    return Segmenter(feature_channels=tuple(config["feature_channels"]), num_classes=config["num_classes"],
                     hidden=(first, second), members=config["members"])


def _read_encoder(layout: Layout, hints: Hints) -> Config:
    resolutions = [4, *read_resolutions(layout, "b{n}.conv0.weight", first=8)]
    w_dim = layout.size("w_avg", 0)
    rows, left = divmod(layout.size("out.weight", 0), w_dim)
    if left or not rows:
        raise LayoutError(f"its last layer gives {rows * w_dim + left} numbers, expected a multiple of w_dim {w_dim}")
    return {
        "resolution": resolutions[-1],
        "num_ws": rows,
        "w_dim": w_dim,
        "channels": read_block_channels(layout, resolutions),
        "hidden": layout.size("fc.weight", 0),
        "img_channels": layout.size(f"b{resolutions[-1]}.fromrgb.weight", 1),
    }


def _build_encoder(config: Config) -> nn.Module:
    return Encoder(**constructor_arguments(config))


ARCHITECTURES = (
    Architecture("editgan-segmenter", ("members.0.layers.0.weight", "members.0.layers.2.running_mean"),
                 _read_segmenter, _build_segmenter),
    Architecture("editgan-encoder", ("w_avg", "out.weight", "fc.weight", "conv.weight", "b8.conv0.weight"),
                 _read_encoder, _build_encoder),
)
