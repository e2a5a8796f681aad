"""All nodes, in the order of the documentation."""

from __future__ import annotations

from ..runtime.host import io
from . import datasets, edit_vectors, editgan, label_maps, models, training

NODES: list[type[io.ComfyNode]] = [*models.NODES, *editgan.NODES, *label_maps.NODES, *edit_vectors.NODES,
                                   *training.NODES, *datasets.NODES]
