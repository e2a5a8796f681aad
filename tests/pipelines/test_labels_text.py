"""The text form of label drawings: round trips, limits, damage."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError, LabelSetMismatchError
from latent_atelier.pipelines.label_text import (
    MAX_TEXT_LENGTH,
    LabelDrawing,
    LabelTextError,
    base_hash,
    decode_drawing,
    decode_label_map,
    draw_on,
    encode_drawing,
    encode_label_map,
)
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette

NAMES = ("background", "body", "Fenêtre", "hub")
LABELS = LabelSet(NAMES, default_palette(4))
BASE = "ab" * 32


def make_text(header: object, runs: bytes, version: str = "1") -> str:
    data = zlib.compress(json.dumps(header).encode() + b"\n" + runs)
    return f"atelier-labels:{version}:{base64.b64encode(data).decode()}"


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def pixels(*own: tuple[int, int], count: int | None = None) -> bytes:
    """(gap, code) of the pixels that do not follow from those before."""
    return b"".join(map(varint, [len(own) if count is None else count, *(g for g, _ in own), *(c for _, c in own)]))


HEADER = {"w": 3, "h": 2, "names": list(NAMES), "base": ""}


@st.composite
def drawings(draw) -> LabelDrawing:
    count, height, width = draw(st.sampled_from([1, 2, 4, 255, 256])), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    labels = LabelSet(("background", *map(str, range(1, count))), default_palette(count))
    ids = torch.randint(count, (height, width), generator=rng, dtype=torch.uint8)
    base = draw(st.sampled_from(["", BASE]))
    painted = torch.rand(height, width, generator=rng) < 0.5 if base else torch.ones(height, width, dtype=torch.bool)
    return LabelDrawing(torch.where(painted, ids, 0), painted, labels, base)


@settings(max_examples=60, deadline=None)
@given(drawings())
def test_round_trip(drawing) -> None:
    again = decode_drawing(encode_drawing(drawing))
    assert torch.equal(again.ids, drawing.ids)
    assert torch.equal(again.painted, drawing.painted)
    assert (again.labels, again.base) == (drawing.labels, drawing.base)


def test_the_documented_bytes() -> None:
    """Codes 1 1 4 / 2 2 4: the 1 is carried on; below, the 2 is carried on until the row above changes."""
    text = make_text(HEADER, b"\x03" + b"\x00\x01\x00" + b"\x01\x04\x02")
    assert decode_label_map(text).ids.tolist() == [[[0, 0, 3], [1, 1, 3]]]
    painted = decode_drawing(make_text(HEADER | {"base": BASE}, pixels((2, 4), (0, 2), (0, 0), (0, 0))))
    assert painted.painted.tolist() == [[False, False, True], [True, False, False]]
    assert painted.ids.tolist() == [[0, 0, 3], [1, 0, 0]]
    wide = make_text(HEADER | {"w": 301, "h": 1}, b"\x02" + b"\x00\xab\x02" + b"\x01\x02")  # the second after 299
    assert decode_label_map(wide).ids.tolist() == [[[0] * 300 + [1]]]


def test_a_large_map_is_short() -> None:
    y, x = torch.meshgrid(torch.arange(1024), torch.arange(1024), indexing="ij")
    ids = ((x - 500).square() + (y - 480).square() < 160_000).to(torch.uint8) * (1 + (x // 97 % 3)).to(torch.uint8)
    text = encode_label_map(LabelMap(ids[None], LABELS))
    assert len(text) < 50_000
    assert torch.equal(decode_label_map(text).ids[0], ids)


def test_drawing_on_a_base() -> None:
    base = LabelMap(torch.ones(1, 2, 3, dtype=torch.uint8), LABELS)
    text = make_text(HEADER | {"base": base_hash(base)}, pixels((2, 4), (0, 2), (0, 0), (0, 0)))
    drawing = decode_drawing(text)
    result, changed = draw_on(drawing, base)
    assert result.ids.tolist() == [[[1, 1, 3], [1, 1, 1]]]
    assert changed.tolist() == [[[False, False, True], [False, False, False]]]
    assert drawing.base == base_hash(base) != base_hash(result)
    with pytest.raises(InvalidInputError, match="3 x 2 pixels and the label map under it 3 x 1"):
        draw_on(drawing, LabelMap(base.ids[:, :1], LABELS))
    with pytest.raises(LabelSetMismatchError):
        draw_on(drawing, LabelMap(base.ids, LabelSet(("background", "b", "c", "d"), LABELS.colours)))
    with pytest.raises(LabelTextError, match="on top of a label map"):
        decode_label_map(text)


def test_base_hash_is_the_documented_one() -> None:
    label_map = LabelMap(torch.tensor([[[0, 1, 2]]], dtype=torch.uint8), LABELS)
    plain = "3x1\nbackground\nbody\nFenêtre\nhub\n".encode() + bytes([0, 1, 2])
    assert base_hash(label_map) == hashlib.sha256(plain).hexdigest()


@pytest.mark.parametrize(("text", "says"), [
    ("", "begins with"),
    ("hello", "begins with"),
    ("atelier-labels:", "version"),
    ("atelier-labels:2:AAAA", "version '2'"),
    ("atelier-labels:1:***", "base64"),
    ("atelier-labels:1:é", "base64"),
    ("atelier-labels:1:AAAA", "zlib"),
    ("atelier-labels:1:" + "A" * MAX_TEXT_LENGTH, "characters"),
    (make_text(HEADER | {"w": 0}, b""), "width is an integer"),
    (make_text(HEADER | {"w": True}, b""), "width is an integer"),
    (make_text(HEADER | {"h": 5000}, b""), "height is an integer"),
    (make_text(HEADER | {"h": 1.5}, b""), "height is an integer"),
    (make_text(HEADER | {"names": ["a"]}, b""), "labels in the label text"),
    (make_text(HEADER | {"base": "12"}, b""), "base in the label text"),
    (make_text([], b""), "no JSON object"),
    (make_text({**HEADER, "x": [[[[[[[[1]]]]]]]]}, b""), "no JSON object"),
    (make_text("x" * 70_000, b""), "no header"),
    ("atelier-labels:1:AAA=A", "base64"),
    ("atelier-labels:1:AAAA=", "base64"),
    (make_text(HEADER, b""), "as many pixels as it says"),
    (make_text(HEADER, pixels((0, 1), count=2)), "as many pixels as it says"),
    (make_text(HEADER, pixels((0, 1)) + b"\1"), "as many pixels as it says"),
    (make_text(HEADER, pixels((0, 1), (5, 2))), "paints outside its 3 x 2"),
    (make_text(HEADER, pixels((0, 1), (2, 5))), "uses id 4"),
    (make_text(HEADER, pixels((0, 65536))), "uses id 65535"),
    (make_text(HEADER, pixels((3, 1))), "names none"),
    (make_text(HEADER, pixels((0, 1)) + b"\x80"), "middle of a number"),
    (make_text(HEADER, b"\x80\x80\x80\x80\x01"), "middle of a number"),
    (make_text(HEADER, b"\0" * 23), "more than its 3 x 2"),
    (make_text(HEADER, b"\0" * 60_000_000), "more than its 3 x 2"),
])
def test_wrong_texts_are_refused_with_a_sentence(text, says) -> None:
    with pytest.raises(LabelTextError, match=says):
        decode_drawing(text)


def test_what_follows_the_stream_is_refused() -> None:
    data = zlib.compress(json.dumps(HEADER).encode() + b"\n" + pixels((0, 1)))
    for damaged in (data + b"x", data[:-2]):
        with pytest.raises(LabelTextError):
            decode_drawing("atelier-labels:1:" + base64.b64encode(damaged).decode())


GOOD = encode_drawing(LabelDrawing(torch.arange(48, dtype=torch.uint8).reshape(6, 8) % 4,
                                   torch.ones(6, 8, dtype=torch.bool), LABELS))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD) - 1), st.characters())
def test_damaged_text_raises_nothing_else(cut, place, character) -> None:
    for text in (GOOD[:cut], GOOD[:place] + character + GOOD[place + 1 :]):
        try:
            decode_drawing(text)
        except LabelTextError:
            continue


PACKED = zlib.decompress(base64.b64decode(GOOD.removeprefix("atelier-labels:1:")))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PACKED) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_inside_the_stream_raises_nothing_else(changes) -> None:
    data = bytearray(PACKED)
    for place, value in changes:
        data[place] = value
    try:
        decode_drawing("atelier-labels:1:" + base64.b64encode(zlib.compress(bytes(data))).decode())
    except LabelTextError:
        return


def test_wrong_drawings_are_refused() -> None:
    ids, all_of_it = torch.zeros(2, 2, dtype=torch.uint8), torch.ones(2, 2, dtype=torch.bool)
    for arguments in ((ids[None], all_of_it, LABELS), (ids + 4, all_of_it, LABELS), (ids, all_of_it[:1], LABELS),
                      (ids, all_of_it.int(), LABELS), (ids, ~all_of_it, LABELS), (ids, all_of_it, LABELS, "xyz")):
        with pytest.raises(InvalidInputError):
            LabelDrawing(*arguments)
    with pytest.raises(InvalidInputError, match="batch of 2"):
        encode_label_map(LabelMap(ids[None].repeat(2, 1, 1), LABELS))


def test_noise_is_too_detailed() -> None:
    rng = torch.Generator().manual_seed(1)
    labels = LabelSet(("background", *map(str, range(1, 256))), default_palette(256))
    ids = torch.randint(256, (1, 950, 950), generator=rng, dtype=torch.uint8)
    with pytest.raises(LabelTextError, match="too detailed"):
        encode_label_map(LabelMap(ids, labels))
