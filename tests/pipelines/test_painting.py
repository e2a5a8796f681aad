"""A drawing on the map it was painted on, on another one, and on none."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError, LabelSetMismatchError
from latent_atelier.pipelines.label_text import LabelDrawing, base_hash, encode_drawing, encode_label_map
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette
from latent_atelier.pipelines.painting import BaseChangedError, blank_map, paint

LABELS = LabelSet(("background", "body", "tyre"), default_palette(3))
BLANK = blank_map(LabelSet(("background", "sky"), default_palette(2)), 5, 4)


def label_map(value: int = 1, height: int = 3, width: int = 4) -> LabelMap:
    ids = torch.zeros(1, height, width, dtype=torch.uint8)
    ids[0, 0] = value
    return LabelMap(ids, LABELS)


def drawn_on(base: LabelMap) -> str:
    """The left column painted as tyre."""
    painted = torch.zeros(base.height, base.width, dtype=torch.bool)
    painted[:, 0] = True
    return encode_drawing(LabelDrawing(painted.byte() * 2, painted, base.labels, base_hash(base)))


def test_nothing_painted_is_the_map_itself() -> None:
    base = label_map()
    for under in (base, None):
        result = paint("", under, BLANK)
        assert result.label_map is (base if under else BLANK)
        assert (bool(result.changed.any()), result.edited) == (False, ())


def test_a_drawing_on_its_own_map() -> None:
    base = label_map()
    result = paint(drawn_on(base), base, BLANK)
    assert result.label_map.ids[0, :, 0].tolist() == [2, 2, 2]
    assert torch.equal(result.label_map.ids[..., 1:], base.ids[..., 1:])
    assert result.changed.sum() == 3
    assert result.edited == ("background", "body", "tyre")


def test_a_map_that_changed_is_refused_painted_on_or_taken_as_it_is() -> None:
    text, now = drawn_on(label_map(1)), label_map(0)
    with pytest.raises(BaseChangedError, match=r"another label map: its labels lie elsewhere now\. Choose 're-apply'"):
        paint(text, now, BLANK)
    again = paint(text, now, BLANK, "re-apply")
    assert again.label_map.ids[0, :, 0].tolist() == [2, 2, 2]
    assert again.edited == ("background", "tyre")
    assert paint(text, now, BLANK, "start anew").label_map is now


@pytest.mark.parametrize(("now", "says", "refusal"), [
    (label_map(1, 6, 4), "that one had 4 x 3 pixels, this one has 4 x 6", InvalidInputError),
    (LabelMap(label_map().ids, LabelSet(("background", "roof", "tyre"), default_palette(3))), "that one had other parts",
     LabelSetMismatchError),
    (None, "that map is no longer connected", BaseChangedError)])
def test_what_cannot_be_painted_on_is_said(now: LabelMap | None, says: str, refusal: type[Exception]) -> None:
    text = drawn_on(label_map(1))
    with pytest.raises(BaseChangedError, match=says):
        paint(text, now, BLANK)
    with pytest.raises(refusal):
        paint(text, now, BLANK, "re-apply")
    assert paint(text, now, BLANK, "start anew").label_map is (now or BLANK)


def test_a_drawing_without_a_map_brings_size_and_labels() -> None:
    whole = label_map(2)
    result = paint(encode_label_map(whole), None, BLANK)
    assert torch.equal(result.label_map.ids, whole.ids)
    assert (result.label_map.labels.names, result.changed.sum(), result.edited) == (LABELS.names, 4, ("background", "tyre"))
    with pytest.raises(BaseChangedError, match="painted without a map under it"):
        paint(encode_label_map(whole), label_map(1), BLANK)
    assert torch.equal(paint(encode_label_map(whole), label_map(1), BLANK, "re-apply").label_map.ids, whole.ids)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 4097)])
def test_blank_maps_have_a_size(width: int, height: int) -> None:
    with pytest.raises(InvalidInputError, match="1 to 4096 pixels a side"):
        blank_map(LABELS, width, height)
