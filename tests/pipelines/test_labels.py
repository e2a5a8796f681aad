"""LabelSet, LabelMap, colours."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError, LabelSetMismatchError
from latent_atelier.pipelines.labels import (
    LabelMap,
    LabelSet,
    default_palette,
    from_colours,
    match_colours,
    render,
    require_same_labels,
)

CAR = LabelSet(("background", "body", "tyre", "hub"), ((0, 0, 0), (200, 30, 30), (40, 40, 40), (180, 180, 190)))


def random_map(labels: LabelSet, *shape: int, seed: int = 0) -> LabelMap:
    rng = torch.Generator().manual_seed(seed)
    return LabelMap(torch.randint(len(labels), shape, generator=rng, dtype=torch.uint8), labels)


@pytest.mark.parametrize(("names", "colours", "says"), [
    ((), (), "1 to 256"),
    (("background",), (), "1 names and 0 colours"),
    (("background", "a", "a"), default_palette(3), "'a' more than once"),
    (("body", "background"), default_palette(2), "Label 0"),
    (("background", ""), default_palette(2), "name of label 1"),
    (("background", "two\nlines"), default_palette(2), "name of label 1"),
    (("background", "x" * 65), default_palette(2), "name of label 1"),
    (("background", "a"), ((0, 0, 0), (0, 0, 256)), "colour of label 'a'"),
    (("background", "a"), ((0, 0, 0), (0, True, 2)), "colour of label 'a'"),
    (("background", "a"), ((0, 0, 0), (0, 0.5, 2)), "colour of label 'a'"),
    (tuple(["background", *map(str, range(256))]), default_palette(257), "got 257"),
])
def test_wrong_label_sets_are_refused(names, colours, says) -> None:
    with pytest.raises(InvalidInputError, match=says):
        LabelSet(names, colours)


def test_index_and_indices() -> None:
    assert len(CAR) == 4
    assert CAR.index("hub") == 3
    assert CAR.indices(["hub", "body", "hub"]) == (1, 3)
    with pytest.raises(InvalidInputError, match=r"no label 'wing'.*background, body, tyre, hub"):
        CAR.index("wing")


def test_json_round_trip() -> None:
    assert LabelSet.from_json(json.loads(json.dumps(CAR.to_json()))) == CAR
    assert LabelSet.from_json({"names": ["background", "a"]}).colours == default_palette(2)


@pytest.mark.parametrize("value", [
    None, 3, [], {}, {"names": "background"}, {"names": [1]}, {"names": []}, {"names": [["background"]]},
    {"names": ["background"], "colours": 3}, {"names": ["background"], "colours": ["red"]},
    {"names": ["background"], "colours": [[1, 2]]}, {"names": ["background"] * 100_000},
])
def test_wrong_json_is_refused(value) -> None:
    with pytest.raises(InvalidInputError):
        LabelSet.from_json(value)


@pytest.mark.parametrize("count", [1, 2, 34, 256])
def test_default_palette_is_distinct(count) -> None:
    palette = default_palette(count)
    assert len(set(palette)) == count
    assert palette[0] == (0, 0, 0)
    assert palette == default_palette(256)[:count]


@pytest.mark.parametrize("ids", [
    torch.zeros(1, 4, 4), torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(1, 0, 4, dtype=torch.uint8),
    torch.full((1, 4, 4), 4, dtype=torch.uint8),
])
def test_wrong_label_maps_are_refused(ids) -> None:
    with pytest.raises(InvalidInputError):
        LabelMap(ids, CAR)


def test_samples() -> None:
    label_map = random_map(CAR, 3, 5, 7)
    assert (len(label_map), label_map.height, label_map.width) == (3, 5, 7)
    assert torch.equal(label_map.sample(1).ids, label_map.ids[1:2])
    with pytest.raises(InvalidInputError, match="samples 0 to 2"):
        label_map.sample(3)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 256), st.integers(0, 2**31))
def test_colours_round_trip(count, seed) -> None:
    labels = LabelSet(("background", *map(str, range(1, count))), default_palette(count))
    label_map = random_map(labels, 2, 9, 11, seed=seed)
    picture = render(label_map)
    assert picture.shape == (2, 9, 11, 3)
    assert picture.dtype == torch.float32
    assert torch.equal(from_colours(picture, labels).ids, label_map.ids)
    assert torch.equal(from_colours((picture * 255).round().to(torch.uint8), labels).ids, label_map.ids)


def test_unknown_colours_are_counted_and_located() -> None:
    picture = render(random_map(CAR, 2, 6, 8))
    picture[1, 3, 5] = torch.tensor([1.0, 0.0, 1.0])
    picture[1, 4, 0] = torch.tensor([3.0, -2.0, 1e30])
    unmatched = match_colours(picture, CAR)[1]
    assert unmatched.nonzero().tolist() == [[1, 3, 5], [1, 4, 0]]
    with pytest.raises(InvalidInputError, match=r"The mask has 2 pixels.*x 5, y 3 of sample 1 .*\(255, 0, 255\)"):
        from_colours(picture, CAR, where="The mask")


@pytest.mark.parametrize("image", [
    torch.zeros(4, 4, 3), torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 3, dtype=torch.int32),
    torch.full((1, 4, 4, 3), float("nan")), torch.zeros(1, 0, 4, 3),
])
def test_wrong_pictures_are_refused(image) -> None:
    with pytest.raises(InvalidInputError):
        from_colours(image, CAR)


def test_shared_colours_cannot_be_read() -> None:
    labels = LabelSet(("background", "a", "b"), ((0, 0, 0), (9, 9, 9), (9, 9, 9)))
    with pytest.raises(InvalidInputError, match="'a' and 'b' share"):
        from_colours(torch.zeros(1, 2, 2, 3), labels)


def test_require_same_labels() -> None:
    recoloured = LabelSet(CAR.names, default_palette(4))
    require_same_labels(CAR, recoloured, "Here")
    with pytest.raises(LabelSetMismatchError, match="Here must name the same parts, got 'hub' and 'rim' as label 3"):
        require_same_labels(CAR, LabelSet((*CAR.names[:3], "rim"), CAR.colours), "Here")
    with pytest.raises(LabelSetMismatchError, match=r"got 4 \(background, .*\) and 1 labels \(background\)"):
        require_same_labels(CAR, LabelSet(("background",), ((0, 0, 0),)), "Here")
