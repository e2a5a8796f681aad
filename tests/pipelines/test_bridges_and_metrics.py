"""Label maps to and from other forms, and the metrics, against arithmetic done another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError, LabelSetMismatchError
from latent_atelier.pipelines.label_bridges import edit_by_mask, from_segments, nearest_labels, parts_mask, to_segments
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette, render
from latent_atelier.pipelines.metrics import label_score, psnr

LABELS = LabelSet(("background", "tyre", "hub", "roof"), default_palette(4))


def random_map(seed: int, height: int = 12, width: int = 15, batch: int = 1) -> LabelMap:
    coarse = torch.randint(4, (batch, -(-height // 3), -(-width // 3)), generator=torch.Generator().manual_seed(seed))
    ids = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :height, :width]
    return LabelMap(ids.to(torch.uint8), LABELS)


seeds = st.integers(0, 10**6)
sizes = st.integers(1, 24)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, height=sizes, width=sizes)
def test_colours_and_segments_come_back(seed: int, height: int, width: int) -> None:
    label_map = random_map(seed, height, width)
    found, unmatched = nearest_labels(render(label_map), LABELS)
    assert torch.equal(found.ids, label_map.ids)
    assert not unmatched.any()
    blank = LabelMap(torch.zeros_like(label_map.ids), LABELS)
    for separate in (True, False):
        segments = to_segments(label_map, LABELS.names[1:], padding=2, separate=separate)
        painted, count = from_segments(segments, blank)
        assert count == len(segments[1])
        assert torch.equal(painted.ids, label_map.ids)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_painting_erasing_and_keeping_are_set_operations(seed: int) -> None:
    label_map = random_map(seed, batch=2)
    mask = (torch.rand(2, 12, 15, generator=torch.Generator().manual_seed(seed)) > 0.6).float()
    inside, own = mask > 0.5, label_map.ids == 1

    def has(operation: str) -> torch.Tensor:
        return parts_mask(edit_by_mask(label_map, mask, "tyre", operation), ["tyre"]).bool()

    assert torch.equal(has("paint"), own | inside)
    if not bool((own.flatten(1).all(dim=1)).any()):
        assert torch.equal(has("erase"), own & ~inside)
        assert torch.equal(has("keep"), own & inside)
        others = edit_by_mask(label_map, mask, "tyre", "erase").ids[~own]
        assert torch.equal(others, label_map.ids[~own])


def test_near_colours_match_and_far_ones_do_not() -> None:
    label_map = random_map(3)
    noisy = (render(label_map) + torch.randn(1, 12, 15, 3, generator=torch.Generator().manual_seed(1)) * 0.03).clamp(0, 1)
    found, unmatched = nearest_labels(noisy, LABELS)
    assert torch.equal(found.ids, label_map.ids)
    noisy[0, 2, 5] = torch.tensor([1.0, 1.0, 1.0])
    found, unmatched = nearest_labels(noisy, LABELS)
    assert unmatched.nonzero().tolist() == [[0, 2, 5]]
    assert found.ids[0, 2, 5] == 0
    with pytest.raises(InvalidInputError, match="RGB"):
        nearest_labels(torch.zeros(1, 4, 4, 4), LABELS)


def test_segments_say_where_they_are() -> None:
    ids = torch.zeros(1, 10, 12, dtype=torch.uint8)
    ids[0, 2:5, 3:6], ids[0, 7:9, 8:11] = 1, 1
    image = torch.rand(1, 10, 12, 3)
    (height, width), segments = to_segments(LabelMap(ids, LABELS), ["tyre"], image, padding=1)
    assert (height, width, len(segments)) == (10, 12, 2)
    assert [s.bbox for s in segments] == [[3, 2, 6, 5], [8, 7, 11, 9]]
    assert [s.crop_region for s in segments] == [[2, 1, 7, 6], [7, 6, 12, 10]]
    assert torch.equal(segments[0].cropped_image, image[:, 1:6, 2:7])
    assert segments[0].cropped_mask.shape == (5, 5)
    assert segments[0]._fields == ("cropped_image", "cropped_mask", "confidence", "crop_region", "bbox", "label",
                                   "control_net_wrapper")
    renamed = [s._replace(label="car", cropped_mask=torch.from_numpy(s.cropped_mask)[None]) for s in segments]
    blank = LabelMap(torch.zeros_like(ids), LABELS)
    assert from_segments(((10, 12), renamed), blank)[1] == 0
    painted, count = from_segments(((10, 12), renamed), blank, part="hub")
    assert count == 2
    assert torch.equal(painted.ids == 2, ids == 1)
    larger = LabelMap(torch.zeros(1, 20, 24, dtype=torch.uint8), LABELS)
    assert int((from_segments(((10, 12), segments), larger)[0].ids == 1).sum()) == pytest.approx(4 * 15, abs=12)


@pytest.mark.parametrize("segs", [None, 5, ((3, 4),), ((3, 4), [1]), ((3, "x"), [])])
def test_what_is_no_segs_is_refused(segs: object) -> None:
    with pytest.raises(InvalidInputError, match="no SEGS"):
        from_segments(segs, random_map(0))


def test_segments_that_do_not_fit_are_refused() -> None:
    (size, segments) = to_segments(random_map(4), ["tyre"])
    broken = [segments[0]._replace(crop_region=[0, 0, 99, 3])]
    with pytest.raises(InvalidInputError, match="does not fit"):
        from_segments((size, broken), random_map(0))
    with pytest.raises(InvalidInputError, match="one picture"):
        to_segments(random_map(0, batch=2), ["tyre"])
    with pytest.raises(InvalidInputError, match="same size"):
        edit_by_mask(random_map(0), torch.zeros(1, 3, 3), "tyre", "paint")


@settings(max_examples=30, deadline=None)
@given(a=seeds, b=seeds)
def test_miou_counts_pixels(a: int, b: int) -> None:
    found, truth = random_map(a, batch=2), random_map(b, batch=2)
    score = label_score(found, truth)
    x, y = found.ids.numpy(), truth.ids.numpy()
    expected = [np.sum((x == k) & (y == k)) / np.sum((x == k) | (y == k)) if np.any((x == k) | (y == k)) else np.nan
                for k in range(4)]
    assert np.allclose(score.per_label.numpy(), expected, equal_nan=True)
    assert score.mean == pytest.approx(np.nanmean(expected))
    assert score.accuracy == pytest.approx(np.mean(x == y))


def test_scores_of_other_labels_or_sizes_are_refused() -> None:
    other = LabelMap(torch.zeros(1, 12, 15, dtype=torch.uint8), LabelSet(("background", "nose"), default_palette(2)))
    with pytest.raises(LabelSetMismatchError):
        label_score(random_map(0), other)
    with pytest.raises(InvalidInputError, match="differ in shape"):
        label_score(random_map(0), random_map(0, 9, 9))


def test_psnr_by_hand() -> None:
    a = torch.full((2, 4, 4, 3), 0.5)
    b = a.clone()
    b[0] += 0.1
    assert psnr(a, b).tolist() == pytest.approx([20.0, 100.0], abs=1e-4)
    b[0, :2] = 0.5
    mask = torch.zeros(1, 4, 4)
    mask[:, 2:] = 1
    assert psnr(a, b).tolist()[0] == pytest.approx(20 + 10 * np.log10(2), abs=1e-4)
    assert psnr(a, b, mask).tolist()[0] == pytest.approx(20.0, abs=1e-4)
    with pytest.raises(InvalidInputError, match="no pixel"):
        psnr(a, b, torch.zeros(1, 4, 4))
    with pytest.raises(InvalidInputError, match="differ in shape"):
        psnr(a, b[:1])
