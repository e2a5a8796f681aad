"""Painting a label map by hand. The painter itself is in web/painter."""

from __future__ import annotations

from typing import Any

import torch

from ..pipelines.label_text import base_hash, encode_label_map
from ..pipelines.labels import LabelMap, LabelSet
from ..pipelines.painting import WHEN_CHANGED, WhenChanged, blank_map, paint
from ..runtime import host
from ..runtime.host import io
from . import sockets
from .editing import split_names
from .sockets import LabelMapSocket

WIDGET = "ATELIER_LABEL_PAINTER"
DEFAULT_LABELS = "background, part 1, part 2, part 3"


class PaintLabelMap(io.ComfyNode):
    """Label maps painted in the node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierPaintLabelMap", display_name="Paint Label Map", category="Atelier/Label Maps",
            description="Paints parts on a label map with the mouse, a pen or a finger. The drawing is kept in the workflow, "
                        "as the difference to the map it was painted on. Run once to see that map and its picture.",
            search_aliases=["mask", "draw", "segmentation", "painter"], has_intermediate_output=True,
            inputs=[host.node_input(io.String, "drawing", default="", socketless=True, extra_dict={"widgetType": WIDGET},
                                    tooltip="The drawing, as text. The painter writes it."),
                    host.node_input(io.Combo, "when_base_changed", options=list(WHEN_CHANGED), default="refuse",
                                    tooltip="What happens when the label map is not the one that was painted on: an error, the "
                                            "same pixels painted on the new map, or nothing painted."),
                    io.String.Input("labels", default=DEFAULT_LABELS, tooltip="Without a label map: the parts, separated by "
                                    "commas, background first."),
                    host.node_input(io.Int, "width", default=512, min=8, max=4096,
                                    tooltip="Without a label map: its width in pixels."),
                    host.node_input(io.Int, "height", default=512, min=8, max=4096,
                                    tooltip="Without a label map: its height in pixels."),
                    LabelMapSocket.Input("label_map", optional=True, tooltip="The map to paint on, of one picture."),
                    io.Image.Input("image", optional=True, tooltip="The picture that is shown under the labels.")],
            outputs=[LabelMapSocket.Output("label_map", tooltip="The painted map."),
                     io.String.Output("edited_labels", tooltip="Parts that lost or gained pixels, separated by commas."),
                     io.Mask.Output("changed", tooltip="Which pixels have another label now; 0 or 1.")])

    @classmethod
    def execute(cls, drawing: str, when_base_changed: WhenChanged, labels: str, width: int, height: int,
                label_map: LabelMap | None = None, image: torch.Tensor | None = None) -> io.NodeOutput:
        names = split_names(labels) or ["background"]
        blank = blank_map(LabelSet.from_json({"names": names}), width, height)
        painted = paint(drawing, label_map, blank, when_base_changed)
        shown: dict[str, Any] = {"base": encode_label_map(painted.base), "connected": label_map is not None,
                                 "hash": "" if label_map is None else base_hash(painted.base)}
        if image is not None:
            shown["image"] = host.preview_picture(image[:1, ..., :3], cls)
        return io.NodeOutput(painted.label_map, ", ".join(painted.edited), sockets.to_mask(painted.changed),
                             ui={"atelier_painter": [shown]})


NODES = [PaintLabelMap]
