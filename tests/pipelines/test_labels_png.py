"""Label maps as PNG files."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError, LabelSetMismatchError
from latent_atelier.pipelines.label_png import LabelPictureError, from_png, to_png
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette, render
from PIL import Image, PngImagePlugin

LABELS = LabelSet(("background", "body", "Fenêtre", "hub"), ((1, 2, 3), (200, 30, 30), (40, 40, 40), (180, 180, 190)))
MAP = LabelMap(torch.arange(30, dtype=torch.uint8).reshape(1, 5, 6) % 4, LABELS)


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def picture(label_map: LabelMap) -> Image.Image:
    return Image.fromarray((render(label_map)[0] * 255).round().to(torch.uint8).numpy())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 256), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_round_trip(count, height, width, seed) -> None:
    labels = LabelSet(("background", *map(str, range(1, count))), default_palette(count))
    rng = torch.Generator().manual_seed(seed)
    label_map = LabelMap(torch.randint(count, (1, height, width), generator=rng, dtype=torch.uint8), labels)
    again = from_png(to_png(label_map))
    assert torch.equal(again.ids, label_map.ids)
    assert again.labels == labels


def test_the_file_is_indexed_and_has_the_palette() -> None:
    image = Image.open(io.BytesIO(to_png(MAP)))
    assert image.mode == "P"
    assert image.getpalette()[:12] == [value for colour in LABELS.colours for value in colour]
    assert Image.open(io.BytesIO(to_png(MAP))).convert("RGB").tobytes() == picture(MAP).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_exact_colours_are_read(mode) -> None:
    assert torch.equal(from_png(png(picture(MAP).convert(mode)), LABELS).ids, MAP.ids)


def test_a_reordered_palette_is_read_by_colour() -> None:
    image = Image.open(io.BytesIO(to_png(MAP))).remap_palette([3, 1, 0, 2])
    assert torch.equal(from_png(png(image), LABELS).ids, MAP.ids)


def test_foreign_indices() -> None:
    image = Image.fromarray(MAP.ids[0].numpy())
    image.putpalette([9, 9, 9] * 4)
    with pytest.raises(InvalidInputError, match="30 pixels whose colour belongs to no label"):
        from_png(png(image), LABELS)
    assert torch.equal(from_png(png(image), LABELS, by_index=True).ids, MAP.ids)
    fewer = LabelSet(LABELS.names[:3], LABELS.colours[:3])
    with pytest.raises(LabelPictureError, match="7 pixels of no label, the first at x 3, y 0 with index 3"):
        from_png(png(image), fewer, by_index=True)


def test_the_labels_of_the_file_and_those_asked_for() -> None:
    recoloured = LabelSet(LABELS.names, default_palette(4))
    assert from_png(to_png(MAP), recoloured).ids.equal(MAP.ids)
    with pytest.raises(LabelSetMismatchError):
        from_png(to_png(MAP), LabelSet(("background", "a", "b", "c"), LABELS.colours))
    with pytest.raises(LabelPictureError, match="says nothing about its labels"):
        from_png(png(picture(MAP)))


def test_pictures_that_are_no_label_maps() -> None:
    transparent = picture(MAP).convert("RGBA")
    transparent.putpixel((2, 1), (0, 0, 0, 0))
    broken = PngImagePlugin.PngInfo()
    broken.add_itxt("atelier.labels", "{")
    for data, says in ((b"", "not a readable PNG"), (to_png(MAP)[:60], "not a readable PNG"),
                       (png(Image.new("I;16", (3, 3))), "mode I;16"), (png(transparent), "1 transparent pixels"),
                       (png(picture(MAP), pnginfo=broken), "damaged label set"),
                       (png(Image.new("RGB", (9000, 1))), "9000 x 1 pixels")):
        with pytest.raises(LabelPictureError, match=says):
            from_png(data, LABELS, where="This file")
    with pytest.raises(LabelPictureError, match="no indexed PNG"):
        from_png(png(picture(MAP)), LABELS, by_index=True)
    with pytest.raises(InvalidInputError, match="batch of 2"):
        to_png(LabelMap(MAP.ids.repeat(2, 1, 1), LABELS))


GOOD = to_png(MAP)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD)), st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=3))
def test_damaged_files_raise_nothing_else(cut, changes) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    for damaged in (bytes(data), bytes(data[:cut])):
        try:
            from_png(damaged, LABELS)
        except (InvalidInputError, LabelSetMismatchError):
            continue
