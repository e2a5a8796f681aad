"""The host's VAE as the codec of a canvas of latents, in the scaled latents that its MODEL works in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.codec import Wrap, decode_around, encode_around

TILE, OVERLAP = 64, 16
LARGEST = 512 * 512
"""Latent pixels that are decoded or encoded at once; more go in tiles, so that memory does not grow with the canvas."""


class LatentCodec:
    """Raises InvalidInputError for a VAE that belongs to other latents than the model's."""

    colours = 3

    def __init__(self, vae: Any, model: Any) -> None:
        self.vae, self.format = vae, model.model.latent_format
        self._into: Callable[[Tensor], Tensor] = model.model.process_latent_in
        self._out_of: Callable[[Tensor], Tensor] = model.model.process_latent_out
        dims, channels = getattr(vae, "latent_dim", 2), getattr(vae, "latent_channels", None)
        scale = getattr(vae, "upscale_ratio", 8)
        if getattr(self.format, "latent_dimensions", 2) != 2 or dims != 2 or not isinstance(scale, int):
            raise InvalidInputError("The MODEL or the VAE is one of videos or of sound; this node takes those of pictures, "
                                    "whose latents have a height and a width.")
        if channels not in (None, self.format.latent_channels):
            raise InvalidInputError(f"The VAE makes latents of {channels} channels, the MODEL works on "
                                    f"{self.format.latent_channels}; connect the VAE that belongs to the model.")
        self.scale = scale

    def encode(self, pictures: Tensor, wrap: Wrap) -> Tensor:
        return encode_around(self._encode, pictures, wrap, self.scale)

    def decode(self, canvas: Tensor, wrap: Wrap) -> Tensor:
        return decode_around(self._decode, canvas, wrap, self.scale)

    def preview(self, canvas: Tensor) -> Tensor:
        """By the model's own linear map of latents to colours, or else the first channels."""
        x = canvas[:1].detach().float().cpu()
        factors, bias = self.format.latent_rgb_factors, getattr(self.format, "latent_rgb_factors_bias", None)
        if factors is None:
            return (x.repeat(1, 3, 1, 1)[:, :3] / 2).clamp(-1, 1)
        colours = torch.einsum("nchw,cd->ndhw", x, torch.tensor(factors))
        return colours if bias is None else colours + torch.tensor(bias).reshape(1, -1, 1, 1)

    def _encode(self, pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            pixels = ((pictures + 1) / 2).clamp(0, 1).movedim(1, -1)
            if pixels.shape[1] * pixels.shape[2] > LARGEST * self.scale**2:
                side, overlap = TILE * self.scale, OVERLAP * self.scale
                found = self.vae.encode_tiled(pixels, tile_x=side, tile_y=side, overlap=overlap)
            else:
                found = self.vae.encode(pixels)
            found = self._into(found.float())
        return found.clone()

    def _decode(self, canvas: Tensor) -> Tensor:
        with torch.inference_mode():
            latent = self._out_of(canvas.float())
            if latent.shape[2] * latent.shape[3] > LARGEST:
                found = self.vae.decode_tiled(latent, tile_x=TILE, tile_y=TILE, overlap=OVERLAP)
            else:
                found = self.vae.decode(latent)
            found = found[..., :3].movedim(-1, 1).float() * 2 - 1
        return found.clone()
