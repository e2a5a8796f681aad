"""Label maps in the graph: change a part's region, look at a map, compare before and after."""

from __future__ import annotations

import torch

from ..pipelines.labels import LabelMap, render
from ..pipelines.regions import ANCHORS, OPERATIONS, Anchor, Operation, transform_region
from ..pipelines.sheets import contact_sheet, difference, outlined, with_legend
from ..runtime import host
from ..runtime.host import io
from . import sockets
from .editing import split_names
from .sockets import LabelMapSocket

CATEGORY = "Atelier/Label Maps"


class TransformLabelRegion(io.ComfyNode):
    """Grow, shrink, scale, move, relabel or remove parts of a label map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTransformLabelRegion", display_name="Transform Label Region", category=CATEGORY,
            description="Changes the region of one or several parts of a label map. Vacated pixels take the nearest "
                        "other label, covered ones are overwritten.",
            search_aliases=["mask", "segmentation"],
            inputs=[LabelMapSocket.Input("label_map", tooltip="Label map to change."),
                    io.String.Input("parts", default="tyre, hub", tooltip="Names of the parts, separated by commas; they "
                                    "are transformed together."),
                    host.node_input(io.Combo, "operation", options=list(OPERATIONS), default="scale",
                                    tooltip="grow / shrink by pixels, scale by factor, move by x and y, relabel to "
                                            "another part, or remove."),
                    host.node_input(io.Float, "factor", default=1.3, min=0.1, max=10.0, step=0.05,
                                    tooltip="Scale factor of lengths; areas change by its square. Used by scale."),
                    host.node_input(io.Int, "pixels", default=2, min=0, max=512,
                                    tooltip="Pixels to grow or shrink by. Used by grow and shrink."),
                    host.node_input(io.Int, "move_x", default=0, min=-4096, max=4096,
                                    tooltip="Pixels to the right. Used by move."),
                    host.node_input(io.Int, "move_y", default=0, min=-4096, max=4096,
                                    tooltip="Pixels downwards. Used by move."),
                    io.String.Input("new_part", default="", tooltip="Part the region becomes. Used by relabel."),
                    host.node_input(io.Combo, "anchor", options=list(ANCHORS), default=ANCHORS[0], advanced=True,
                                    tooltip="Scale every separate piece about its own centre, or the region as one.")],
            outputs=[LabelMapSocket.Output("label_map", tooltip="The changed label map."),
                     io.Mask.Output("changed", tooltip="Which pixels changed their label; 0 or 1.")])

    @classmethod
    def execute(cls, label_map: LabelMap, parts: str, operation: Operation, factor: float, pixels: int, move_x: int,
                move_y: int, new_part: str, anchor: Anchor) -> io.NodeOutput:
        changed, where = transform_region(label_map, split_names(parts), operation=operation, pixels=pixels,
                                          factor=factor, offset=(move_x, move_y), to=new_part.strip() or None,
                                          anchor=anchor)
        return io.NodeOutput(changed, sockets.to_mask(where))


class LabelMapPreview(io.ComfyNode):
    """A label map in colours, with the names of its parts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLabelMapPreview", display_name="Label Map Preview", category=CATEGORY, is_output_node=True,
            description="Shows a label map in its colours beside the names of its parts.",
            inputs=[LabelMapSocket.Input("label_map", tooltip="Label map to show."),
                    host.node_input(io.Float, "opacity", default=1.0, min=0.0, max=1.0, step=0.05,
                                    tooltip="Opacity of the labels over the picture; without a picture they are opaque."),
                    io.Image.Input("image", optional=True, tooltip="Picture to lay the labels over.")],
            outputs=[io.Image.Output("image", tooltip="The map with its legend, 0..1.")])

    @classmethod
    def execute(cls, label_map: LabelMap, opacity: float, image: torch.Tensor | None = None) -> io.NodeOutput:
        shown = with_legend(label_map, image, opacity=opacity)
        return io.NodeOutput(shown, ui=host.preview_images(shown, cls))


class CompareSheet(io.ComfyNode):
    """Before, after, their labels and the difference on one sheet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierCompareSheet", display_name="Compare Sheet", category=CATEGORY,
            description="Puts an edit on one captioned sheet: before, after, label maps and the difference, with the "
                        "edited region outlined.",
            inputs=[io.Image.Input("before", tooltip="Pictures before the edit."),
                    io.Image.Input("after", tooltip="Pictures after the edit."),
                    host.node_input(io.Int, "cell", default=192, min=32, max=1024,
                                    tooltip="Side of each picture on the sheet, in pixels."),
                    LabelMapSocket.Input("labels_before", optional=True, tooltip="Label map before the edit."),
                    LabelMapSocket.Input("labels_after", optional=True, tooltip="Label map asked for."),
                    io.Mask.Input("region", optional=True, tooltip="Edited region, outlined on the difference."),
                    io.Image.Input("original", optional=True, tooltip="The picture that was encoded.")],
            outputs=[io.Image.Output("sheet", tooltip="The sheet, 0..1.")])

    @classmethod
    def execute(cls, before: torch.Tensor, after: torch.Tensor, cell: int, labels_before: LabelMap | None = None,
                labels_after: LabelMap | None = None, region: torch.Tensor | None = None,
                original: torch.Tensor | None = None) -> io.NodeOutput:
        columns = [] if original is None else [("original", original[..., :3])]
        columns.append(("before", before[..., :3]))
        if labels_before is not None:
            columns.append(("parts", render(labels_before).cpu()))
        if labels_after is not None:
            columns.append(("parts asked", render(labels_after).cpu()))
        columns.append(("after", after[..., :3]))
        change = difference(before[..., :3], after[..., :3])
        columns.append(("difference", change if region is None else outlined(change, region)))
        return io.NodeOutput(contact_sheet(columns, cell=cell))


class PictureStrip(io.ComfyNode):
    """Pictures in rows of equal length on one sheet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierPictureStrip", display_name="Picture Strip", category=CATEGORY,
            description="Lays a batch of pictures out in rows, with a caption over each column.",
            inputs=[io.Image.Input("image", tooltip="Pictures, row by row."),
                    io.String.Input("captions", default="-1, 0, 1, 2", tooltip="Captions of the columns, separated by "
                                    "commas; their number is the number of columns."),
                    host.node_input(io.Int, "cell", default=192, min=32, max=1024,
                                    tooltip="Side of each picture on the sheet, in pixels.")],
            outputs=[io.Image.Output("sheet", tooltip="The sheet, 0..1.")])

    @classmethod
    def execute(cls, image: torch.Tensor, captions: str, cell: int) -> io.NodeOutput:
        names = split_names(captions) or [""]
        return io.NodeOutput(contact_sheet([(name, image[i::len(names), ..., :3]) for i, name in enumerate(names)],
                                           cell=cell))


NODES = [TransformLabelRegion, LabelMapPreview, CompareSheet, PictureStrip]
