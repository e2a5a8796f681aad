"""The loop of synthetic data closes: a segmenter that saw only an export labels what the renderer drew."""

from __future__ import annotations

from pathlib import Path

import torch
from export_trained_segmenter import HELD_OUT_SEED, read_dataset, rendered, train_segmenter
from judge import mean_iou
from latent_atelier.demo.models import CAR_LABELS, load_demo
from latent_atelier.pipelines.editgan.dataset import DatasetSettings, export_dataset


def test_a_segmenter_trained_on_the_export_labels_renderings(tmp_path: Path) -> None:
    generator, segmenter = load_demo("stylegan2-generator").module, load_demo("editgan-segmenter").module
    export_dataset(generator, segmenter, CAR_LABELS, DatasetSettings(count=36), tmp_path)
    pictures, labels = read_dataset(tmp_path)
    assert len(pictures) == 33
    images, truth = rendered(HELD_OUT_SEED, 12)
    score, _ = mean_iou(train_segmenter(pictures, labels, 200).label_ids(images), truth)
    commonest, _ = mean_iou(torch.full_like(truth, int(truth.flatten().mode().values)), truth)
    assert commonest < 0.1
    assert score > 0.55
