"""The ensemble's disagreement in closed form, and the exported dataset read back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from latent_atelier.pipelines.editgan.dataset import (
    Dataset,
    DatasetSettings,
    dropped_samples,
    export_dataset,
    run_lengths,
    uncertainty,
)
from latent_atelier.pipelines.editgan.segmentation import Segmenter, disagreement
from latent_atelier.pipelines.errors import InvalidInputError, TrainingStateError
from latent_atelier.pipelines.label_png import from_png
from latent_atelier.pipelines.labels import LabelSet, default_palette
from latent_atelier.pipelines.steps import OnStep, StepInfo, ignore
from PIL import Image
from tiny import Networks

LABELS = LabelSet(("background", "a", "b", "c"), default_palette(4))


class Stopped(Exception):
    """Stands for a cancel."""


def constant_segmenter(probabilities: list[list[float]]) -> Segmenter:
    """Members that answer with these distributions whatever they see."""
    segmenter = Segmenter(feature_channels=(1,), num_classes=len(probabilities[0]), hidden=(2, 2),
                          members=len(probabilities)).eval()
    for member, p in zip(segmenter.classifiers(), probabilities, strict=True):
        for parameter in member.parameters():
            torch.nn.init.zeros_(parameter)
        member.layers[6].bias.data.copy_(torch.tensor(p).clamp(min=1e-30).log())
    return segmenter.requires_grad_(False)


@pytest.mark.parametrize(("probabilities", "expected"), [
    ([[0.2, 0.3, 0.5]] * 4, 0.0),
    ([[1.0, 0.0], [0.0, 1.0]], math.log(2)),
    ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], math.log(3)),
    ([[1.0, 0.0], [0.5, 0.5]], -0.75 * math.log(0.75) - 0.25 * math.log(0.25) - math.log(2) / 2),
    ([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], math.log(2)),
])
def test_disagreement_in_closed_form(probabilities: list[list[float]], expected: float) -> None:
    found = disagreement(constant_segmenter(probabilities), [torch.randn(2, 1, 4, 4)], (5, 6))
    assert found.shape == (2, 5, 6)
    assert torch.allclose(found, torch.full_like(found, expected), atol=1e-6)


def test_disagreement_is_the_textbook_sum(networks: Networks) -> None:
    features = networks.generator.synthesis(networks.codes(2))[1]
    members = [member(features, (16, 16), "bilinear").softmax(dim=1).double() for member in networks.segmenter.classifiers()]
    mean = torch.stack(members).mean(dim=0)
    divergence = torch.stack([(p * (p / mean).log()).sum(dim=1) for p in members]).mean(dim=0)
    found = disagreement(networks.segmenter, features)
    assert float(divergence.std()) > 1e-3
    assert torch.allclose(found.double(), divergence, atol=1e-5)


def test_uncertainty_is_the_mean_of_the_worst_tenth() -> None:
    differing = torch.arange(100.0)[torch.randperm(100, generator=torch.Generator().manual_seed(0))].view(1, 10, 10)
    assert uncertainty(differing, 0.1).tolist() == [np.mean(range(90, 100))]
    assert uncertainty(differing, 1.0).tolist() == [49.5]
    assert uncertainty(differing[:, :1, :1] * 0 + 7, 0.1).tolist() == [7]


@given(scores=st.lists(st.floats(0, 2), min_size=1, max_size=40), share=st.floats(0, 0.99))
def test_the_dropped_are_the_most_uncertain(scores: list[float], share: float) -> None:
    dropped = dropped_samples(scores, share)
    assert len(dropped) == int(share * len(scores))
    kept = [s for i, s in enumerate(scores) if i not in dropped]
    assert all(scores[i] >= max(kept) for i in dropped)


def decode(segmentation: dict) -> np.ndarray:
    """COCO's uncompressed RLE as its API reads it: runs of 0 and 1 in turn, column by column."""
    height, width = segmentation["size"]
    values = [value for i, count in enumerate(segmentation["counts"]) for value in [i % 2] * count]
    return np.array(values, dtype=bool).reshape(width, height).T


@given(data=st.data(), height=st.integers(1, 7), width=st.integers(1, 7))
def test_run_lengths_decode(data: st.DataObject, height: int, width: int) -> None:
    mask = torch.tensor(data.draw(st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=height,
                                           max_size=height)))
    encoded = run_lengths(mask)
    assert np.array_equal(decode(encoded), mask.numpy())
    assert all(n > 0 for n in encoded["counts"][1:])


def test_run_lengths_known() -> None:
    assert run_lengths(torch.tensor([[False, True], [False, True], [True, True]])) == {"size": [3, 2], "counts": [2, 4]}
    assert run_lengths(torch.tensor([[True, False]])) == {"size": [1, 2], "counts": [0, 1, 1]}


def export(networks: Networks, folder: Path, count: int = 10, on_step: OnStep = ignore, **options: object) -> Dataset:
    return export_dataset(networks.generator, networks.segmenter, LABELS, DatasetSettings(count=count, seed=7, **options),
                          folder, identity={"generator": "g"}, on_step=on_step)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_round_trip(networks: Networks, tmp_path: Path) -> None:
    found = export(networks, tmp_path, drop=0.2, coco=True)
    described = json.loads((tmp_path / "dataset.json").read_text())
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert len(found.kept) == len(described["samples"]) == len(coco["images"]) == 8
    assert LabelSet.from_json(described["labels"]) == LABELS
    assert described["generator"] == "g"
    masks = {}
    for number, sample in zip(found.kept, described["samples"], strict=True):
        z = torch.randn(1, 8, generator=torch.Generator().manual_seed(sample["seed"]))
        image, features = networks.generator.synthesis(networks.generator.map(z, psi=0.9))
        with Image.open(tmp_path / sample["image"]) as file:
            pixels = torch.from_numpy(np.array(file)).permute(2, 0, 1) / 127.5 - 1
        assert (pixels - image[0].clamp(-1, 1)).abs().max() <= 1 / 127.5
        ids = from_png((tmp_path / sample["mask"]).read_bytes()).ids
        assert torch.equal(ids, networks.segmenter.label_ids(features))
        masks[number] = ids[0].numpy()
    rebuilt = {image["id"]: np.zeros((16, 16), np.uint8) for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert names == dict(enumerate(LABELS.names[1:], start=1))
    assert len({annotation["id"] for annotation in coco["annotations"]}) == len(coco["annotations"])
    for annotation in coco["annotations"]:
        region = decode(annotation["segmentation"])
        rows, columns = np.nonzero(region)
        assert annotation["area"] == region.sum()
        assert annotation["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        rebuilt[annotation["image_id"]][region] = annotation["category_id"]
    assert all(np.array_equal(rebuilt[number], mask) for number, mask in masks.items())


def test_the_most_uncertain_are_left_out(networks: Networks, tmp_path: Path) -> None:
    found = export(networks, tmp_path, drop=0.3)
    assert len(found.dropped) == 3
    assert min(found.uncertainty[i] for i in found.dropped) > max(found.uncertainty[i] for i in found.kept)
    left = {f"{folder}/{number:06d}.png" for number in found.kept for folder in ("images", "masks")}
    assert set(files(tmp_path)) == left | {"dataset.json", ".scores.jsonl"}
    z = torch.stack([torch.randn(8, generator=torch.Generator().manual_seed(7 + i)) for i in range(10)])
    features = networks.generator.synthesis(networks.generator.map(z, psi=0.9))[1]
    scores = disagreement(networks.segmenter, features).flatten(1).sort(dim=1, descending=True).values[:, :25].mean(dim=1)
    assert torch.allclose(scores, torch.tensor(found.uncertainty), atol=1e-5)


@pytest.mark.parametrize("stops", [[1], [3, 4, 9]])
def test_interrupted_and_resumed_is_the_same(networks: Networks, tmp_path: Path, stops: list[int]) -> None:
    def stop_at(step: int) -> OnStep:
        def on_step(info: StepInfo) -> None:
            if info.step == step:
                raise Stopped

        return on_step

    export(networks, tmp_path / "whole", coco=True)
    for stop in stops:
        with pytest.raises(Stopped):
            export(networks, tmp_path / "parts", coco=True, on_step=stop_at(stop))
        assert not (tmp_path / "parts" / "dataset.json").exists()
        with (tmp_path / "parts" / ".scores.jsonl").open("a") as log:
            log.write('{"sample": 5, "unce')  # a killed writer
    export(networks, tmp_path / "parts", coco=True)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_more_samples_later_are_more_samples_at_once(networks: Networks, tmp_path: Path) -> None:
    """The dropped come back when they are among the best of the larger set; no sample changes."""
    for count in (5, 12):
        export(networks, tmp_path / "grown", count, drop=0.5)
    export(networks, tmp_path / "whole", 12, drop=0.5)
    assert files(tmp_path / "grown") == files(tmp_path / "whole")


def test_another_dataset_in_the_folder_is_refused(networks: Networks, tmp_path: Path) -> None:
    export(networks, tmp_path, 2)
    with pytest.raises(TrainingStateError, match=r"made with psi 0\.9, asked for is 0\.5"):
        export(networks, tmp_path, 2, psi=0.5)
    with pytest.raises(InvalidInputError, match="at least one sample"):
        DatasetSettings(count=0)
