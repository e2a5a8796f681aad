"""All nodes, in the order of the documentation."""

from __future__ import annotations

from ..runtime.host import io
from . import (
    datasets,
    denoisers,
    edit_vectors,
    editgan,
    editing,
    field_prior,
    field_views,
    host_model,
    import_checkpoint,
    label_bridges,
    label_maps,
    langevin,
    langevin_settings,
    metrics,
    models,
    paint_label_map,
    photographs,
    radiance_fields,
    train_denoiser,
    train_translators,
    training,
    translation,
)

NODES: list[type[io.ComfyNode]] = [
    node for module in (models, import_checkpoint, editgan, editing, photographs, paint_label_map, label_maps, label_bridges,
                        edit_vectors, translation, denoisers, langevin_settings, host_model, langevin, field_views,
                        radiance_fields, field_prior, metrics, training, train_translators, train_denoiser, datasets)
    for node in module.NODES]
