"""All nodes, in the order of the documentation."""

from __future__ import annotations

from ..runtime.host import io
from . import (
    datasets,
    edit_vectors,
    editgan,
    editing,
    label_bridges,
    label_maps,
    metrics,
    models,
    photographs,
    training,
)

NODES: list[type[io.ComfyNode]] = [node for module in (models, editgan, editing, photographs, label_maps, label_bridges,
                                                  edit_vectors, metrics, training, datasets)
                                   for node in module.NODES]
