"""The host's nodes that reshape and convert pictures and masks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..pipelines.errors import InvalidInputError
from ..runtime.host import io
from .pictures import CROP_METHODS, RESIZE_METHODS, resize

MAX_RESOLUTION = 16384
COLOURS = ("red", "green", "blue", "alpha")


class ImageScale(io.ComfyNode):
    """To a given size; a side of 0 follows the other in the picture's aspect ratio."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageScale",
            display_name="Upscale Image",
            category="image/upscaling",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("upscale_method", options=list(RESIZE_METHODS)),
                io.Int.Input("width", default=512, min=0, max=MAX_RESOLUTION, step=1),
                io.Int.Input("height", default=512, min=0, max=MAX_RESOLUTION, step=1),
                io.Combo.Input("crop", options=list(CROP_METHODS)),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, upscale_method: str, width: int, height: int, crop: str) -> io.NodeOutput:
        if width == 0 and height == 0:
            return io.NodeOutput(image)
        old_height, old_width = image.shape[1:3]
        width = width or max(1, round(old_width * height / old_height))
        height = height or max(1, round(old_height * width / old_width))
        return io.NodeOutput(resize(image, width, height, upscale_method, crop))


class ImageScaleBy(io.ComfyNode):
    """By a factor."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageScaleBy",
            display_name="Upscale Image By",
            category="image/upscaling",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("upscale_method", options=list(RESIZE_METHODS)),
                io.Float.Input("scale_by", default=1.0, min=0.01, max=8.0, step=0.01),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, upscale_method: str, scale_by: float) -> io.NodeOutput:
        height, width = (round(side * scale_by) for side in image.shape[1:3])
        return io.NodeOutput(resize(image, max(1, width), max(1, height), upscale_method))


class ImageBatch(io.ComfyNode):
    """Two batches as one; the second is brought to the first's size, missing alpha is opaque."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageBatch",
            display_name="Batch Images (DEPRECATED)",
            category="image/batch",
            inputs=[io.Image.Input("image1"), io.Image.Input("image2")],
            outputs=[io.Image.Output()],
            is_deprecated=True,
        )

    @classmethod
    def execute(cls, image1: Tensor, image2: Tensor) -> io.NodeOutput:
        channels = max(image1.shape[-1], image2.shape[-1])
        first, second = (functional.pad(x, (0, channels - x.shape[-1]), value=1.0) for x in (image1, image2))
        if first.shape[1:3] != second.shape[1:3]:
            second = resize(second, first.shape[2], first.shape[1], "bilinear", "center")
        return io.NodeOutput(torch.cat([first, second]))


class MaskToImage(io.ComfyNode):
    """[B,H,W] as grey [B,H,W,3]."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MaskToImage",
            display_name="Convert Mask to Image",
            category="image/mask",
            inputs=[io.Mask.Input("mask")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, mask: Tensor) -> io.NodeOutput:
        return io.NodeOutput(mask.reshape(-1, *mask.shape[-2:]).unsqueeze(-1).expand(-1, -1, -1, 3))


class ImageToMask(io.ComfyNode):
    """One channel of [B,H,W,C] as [B,H,W]."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImageToMask",
            display_name="Convert Image to Mask",
            category="image/mask",
            inputs=[io.Image.Input("image"), io.Combo.Input("channel", options=list(COLOURS))],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, image: Tensor, channel: str) -> io.NodeOutput:
        index = COLOURS.index(channel)
        if index >= image.shape[-1]:
            raise InvalidInputError(f"the image has {image.shape[-1]} channels and so no {channel} channel.")
        return io.NodeOutput(image[..., index])


TRANSFORMS: list[type[io.ComfyNode]] = [ImageScale, ImageScaleBy, ImageBatch, MaskToImage, ImageToMask]
