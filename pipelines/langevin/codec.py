"""How pictures become what a denoiser works on, and back: as they are, or through an autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

PAD = 16
"""Elements of the canvas that an autoencoder sees beyond an edge that wraps."""
Wrap = Sequence[bool]


class Codec(Protocol):
    """Pictures float [B,C,H,W] -1..1 and canvases [B,c,H/scale,W/scale]. wrap: per axis, whether the ends meet."""

    @property
    def scale(self) -> int:
        """Pixels per element of the canvas, along each axis."""
        ...

    @property
    def colours(self) -> int:
        """Channels of the pictures."""
        ...

    def encode(self, pictures: Tensor, wrap: Wrap) -> Tensor: ...

    def decode(self, canvas: Tensor, wrap: Wrap) -> Tensor: ...

    def preview(self, canvas: Tensor) -> Tensor:
        """Pictures of any size, at little cost."""
        ...


class Pixels:
    """Pictures as they are. colours: their channels."""

    scale = 1

    def __init__(self, colours: int) -> None:
        self.colours = colours

    def encode(self, pictures: Tensor, wrap: Wrap) -> Tensor:
        return pictures

    def decode(self, canvas: Tensor, wrap: Wrap) -> Tensor:
        return canvas

    def preview(self, canvas: Tensor) -> Tensor:
        return canvas


def around(x: Tensor, pads: Sequence[int]) -> Tensor:
    """x [B,C,*size] that goes on around its edges for so many elements on both sides of each axis."""
    for axis, pad in enumerate(pads, start=2):
        if pad:
            n = x.shape[axis]
            x = x.index_select(axis, torch.arange(-pad, n + pad, device=x.device) % n)
    return x


def within(x: Tensor, pads: Sequence[int]) -> Tensor:
    """x without so many elements on both sides of each axis."""
    for axis, pad in enumerate(pads, start=2):
        x = x.narrow(axis, pad, x.shape[axis] - 2 * pad)
    return x


def encode_around(encode: Callable[[Tensor], Tensor], pictures: Tensor, wrap: Wrap, scale: int) -> Tensor:
    """The canvas of pictures, for an encoder that knows nothing of wrapping."""
    pads = [PAD * w for w in wrap]
    return within(encode(around(pictures, [pad * scale for pad in pads])), pads)


def decode_around(decode: Callable[[Tensor], Tensor], canvas: Tensor, wrap: Wrap, scale: int) -> Tensor:
    """The pictures of a canvas, for a decoder that knows nothing of wrapping.

    What lies beyond the end is decoded a second time with the end; the beginning fades from that into itself, so that nothing
    shows at the edge even where the decoder works in tiles, or sees the whole picture.
    """
    pads = [PAD * w for w in wrap]
    x = decode(around(canvas, pads))
    for axis, pad in enumerate(pads, start=2):
        if not pad:
            continue
        n, edge = canvas.shape[axis] * scale, pad * scale
        fade = min(edge // 2, n)
        body, beyond = x.narrow(axis, edge, n).clone(), x.narrow(axis, edge + n, fade)
        share = (torch.arange(fade, device=x.device) + 0.5).to(x) / fade
        share = share.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        body.narrow(axis, 0, fade).copy_(torch.lerp(beyond, body.narrow(axis, 0, fade), share))
        x = body
    return x
