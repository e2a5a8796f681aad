"""Synthetic data: a labelled dataset drawn from a generator and its label branch."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ..pipelines.editgan.dataset import IMAGES, MASKS, DatasetSettings, export_dataset
from ..pipelines.label_png import from_png
from ..pipelines.labels import LabelMap
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from . import sockets
from .sockets import GeneratorSocket, LabelMapSocket, SegmenterSocket

SHOWN = 16


class ExportLabelledDataset(io.ComfyNode):
    """Pictures with part masks, as many as you like."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierExportLabelledDataset", display_name="Export Labelled Dataset", category="Atelier/Train",
            is_output_node=True,
            description="Draws pictures with a generator, labels them with its label branch, leaves out those that the "
                        "members of the ensemble disagree about most, and writes images, indexed masks and a JSON file. "
                        "Cancel at any time and queue again to go on.",
            search_aliases=["datasetgan", "coco", "synthetic data"],
            inputs=[GeneratorSocket.Input("generator", tooltip="Generator to draw from."),
                    SegmenterSocket.Input("segmenter", tooltip="Label branch trained for this generator."),
                    io.String.Input("folder", default="datasets/labelled", tooltip="Folder in the output folder."),
                    host.node_input(io.Int, "count", default=1000, min=1, max=1_000_000,
                                    tooltip="Samples to draw, the dropped ones included."),
                    host.node_input(io.Int, "seed", default=0, min=0, max=2**63 - 1, tooltip="Sample i is drawn from seed + i, "
                                    "whatever the count."),
                    host.node_input(io.Float, "psi", default=0.9, min=0.0, max=1.5, step=0.05,
                                    tooltip="Truncation: 0 is the average picture, 1 the full variety."),
                    host.node_input(io.Float, "drop", default=0.1, min=0.0, max=0.99, step=0.05,
                                    tooltip="Share of the samples to leave out, the most uncertain first."),
                    io.Boolean.Input("coco", default=False, tooltip="Write coco.json as well: one annotation per picture and "
                                     "part, as run lengths.")],
            outputs=[io.String.Output("folder", tooltip="Where the dataset is."),
                     io.Image.Output("image", tooltip=f"The first {SHOWN} pictures kept, 0..1."),
                     LabelMapSocket.Output("label_map", tooltip="Their part labels.")])

    @classmethod
    def execute(cls, generator: ModelHandle, segmenter: ModelHandle, folder: str, count: int, seed: int, psi: float,
                drop: float, coco: bool) -> io.NodeOutput:
        labels = segmenter.require_labels()
        network, branch = sockets.acquire_generator(generator), sockets.acquire_segmenter(segmenter)
        place = host.work_folder(folder)
        found = export_dataset(network, branch, labels, DatasetSettings(count=count, seed=seed, psi=psi, drop=drop, coco=coco),
                               place, on_step=host.Progress(count).on_step,
                               identity={"generator": generator.fingerprint, "segmenter": segmenter.fingerprint})
        pictures: list[torch.Tensor] = []
        masks: list[torch.Tensor] = []
        for number in found.kept[:SHOWN]:
            with Image.open(place / IMAGES / f"{number:06d}.png") as file:
                pictures.append(torch.from_numpy(np.array(file)).float() / 255)
            masks.append(from_png((place / MASKS / f"{number:06d}.png").read_bytes(), labels).ids)
        return io.NodeOutput(str(place), torch.stack(pictures), LabelMap(torch.cat(masks), labels))


NODES = [ExportLabelledDataset]
