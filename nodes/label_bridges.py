"""Label maps to and from masks, coloured pictures, PNG files and SEGS."""

from __future__ import annotations

from typing import Any, cast

import torch

from ..pipelines.errors import InvalidInputError
from ..pipelines.label_bridges import MaskEdit, edit_by_mask, from_segments, nearest_labels, parts_mask, to_segments
from ..pipelines.label_png import from_png, to_png
from ..pipelines.labels import LabelMap, render
from ..runtime import host
from ..runtime.host import io
from .editing import split_names
from .sockets import LabelMapSocket

CATEGORY = "Atelier/Labels"
SegsSocket = io.Custom("SEGS")


class LabelToMask(io.ComfyNode):
    """Parts of a label map as a MASK."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLabelToMask", display_name="Label to Mask", category=CATEGORY,
            description="The pixels of one or several parts as a mask.",
            inputs=[LabelMapSocket.Input("label_map", tooltip="Label map to read."),
                    io.String.Input("parts", default="", tooltip="Names of the parts, separated by commas.")],
            outputs=[io.Mask.Output("mask", tooltip="1 on the parts, 0 elsewhere."),
                     io.Image.Output("colours", tooltip="The whole label map in its colours, 0..1.")])

    @classmethod
    def execute(cls, label_map: LabelMap, parts: str) -> io.NodeOutput:
        names = split_names(parts)
        if not names:
            raise InvalidInputError(f"Name at least one part; the parts are {', '.join(label_map.labels.names)}.")
        return io.NodeOutput(parts_mask(label_map, names).cpu(), render(label_map).cpu())


class MaskToLabel(io.ComfyNode):
    """Change a part of a label map by a MASK."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierMaskToLabel", display_name="Mask to Label", category=CATEGORY,
            description="Paints a mask into a label map as a part, or takes the part away inside or outside of it.",
            inputs=[LabelMapSocket.Input("label_map", tooltip="Label map to change."),
                    io.Mask.Input("mask", tooltip="Counts where it is above 0.5; of the label map's size."),
                    io.String.Input("part", default="", tooltip="Name of the part."),
                    host.node_input(io.Combo, "operation", options=["paint", "erase", "keep"], default="paint",
                                    tooltip="'paint': the mask becomes the part. 'erase': the part leaves the mask. 'keep': "
                                            "the part leaves all but the mask. Pixels it leaves take the nearest label.")],
            outputs=[LabelMapSocket.Output("label_map", tooltip="The changed label map.")])

    @classmethod
    def execute(cls, label_map: LabelMap, mask: torch.Tensor, part: str, operation: str) -> io.NodeOutput:
        return io.NodeOutput(edit_by_mask(label_map, mask, part, cast(MaskEdit, operation)))


class ImageToLabelMap(io.ComfyNode):
    """A picture in label colours, read as a label map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierImageToLabelMap", display_name="Image to Label Map", category=CATEGORY,
            description="Reads a picture painted in the colours of a label set; every pixel takes the nearest colour.",
            inputs=[io.Image.Input("image", tooltip="The painted picture."),
                    LabelMapSocket.Input("like", tooltip="A label map with the same parts and colours."),
                    host.node_input(io.Float, "cap", default=48.0, min=0.0, max=442.0, step=1.0,
                                    tooltip="Largest distance of a colour, in 8-bit steps; beyond it a pixel matches nothing "
                                            "and becomes background.")],
            outputs=[LabelMapSocket.Output("label_map", tooltip="The label map."),
                     io.Mask.Output("unmatched", tooltip="1 where no colour was near enough."),
                     io.String.Output("report", tooltip="How many pixels matched nothing.")])

    @classmethod
    def execute(cls, image: torch.Tensor, like: LabelMap, cap: float) -> io.NodeOutput:
        label_map, unmatched = nearest_labels(image[..., :3], like.labels, cap=cap)
        report = f"{int(unmatched.sum())} of {unmatched.numel()} pixels match no label within {cap:g}."
        return io.NodeOutput(label_map, unmatched.float().cpu(), report)


class SaveLabelMap(io.ComfyNode):
    """Write label maps as indexed PNG files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSaveLabelMap", display_name="Save Label Map", category=CATEGORY, is_output_node=True,
            description="Saves label maps as indexed PNG: the pixel is the label, the palette the colours, the names are in "
                        "the file. Any paint program opens it.",
            inputs=[LabelMapSocket.Input("label_map", tooltip="Label maps to save, one file each."),
                    io.String.Input("filename_prefix", default="label_maps/labels", tooltip="File name, with folders, in the "
                                    "output folder; a number is added.")],
            outputs=[])

    @classmethod
    def execute(cls, label_map: LabelMap, filename_prefix: str) -> io.NodeOutput:
        files: list[dict[str, str]] = []
        for index in range(len(label_map)):
            target = host.save_target(filename_prefix, ".png")
            target.path.write_bytes(to_png(label_map.sample(index)))
            files.append({"filename": target.filename, "subfolder": target.subfolder, "type": "output"})
        return io.NodeOutput(ui={"images": files})


class LoadLabelMap(io.ComfyNode):
    """Read a label map from a PNG file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadLabelMap", display_name="Load Label Map", category=CATEGORY,
            description="Loads an indexed PNG that Save Label Map wrote, or a PNG with exactly the colours of a label set.",
            inputs=[io.String.Input("file", default="", tooltip="Name of the PNG file in the input folder; with ' [output]' "
                                                                "at its end, in the output folder."),
                    io.Boolean.Input("by_index", default=False, tooltip="Read the indices of an indexed PNG whatever its "
                                                                        "palette says."),
                    LabelMapSocket.Input("like", optional=True, tooltip="A label map with the parts the file must have; "
                                                                        "needed when the file does not name its own.")],
            outputs=[LabelMapSocket.Output("label_map", tooltip="The label map.")])

    @classmethod
    def fingerprint_inputs(cls, file: str, by_index: bool, like: LabelMap | None = None) -> tuple[int, int]:
        path = host.input_path(file)
        status = path.stat() if path.is_file() else None
        return (0, 0) if status is None else (status.st_mtime_ns, status.st_size)

    @classmethod
    def execute(cls, file: str, by_index: bool, like: LabelMap | None = None) -> io.NodeOutput:
        path = host.input_path(file)
        if not path.is_file():
            raise InvalidInputError(f"There is no label picture '{file}' in the input folder; copy the file there.")
        labels = None if like is None else like.labels
        return io.NodeOutput(from_png(path.read_bytes(), labels, by_index=by_index, where=f"The file '{path.name}'"))


class LabelMapToSegs(io.ComfyNode):
    """Parts of a label map as SEGS of Impact Pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLabelMapToSegs", display_name="Label Map to SEGS", category=CATEGORY,
            description="Hands parts to the detailers of ComfyUI-Impact-Pack, each with its crop, mask, box and name.",
            inputs=[LabelMapSocket.Input("label_map", tooltip="Label map of one picture."),
                    io.String.Input("parts", default="", tooltip="Names of the parts, separated by commas."),
                    host.node_input(io.Int, "padding", default=8, min=0, max=1024,
                                    tooltip="Pixels of the crop around the box."),
                    io.Boolean.Input("separate", default=True, tooltip="A segment for every connected piece of a part."),
                    io.Image.Input("image", optional=True, tooltip="The picture, whose crops the segments carry.")],
            outputs=[SegsSocket.Output("segs", tooltip="One segment per part or piece.")])

    @classmethod
    def execute(cls, label_map: LabelMap, parts: str, padding: int, separate: bool,
                image: torch.Tensor | None = None) -> io.NodeOutput:
        return io.NodeOutput(to_segments(label_map, split_names(parts), image, padding=padding, separate=separate))


class SegsToLabelMap(io.ComfyNode):
    """Paint SEGS of Impact Pack into a label map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSegsToLabelMap", display_name="SEGS to Label Map", category=CATEGORY,
            description="Paints what a detector of ComfyUI-Impact-Pack found into a label map.",
            inputs=[SegsSocket.Input("segs", tooltip="Segments of the picture; scaled where its size differs."),
                    LabelMapSocket.Input("label_map", tooltip="Label map of one picture to paint into."),
                    io.String.Input("part", default="", tooltip="What all segments become; empty: each the part its label "
                                                                "names, others are left out.")],
            outputs=[LabelMapSocket.Output("label_map", tooltip="The painted label map."),
                     io.Int.Output("painted", tooltip="How many segments were painted.")])

    @classmethod
    def execute(cls, segs: Any, label_map: LabelMap, part: str) -> io.NodeOutput:
        return io.NodeOutput(*from_segments(segs, label_map, part=part))


NODES = [LabelToMask, MaskToLabel, ImageToLabelMap, SaveLabelMap, LoadLabelMap, LabelMapToSegs, SegsToLabelMap]
