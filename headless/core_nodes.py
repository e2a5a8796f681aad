"""The host's nodes for pictures on disk, with its ids, names and defaults, for when there is no host."""

from __future__ import annotations

import hashlib

from torch import Tensor

from ..runtime.host import input_files, input_path, io, preview_images, save_images
from .core_audio import AUDIO
from .core_mesh import MESHES
from .core_transforms import TRANSFORMS
from .core_values import VALUES
from .core_video import VIDEO
from .media import file_problem
from .pictures import load_picture

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
CHANNELS = ("alpha", "red", "green", "blue")


def _picture_input() -> io.Input:
    names = [name for name in input_files() if name[name.rfind(".") :].lower() in PICTURE_SUFFIXES]
    return io.Combo.Input("image", options=names, upload=io.UploadType.image)


def _digest(name: str) -> str:
    return hashlib.sha256(input_path(name).read_bytes()).hexdigest()


class LoadImage(io.ComfyNode):
    """A picture file of the input folder and its transparency."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadImage",
            display_name="Load Image",
            category="image",
            inputs=[_picture_input()],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return file_problem(image, "picture")

    @classmethod
    def fingerprint_inputs(cls, image: str) -> str:
        return _digest(image)

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        return io.NodeOutput(*load_picture(input_path(image)))


class LoadImageMask(io.ComfyNode):
    """One channel of a picture file as a mask; "alpha" is inverted, as in LoadImage."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadImageMask",
            display_name="Load Image (as Mask)",
            category="image",
            inputs=[_picture_input(), io.Combo.Input("channel", options=list(CHANNELS))],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return file_problem(image, "picture")

    @classmethod
    def fingerprint_inputs(cls, image: str, channel: str) -> str:
        return _digest(image)

    @classmethod
    def execute(cls, image: str, channel: str) -> io.NodeOutput:
        images, masks = load_picture(input_path(image))
        return io.NodeOutput(masks if channel == "alpha" else images[..., CHANNELS.index(channel) - 1].clone())


class SaveImage(io.ComfyNode):
    """Writes PNGs with the workflow in them to the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveImage",
            display_name="Save Image",
            category="image",
            description="Saves the input images to your ComfyUI output directory.",
            inputs=[
                io.Image.Input("images", tooltip="The images to save."),
                io.String.Input(
                    "filename_prefix",
                    default="ComfyUI",
                    tooltip="The prefix for the file to save. It may name a subfolder and hold %date:yyyy-MM-dd%.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor, filename_prefix: str = "ComfyUI") -> io.NodeOutput:
        return io.NodeOutput(images, ui=save_images(images, filename_prefix, cls))


class PreviewImage(io.ComfyNode):
    """Writes PNGs to the temp folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewImage",
            display_name="Preview Image",
            category="image",
            description="Preview the images without saving them to the ComfyUI output directory.",
            inputs=[io.Image.Input("images")],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor) -> io.NodeOutput:
        return io.NodeOutput(images, ui=preview_images(images, cls))


class MaskPreview(io.ComfyNode):
    """Writes masks as grey PNGs to the temp folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MaskPreview",
            display_name="Preview Mask",
            category="image/mask",
            description="Preview the masks without saving them to the ComfyUI output directory.",
            inputs=[io.Mask.Input("mask")],
            outputs=[io.Mask.Output(display_name="mask")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, mask: Tensor) -> io.NodeOutput:
        images = mask.reshape(-1, *mask.shape[-2:]).unsqueeze(-1).expand(-1, -1, -1, 3)
        return io.NodeOutput(mask, ui=preview_images(images, cls))


CORE_NODES: list[type[io.ComfyNode]] = [
    LoadImage,
    LoadImageMask,
    SaveImage,
    PreviewImage,
    MaskPreview,
    *TRANSFORMS,
    *AUDIO,
    *VIDEO,
    *MESHES,
    *VALUES,
]
"""Every node of the host that the embedded host has."""
