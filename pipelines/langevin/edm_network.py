"""The U-Nets of EDM (Karras et al. 2022): Song's (DDPM++ and NCSN++) and Dhariwal's (ADM), named as in the official files.

Two extensions of ours: `dims` 1 works along a line, for sound, and `patch` p takes p x p pixels as the channels of one, so that
most of the work happens on a p^2 times smaller grid. The networks see any size that is a multiple of `multiple`; names keep the
resolution they were trained at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError
from .edm_layers import (
    Conv,
    FourierEmbedding,
    Initialise,
    Linear,
    PositionalEmbedding,
    attend,
    group_norm,
    lecun_uniform,
    plus,
    unit_normal,
    xavier_uniform,
)


@dataclass(frozen=True)
class Style:
    """What the blocks of a network have in common. adaptive: the embedding scales as well as shifts. heads: of attention, from
    the channels. projected: shortcuts that resample also convolve. residual_gain, attention_gain: of initial weights."""

    dims: int
    taps: tuple[int, ...]
    embedding: int
    adaptive: bool
    heads: Callable[[int], int]
    projected: bool
    scale: float
    eps: float
    initialise: Initialise
    residual_gain: float
    attention_gain: float
    noisy_bias: bool


class Block(nn.Module):
    """Two convolutions around the embedding, a shortcut, and attention where asked for. resample: 'up', 'down' or None."""

    skip: Conv | None

    def __init__(self, inputs: int, outputs: int, style: Style, *, resample: str | None = None,
                 attention: bool = False) -> None:
        super().__init__()
        s = self.style = style
        self.inputs, self.outputs = inputs, outputs
        self.heads = s.heads(outputs) if attention else 0

        def conv(into: int, out: int, kernel: int, *, gain: float = 1.0, resample: str | None = None) -> Conv:
            return Conv(into, out, kernel, s.initialise, dims=s.dims, gain=gain, resample=resample, taps=s.taps,
                        noisy_bias=s.noisy_bias)

        self.norm0 = group_norm(inputs, s.eps)
        self.conv0 = conv(inputs, outputs, 3, resample=resample)
        self.affine = Linear(s.embedding, outputs * (2 if s.adaptive else 1), s.initialise, noisy_bias=s.noisy_bias)
        self.norm1 = group_norm(outputs, s.eps)
        self.conv1 = conv(outputs, outputs, 3, gain=s.residual_gain)
        self.skip = None
        if outputs != inputs or resample:
            self.skip = conv(inputs, outputs, 1 if outputs != inputs or s.projected else 0, resample=resample)
        if self.heads:
            self.norm2 = group_norm(outputs, s.eps)
            self.qkv = conv(outputs, 3 * outputs, 1, gain=s.attention_gain)
            self.proj = conv(outputs, outputs, 1, gain=s.residual_gain)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x [N,C,...], embedding [N,E] -> [N,outputs,...]."""
        s = self.style
        shortcut = x if self.skip is None else self.skip(x)
        x = self.conv0(F.silu(self.norm0(x), inplace=True))
        told = self.affine(embedding)[(...,) + (None,) * s.dims]
        if s.adaptive:
            scale, shift = told.chunk(2, dim=1)
            x = torch.addcmul(shift, self.norm1(x), scale + 1)
        else:
            x = self.norm1(plus(x, told))
        x = plus(self.conv1(F.silu(x, inplace=True)), shortcut).mul_(s.scale)
        if self.heads:
            x = plus(self.proj(attend(self.qkv(self.norm2(x)), self.heads)), x).mul_(s.scale)
        return x


@dataclass(frozen=True)
class UNetShape:
    """Hyper-parameters that both networks share.

    resolution: the side it was trained at, in pixels or samples. inputs, outputs: channels. attention: sides, of the inner
    grid, at which blocks have it. multipliers: channels per level in units of `width`. blocks: per level. middle_attention:
    official networks always have it; without, and without `attention`, a network sees no farther than its convolutions.
    """

    resolution: int
    inputs: int
    outputs: int
    labels: int = 0
    augment: int = 0
    width: int = 128
    multipliers: Sequence[int] = (1, 2, 2, 2)
    embedding_multiplier: int = 4
    blocks: int = 4
    attention: Sequence[int] = (16,)
    middle_attention: bool = True
    dims: int = 2
    patch: int = 1
    grid: int = field(init=False)

    def __post_init__(self) -> None:
        if self.dims not in (1, 2):
            raise InvalidInputError(f"The U-Nets of EDM work along 1 axis or 2, got {self.dims}.")
        if self.patch < 1 or self.resolution % self.multiple:
            raise InvalidInputError(f"A network of {len(self.multipliers)} levels and patches of {self.patch} is made for a "
                                    f"multiple of {self.multiple}, got {self.resolution}.")
        object.__setattr__(self, "grid", self.resolution // self.patch)

    @property
    def multiple(self) -> int:
        """Sides of what the network sees are multiples of it."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    def name(self, level: int) -> str:
        """Of a level, as in the names of the official files; on a line a single number."""
        side = self.grid >> level
        return f"{side}x{side}" if self.dims == 2 else str(side)

    def attends(self, level: int) -> bool:
        """Whether blocks of a level have attention."""
        return self.grid >> level in self.attention

    def inner(self, channels: int) -> int:
        """Channels of the inner grid."""
        return channels * self.patch**self.dims


def to_patches(x: Tensor, patch: int) -> Tensor:
    """[N,C,H,W] -> [N,C*p*p,H/p,W/p], or [N,C,T] -> [N,C*p,T/p]."""
    if patch == 1:
        return x
    if x.ndim == 4:
        return F.pixel_unshuffle(x, patch)
    count, channels, length = x.shape
    return x.reshape(count, channels, length // patch, patch).movedim(3, 2).reshape(count, channels * patch, -1)


def from_patches(x: Tensor, patch: int) -> Tensor:
    """The inverse of `to_patches`."""
    if patch == 1:
        return x
    if x.ndim == 4:
        return F.pixel_shuffle(x, patch)
    count, channels, length = x.shape
    return x.reshape(count, channels // patch, patch, length).movedim(2, 3).reshape(count, channels // patch, -1)


def laid_out(x: Tensor) -> Tensor:
    """Pictures on a CPU with their channels last, as its convolutions like them; the layers pass that on."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and x.device.type == "cpu" else x


Level = dict[str, nn.Module]
"""The blocks of one level in the order they run, by the last part of their names."""


def encoder_levels(shape: UNetShape, style: Style, first: int) -> list[Level]:
    """From the finest level on. first: channels of the first convolution."""
    levels: list[Level] = []
    channels = first
    for i, multiplier in enumerate(shape.multipliers):
        level: Level = {}
        if i == 0:
            level["conv"] = Conv(shape.inner(shape.inputs), first, 3, style.initialise, dims=shape.dims,
                                 noisy_bias=style.noisy_bias)
        else:
            level["down"] = Block(channels, channels, style, resample="down")
        for j in range(shape.blocks):
            level[f"block{j}"] = Block(channels, shape.width * multiplier, style, attention=shape.attends(i))
            channels = shape.width * multiplier
        levels.append(level)
    return levels


def decoder_levels(shape: UNetShape, style: Style, first: int, *, attention_last: bool) -> list[Level]:
    """From the coarsest level on. attention_last: of the blocks of a level only the last one has it."""
    joined = [first]  # channels of what the encoder hands over
    for i, multiplier in enumerate(shape.multipliers):
        joined += ([joined[-1]] if i else []) + [shape.width * multiplier] * shape.blocks
    channels = joined[-1]
    levels: list[Level] = []
    for i in reversed(range(len(shape.multipliers))):
        level: Level = {}
        if i == len(shape.multipliers) - 1:
            level["in0"] = Block(channels, channels, style, attention=shape.middle_attention)
            level["in1"] = Block(channels, channels, style)
        else:
            level["up"] = Block(channels, channels, style, resample="up")
        for j in range(shape.blocks + 1):
            attention = shape.attends(i) and (j == shape.blocks or not attention_last)
            level[f"block{j}"] = Block(channels + joined.pop(), shape.width * shape.multipliers[i], style, attention=attention)
            channels = shape.width * shape.multipliers[i]
        levels.append(level)
    return levels


def named(shape: UNetShape, levels: Sequence[Level], *, finest_first: bool) -> nn.ModuleDict:
    """The blocks of all levels under their full names."""
    order = range(len(levels)) if finest_first else reversed(range(len(levels)))
    return nn.ModuleDict({f"{shape.name(i)}_{name}": block
                          for i, level in zip(order, levels, strict=True) for name, block in level.items()})


class SongUNet(nn.Module):
    """DDPM++ and NCSN++ (Song et al. 2021).

    embedding: 'positional' (DDPM++) or 'fourier' (NCSN++, noise_multiplier 2). encoder: 'standard' (DDPM++), 'residual'
    (NCSN++) or 'skip'. decoder: 'standard' or 'skip'. taps: [1,1] (DDPM++) or [1,3,3,1] (NCSN++).
    """

    def __init__(self, shape: UNetShape, *, embedding: str = "positional", noise_multiplier: int = 1, encoder: str = "standard",
                 decoder: str = "standard", taps: Sequence[int] = (1, 1)) -> None:
        super().__init__()
        self.shape = shape
        noise, width = shape.width * noise_multiplier, shape.width * shape.embedding_multiplier
        style = Style(dims=shape.dims, taps=tuple(taps), embedding=width, adaptive=False, heads=lambda _: 1, projected=True,
                      scale=math.sqrt(0.5), eps=1e-6, initialise=xavier_uniform, residual_gain=1e-5,
                      attention_gain=math.sqrt(0.2), noisy_bias=False)
        self.map_noise = (FourierEmbedding(noise) if embedding == "fourier"
                          else PositionalEmbedding(noise, endpoint=True, sine_first=True))
        self.map_label = Linear(shape.labels, noise, xavier_uniform) if shape.labels else None
        self.map_augment = Linear(shape.augment, noise, xavier_uniform, bias=False) if shape.augment else None
        self.map_layer0 = Linear(noise, width, xavier_uniform)
        self.map_layer1 = Linear(width, width, xavier_uniform)
        conv = partial(Conv, initialise=xavier_uniform, dims=shape.dims, taps=taps)

        down = encoder_levels(shape, style, shape.width)
        beside = shape.inner(shape.inputs)  # channels of the picture, or of what replaces it, that runs beside the encoder
        for i in range(1, len(down)):
            channels = shape.width * shape.multipliers[i - 1]
            extra: Level = {}
            if encoder == "skip":
                extra = {"aux_down": conv(beside, beside, 0, resample="down"), "aux_skip": conv(beside, channels, 1)}
            elif encoder == "residual":
                extra = {"aux_residual": conv(beside, channels, 3, resample="down", fused=True)}
                beside = channels
            down[i] = {"down": down[i]["down"], **extra, **down[i]}
        up = decoder_levels(shape, style, shape.width, attention_last=True)
        outputs = shape.inner(shape.outputs)
        for i, level in enumerate(up):
            finest = i == len(up) - 1
            if decoder == "skip" and i > 0:
                level["aux_up"] = conv(outputs, outputs, 0, resample="up")
            if decoder == "skip" or finest:
                channels = shape.width * shape.multipliers[len(up) - 1 - i]
                level["aux_norm"] = group_norm(channels, 1e-6)
                level["aux_conv"] = conv(channels, outputs, 3, gain=1e-5)
        self.enc, self.dec = named(shape, down, finest_first=True), named(shape, up, finest_first=False)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augment: Tensor | None = None) -> Tensor:
        """x float [N,C,*size], noise float [N] (what the preconditioning makes of sigma), labels [N,L] -> [N,outputs,*size]."""
        embedding = self.map_noise(noise)
        if self.map_label is not None and labels is not None:
            embedding = embedding + self.map_label(labels * math.sqrt(labels.shape[1]))
        if self.map_augment is not None and augment is not None:
            embedding = embedding + self.map_augment(augment)
        embedding = F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))
        x = beside = laid_out(to_patches(x, self.shape.patch))
        kept: list[Tensor] = []
        for name, block in self.enc.items():
            if name.endswith("aux_down"):
                beside = block(beside)
            elif name.endswith("aux_skip"):
                x = kept[-1] = x + block(beside)
            elif name.endswith("aux_residual"):
                x = kept[-1] = beside = (x + block(beside)) * math.sqrt(0.5)
            else:
                x = block(x, embedding) if isinstance(block, Block) else block(x)
                kept.append(x)
        found: Tensor | None = None
        normed = x
        for name, block in self.dec.items():
            if name.endswith("aux_up"):
                found = block(found)
            elif name.endswith("aux_norm"):
                normed = block(x)
            elif name.endswith("aux_conv"):
                added = block(F.silu(normed))
                found = added if found is None else found + added
            else:
                x = joining(cast(Block, block), x, kept, embedding)
        return from_patches(cast(Tensor, found), self.shape.patch)


class DhariwalUNet(nn.Module):
    """ADM (Dhariwal and Nichol 2021): one head of attention per 64 channels, so none in blocks of fewer."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width * shape.embedding_multiplier
        style = Style(dims=shape.dims, taps=(1, 1), embedding=width, adaptive=True, heads=lambda channels: channels // 64,
                      projected=False, scale=1.0, eps=1e-5, initialise=lecun_uniform, residual_gain=0.0, attention_gain=1.0,
                      noisy_bias=True)
        self.map_noise = PositionalEmbedding(shape.width, endpoint=False, sine_first=False)
        self.map_augment = Linear(shape.augment, shape.width, lecun_uniform, gain=0.0, bias=False) if shape.augment else None
        self.map_layer0 = Linear(shape.width, width, lecun_uniform, noisy_bias=True)
        self.map_layer1 = Linear(width, width, lecun_uniform, noisy_bias=True)
        self.map_label = Linear(shape.labels, width, unit_normal, bias=False) if shape.labels else None
        first = shape.width * shape.multipliers[0]
        self.enc = named(shape, encoder_levels(shape, style, first), finest_first=True)
        self.dec = named(shape, decoder_levels(shape, style, first, attention_last=False), finest_first=False)
        self.out_norm = group_norm(first, 1e-5)
        self.out_conv = Conv(first, shape.inner(shape.outputs), 3, lecun_uniform, dims=shape.dims, gain=0.0)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augment: Tensor | None = None) -> Tensor:
        """As of `SongUNet`."""
        embedding = self.map_noise(noise)
        if self.map_augment is not None and augment is not None:
            embedding = embedding + self.map_augment(augment)
        embedding = self.map_layer1(F.silu(self.map_layer0(embedding)))
        if self.map_label is not None and labels is not None:
            embedding = embedding + self.map_label(labels)
        embedding = F.silu(embedding)
        x = laid_out(to_patches(x, self.shape.patch))
        kept: list[Tensor] = []
        for block in self.enc.values():
            x = block(x, embedding) if isinstance(block, Block) else block(x)
            kept.append(x)
        for block in self.dec.values():
            x = joining(cast(Block, block), x, kept, embedding)
        return from_patches(self.out_conv(F.silu(self.out_norm(x))), self.shape.patch)


def joining(block: Block, x: Tensor, kept: list[Tensor], embedding: Tensor) -> Tensor:
    """A block of the decoder; where it takes more channels than there are, the encoder's last ones come along."""
    return block(x if x.shape[1] == block.inputs else torch.cat([x, kept.pop()], dim=1), embedding)
