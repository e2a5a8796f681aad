"""Photographs in the graph: cut out the square that a generator knows, and put it back."""

from __future__ import annotations

import re

import torch

from ..pipelines.errors import InvalidInputError
from ..pipelines.photographs import Crop, Point, box_crop, centre_crop, extract, face_crop, paste
from ..runtime import host
from ..runtime.host import io
from .sockets import CropSocket

CATEGORY = "Atelier/Photographs"
LARGEST_SIDE = 16384


def parse_points(text: str) -> list[Point]:
    """'12.5, 40; 60 41' -> [(12.5, 40.0), (60.0, 41.0)]."""
    points: list[Point] = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        numbers = re.split(r"[\s,]+", part)
        try:
            x, y = map(float, numbers)
        except ValueError as error:
            raise InvalidInputError(f"The point '{part}' of the landmarks is not 'x, y'; write points in pixels, separated "
                                    f"by semicolons.") from error
        points.append((x, y))
    return points


def _size(crop: Crop, size: int) -> int:
    return size or max(1, round(crop.side))


class CropPhotograph(io.ComfyNode):
    """A square of a photograph: the middle, or a box."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierCropPhotograph", display_name="Crop Photograph", category=CATEGORY,
            description="Cuts a square out of a photograph and remembers where it was, so that Paste Back can return it.",
            inputs=[io.Image.Input("photograph", tooltip="The whole photograph."),
                    host.node_input(io.Combo, "mode", options=["centre", "box"], default="centre",
                                    tooltip="'centre': the largest square about the middle. 'box': the square given below."),
                    host.node_input(io.Int, "x", default=0, min=0, max=LARGEST_SIDE,
                                    tooltip="Left edge of the box, in pixels. Used by box."),
                    host.node_input(io.Int, "y", default=0, min=0, max=LARGEST_SIDE,
                                    tooltip="Upper edge of the box, in pixels. Used by box."),
                    host.node_input(io.Int, "side", default=256, min=1, max=LARGEST_SIDE,
                                    tooltip="Side of the box, in pixels. Used by box."),
                    host.node_input(io.Int, "size", default=0, min=0, max=4096,
                                    tooltip="Pixels of the crop's side; 0 keeps those of the photograph.")],
            outputs=[io.Image.Output("image", tooltip="The square."),
                     CropSocket.Output("crop", tooltip="Where it was, for Paste Back.")])

    @classmethod
    def execute(cls, photograph: torch.Tensor, mode: str, x: int, y: int, side: int, size: int) -> io.NodeOutput:
        height, width = int(photograph.shape[1]), int(photograph.shape[2])
        crop = centre_crop(height, width) if mode == "centre" else box_crop(height, width, x, y, side)
        return io.NodeOutput(extract(photograph[..., :3], crop, _size(crop, size)), crop)


class AlignFace(io.ComfyNode):
    """The square about a face, as face generators were trained on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierAlignFace", display_name="Align Face", category=CATEGORY,
            description="Cuts a face out of a photograph, turned and scaled as the pictures of FFHQ are, from four points.",
            search_aliases=["ffhq", "face alignment", "landmarks"],
            inputs=[io.Image.Input("photograph", tooltip="The whole photograph."),
                    io.String.Input("landmarks", default="", tooltip="Left eye; right eye; left corner of the mouth; right "
                                    "corner of the mouth, as 'x, y; x, y; x, y; x, y' in pixels. Left as seen in the picture."),
                    host.node_input(io.Int, "size", default=1024, min=0, max=4096,
                                    tooltip="Pixels of the crop's side; 0 keeps those of the photograph.")],
            outputs=[io.Image.Output("image", tooltip="The aligned face."),
                     CropSocket.Output("crop", tooltip="Where it was, for Paste Back.")])

    @classmethod
    def execute(cls, photograph: torch.Tensor, landmarks: str, size: int) -> io.NodeOutput:
        crop = face_crop(int(photograph.shape[1]), int(photograph.shape[2]), parse_points(landmarks))
        return io.NodeOutput(extract(photograph[..., :3], crop, _size(crop, size)), crop)


class PasteBack(io.ComfyNode):
    """Return an edited crop to its photograph."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierPasteBack", display_name="Paste Back", category=CATEGORY,
            description="Puts an edited crop back where it was cut out. With the reconstruction connected only the change is "
                        "added, so that the photograph keeps what the generator cannot draw.",
            search_aliases=["stitch", "poisson", "seamless clone"],
            inputs=[io.Image.Input("photograph", tooltip="The photograph the crop was taken from."),
                    io.Image.Input("image", tooltip="The edited crop, at any resolution."),
                    CropSocket.Input("crop", tooltip="Where it belongs."),
                    host.node_input(io.Combo, "blend", options=["feather", "poisson", "none"], default="feather",
                                    tooltip="'feather' fades at the border, 'poisson' keeps the crop's gradients and meets "
                                            "the photograph at the border, 'none' cuts hard."),
                    host.node_input(io.Float, "feather", default=8.0, min=0.0, max=512.0, step=1.0,
                                    tooltip="Pixels of the photograph over which the border fades. Used by feather."),
                    io.Mask.Input("mask", optional=True, tooltip="The part of the crop to put back, 0..1, such as the region "
                                                                 "of an edit; all of it if nothing is connected."),
                    io.Image.Input("reconstruction", optional=True, tooltip="What the generator drew before the edit.")],
            outputs=[io.Image.Output("image", tooltip="The whole photograph, edited.")])

    @classmethod
    def execute(cls, photograph: torch.Tensor, image: torch.Tensor, crop: Crop, blend: str, feather: float,
                mask: torch.Tensor | None = None, reconstruction: torch.Tensor | None = None) -> io.NodeOutput:
        return io.NodeOutput(paste(photograph, image[..., :3], crop, mask, blend=blend, feather=feather,
                                   reconstruction=reconstruction))


NODES = [CropPhotograph, AlignFace, PasteBack]
