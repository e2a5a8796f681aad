"""StyleGAN2 networks in the key layout of stylegan2-ada-pytorch.

Not visible in shapes: conv_clamp and the discriminator's mbstd_group_size, which come from the file's config or take
the official defaults.
"""

from __future__ import annotations

from torch import nn

from ..pipelines.stylegan2.discriminator import Discriminator
from ..pipelines.stylegan2.generator import Generator
from .architecture import Architecture, Config, Hints, Layout
from .errors import LayoutError

MAX_RESOLUTION = 4096


def read_resolutions(layout: Layout, pattern: str, *, first: int = 4) -> list[int]:
    """The resolutions first, 2 first, ... of the blocks named `pattern`; LayoutError when one is missing or odd."""
    found = layout.numbers(pattern)
    if not found or found != [first * 2**i for i in range(len(found))] or found[-1] > MAX_RESOLUTION:
        raise LayoutError(f"its blocks have the resolutions {found[:12]}, expected {first}, {2 * first} and so on, at "
                          f"most {MAX_RESOLUTION}")
    return found


def read_block_channels(layout: Layout, resolutions: list[int]) -> dict[str, int]:
    """Feature channels per resolution of discriminator blocks `b{r}.conv0`, `b{r}.conv1`, from 4x4 on."""
    inner = {str(r): layout.size(f"b{r}.conv0.weight", 1) for r in resolutions[1:]}
    return {"4": layout.size("b8.conv1.weight", 0), **inner}


def constructor_arguments(config: Config) -> Config:
    """The config with integer keys in its channels, which JSON cannot have."""
    return {**config, "channels": {int(r): n for r, n in config["channels"].items()}}


def _read_generator(layout: Layout, hints: Hints) -> Config:
    resolutions = read_resolutions(layout, "synthesis.b{n}.conv1.weight")
    last = resolutions[-1]
    embedded = layout.size("mapping.embed.weight", 0) if "mapping.embed.weight" in layout else 0
    z_dim = layout.size("mapping.fc0.weight", 1) - embedded
    if z_dim < 0:
        raise LayoutError("its first mapping layer takes less than the embedded class label")
    skips = [r for r in resolutions if f"synthesis.b{r}.torgb.weight" in layout]
    if len(resolutions) > 1 and skips == [last] and f"synthesis.b{last}.skip.weight" in layout:
        architecture = "resnet"
    elif skips == resolutions:
        architecture = "skip"
    else:
        raise LayoutError(f"it has a toRGB at the resolutions {skips}, expected all (skip form) or, with skip weights, "
                          f"the last (resnet form)")
    return {
        "z_dim": z_dim,
        "c_dim": layout.size("mapping.embed.weight", 1) if embedded else 0,
        "w_dim": layout.size("mapping.w_avg", 0),
        "resolution": last,
        "img_channels": layout.size(f"synthesis.b{last}.torgb.weight", 0),
        "mapping_layers": layout.count("mapping.fc{n}.weight"),
        "channels": {str(r): layout.size(f"synthesis.b{r}.conv1.weight", 0) for r in resolutions},
        "architecture": architecture,
        "conv_clamp": hints.optional_positive("conv_clamp"),
    }


def _build_generator(config: Config) -> nn.Module:
    return Generator(**constructor_arguments(config))


def _read_discriminator(layout: Layout, hints: Hints) -> Config:
    resolutions = [4, *read_resolutions(layout, "b{n}.conv0.weight", first=8)]
    last = resolutions[-1]
    conditional = "mapping.embed.weight" in layout
    images = [r for r in resolutions if f"b{r}.fromrgb.weight" in layout]
    residual = f"b{last}.skip.weight" in layout
    if images == resolutions and not residual:
        architecture = "skip"
    elif images == [last]:
        architecture = "resnet" if residual else "orig"
    else:
        raise LayoutError(f"it has a fromRGB at the resolutions {images}, expected all (skip form) or the last one")
    channels = read_block_channels(layout, resolutions)
    deviations = layout.size("b4.conv.weight", 1) - channels["4"]
    if deviations < 0 or (deviations and channels["4"] % deviations):
        raise LayoutError(f"its last convolution adds {deviations} deviation channels to {channels['4']}")
    return {
        "c_dim": layout.size("mapping.embed.weight", 1) if conditional else 0,
        "resolution": last,
        "img_channels": layout.size(f"b{last}.fromrgb.weight", 1),
        "channels": channels,
        "architecture": architecture,
        "cmap_dim": (layout.size("b4.out.weight", 0) if conditional
                     else hints.optional_integer("cmap_dim", None, low=0, high=2**18)),
        "mapping_layers": (layout.count("mapping.fc{n}.weight") if conditional
                           else hints.integer("mapping_layers", 8, low=0, high=1024)),
        "mbstd_group_size": hints.optional_integer("mbstd_group_size", 4, low=1, high=1024),
        "mbstd_num_channels": deviations,
        "conv_clamp": hints.optional_positive("conv_clamp"),
    }


def _build_discriminator(config: Config) -> nn.Module:
    return Discriminator(**constructor_arguments(config))


ARCHITECTURES = (
    Architecture("stylegan2-generator", ("synthesis.b4.const", "mapping.w_avg", "mapping.fc0.weight"),
                 _read_generator, _build_generator),
    Architecture("stylegan2-discriminator", ("b4.out.weight", "b4.fc.weight", "b4.conv.weight"),
                 _read_discriminator, _build_discriminator),
)
