"""The registry with a toy architecture: round trips, and every way a file can be wrong."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.checkpoints.architecture import Architecture, Config, Hints, Layout
from latent_atelier.checkpoints.errors import (
    BadTensorError,
    CheckpointError,
    LayoutError,
    MetadataError,
    UnknownArchitectureError,
    UnreadableFileError,
)
from latent_atelier.checkpoints.registry import (
    ARCHITECTURES,
    inspect,
    load_checkpoint,
    save_checkpoint,
)
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.labels import LabelSet, default_palette
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class Toy(nn.Module):
    """A linear layer, a counter, and a slope that no shape shows."""

    def __init__(self, *, width: int, slope: float | None = None) -> None:
        super().__init__()
        if width > 100:
            raise InvalidInputError(f"A toy is at most 100 wide, got {width}.")
        self.slope = slope
        self.layer = nn.Linear(width, 2)
        self.dropout = nn.Dropout()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scratch", torch.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.layer(x)) * (self.slope or 1.0) * self.scratch.sum()


def read_toy(layout: Layout, hints: Hints) -> Config:
    return {"width": layout.size("layer.weight", 1), "slope": hints.optional_positive("slope")}


TOY = Architecture("toy", ("layer.weight", "steps"), read_toy, lambda config: Toy(**config))
OTHER = Architecture("other", ("other.weight",), read_toy, lambda config: nn.ModuleDict({"other": nn.Linear(2, 2)}))
TOYS = (TOY, OTHER)
LABELS = LabelSet(("background", "Fenêtre"), default_palette(2))


def save(path: Path, module: nn.Module | None = None, **options: object) -> str:
    torch.manual_seed(5)
    module = module or Toy(width=4, slope=0.5)
    return save_checkpoint(path, module, **{"architecture": "toy", "config": {"slope": 0.5}, "architectures": TOYS}
                           | options)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    save(tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def rewrite(path: Path, change: dict[str, Tensor | None] | None = None, **metadata: str | None) -> None:
    """The file with some tensors or metadata (underscore for dot) replaced, or left out where None."""
    with safe_open(path, "pt") as file:
        meta = dict(file.metadata())
    tensors = {k: v for k, v in (load_file(path) | (change or {})).items() if v is not None}
    meta |= {"atelier." + key: value for key, value in metadata.items()}
    save_file(tensors, path, metadata={k: v for k, v in meta.items() if v is not None})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "toy.safetensors"
    module = Toy(width=4, slope=0.5)
    module.steps += 7
    written = save(path, module, labels=LABELS, license="MIT", source_sha256="ab" * 32)
    loaded = load_checkpoint(path, architectures=TOYS)
    assert (loaded.architecture, loaded.config) == ("toy", {"width": 4, "slope": 0.5})
    assert (loaded.labels, loaded.license, loaded.source_sha256) == (LABELS, "MIT", "ab" * 32)
    assert (loaded.path, loaded.fingerprint) == (path, written)
    assert not loaded.module.training
    assert not any(p.requires_grad for p in loaded.module.parameters())
    assert loaded.module.steps == 7
    x = torch.randn(3, 4)
    assert torch.equal(loaded.module(x), module.eval()(x))
    assert module.layer.weight.requires_grad
    assert [p.name for p in path.parent.iterdir()] == ["toy.safetensors"]


def test_inspect_reads_the_same_facts(good: Path) -> None:
    info, loaded = inspect(good, architectures=TOYS), load_checkpoint(good, architectures=TOYS)
    assert (info.architecture, info.config, info.path) == (loaded.architecture, loaded.config, loaded.path)
    assert info.labels is info.license is info.source_sha256 is None


def test_the_documented_fingerprint(good: Path) -> None:
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(good).items()):
        code = "I64" if name == "steps" else "F32"
        digest.update(f"{name}\0{code}\0{','.join(map(str, tensor.shape))}\0".encode() + tensor.numpy().tobytes())
    before = load_checkpoint(good, architectures=TOYS).fingerprint
    assert before == digest.hexdigest()
    rewrite(good, license="other words")
    assert load_checkpoint(good, architectures=TOYS).fingerprint == before
    rewrite(good, {"layer.bias": torch.zeros(2)})
    assert load_checkpoint(good, architectures=TOYS).fingerprint != before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "toy.safetensors"
    module = Toy(width=4)
    written = save(path, module, config=None, dtype=dtype)
    assert load_file(path)["layer.weight"].dtype == dtype
    assert load_file(path)["steps"].dtype == torch.int64
    loaded = load_checkpoint(path, architectures=TOYS)
    assert loaded.module.layer.weight.dtype == torch.float32
    assert torch.equal(loaded.module.layer.weight, module.layer.weight.to(dtype).float())
    assert loaded.fingerprint == written


def test_without_metadata_the_tensors_tell(good: Path) -> None:
    rewrite(good, architecture=None, config=None)
    loaded = load_checkpoint(good, architectures=TOYS)
    assert (loaded.architecture, loaded.config) == ("toy", {"width": 4, "slope": None})


def test_loading_leaves_no_trace(good: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with torch.inference_mode():
        loaded = load_checkpoint(good, architectures=TOYS)
    assert torch.equal(torch.rand(3), expected)
    assert not any(t.is_inference() for t in loaded.module.state_dict().values())


def test_a_loaded_network_does_not_hang_on_its_file(good: Path) -> None:
    loaded = load_checkpoint(good, architectures=TOYS)
    before = loaded.module.layer.weight.clone()
    good.write_bytes(b"\xff" * good.stat().st_size)
    assert torch.equal(loaded.module.layer.weight, before)


@pytest.mark.parametrize(("change", "metadata", "error", "says"), [
    ({"layer.bias": None}, {}, LayoutError, r"1 missing \('layer.bias'\)"),
    ({"extra": torch.ones(1)}, {}, LayoutError, r"1 unexpected \('extra'\)"),
    ({f"x{i}": torch.ones(1) for i in range(9)}, {}, LayoutError, r"9 unexpected \('x0', 'x1', 'x2', 'x3', \.\.\.\)"),
    ({"layer.bias": torch.ones(3)}, {}, LayoutError, r"'layer.bias' has shape \[3\], expected \[2\]"),
    ({"layer.weight": torch.ones(3)}, {}, LayoutError, "one dimension short"),
    ({"layer.weight": None}, {}, LayoutError, "'layer.weight' is missing"),
    ({"layer.weight": torch.ones(2, 101)}, {"config": None}, LayoutError, "at most 100 wide"),
    ({"layer.weight": torch.ones(2, 0)}, {}, BadTensorError, "sizes from 1"),
    ({"layer.weight": torch.full((2, 4), float("nan"))}, {}, BadTensorError, "'layer.weight' holds 8 values"),
    ({"layer.bias": torch.tensor([1.0, float("inf")])}, {}, BadTensorError, "'layer.bias' holds 1 values"),
    ({"layer.bias": torch.tensor([1.0, 1e300], dtype=torch.float64)}, {}, BadTensorError, "too large for float32"),
    ({"layer.bias": torch.ones(2, dtype=torch.int64)}, {}, BadTensorError, "number type I64, expected a floating"),
    ({"steps": torch.ones(())}, {}, BadTensorError, "number type F32, expected an integer"),
    ({"layer.bias": torch.ones(2).to(torch.float8_e4m3fn)}, {}, BadTensorError, "number type F8_E4M3"),
    ({"layer.weight": None}, {"architecture": None}, UnknownArchitectureError, "toy, other"),
    ({"other.weight": torch.ones(1)}, {"architecture": None}, UnknownArchitectureError, "no network"),
    ({}, {"architecture": "stylegan9"}, UnknownArchitectureError, "'stylegan9'"),
    ({}, {"architecture": "other"}, LayoutError, "no other as this version"),
    ({}, {"config": "{"}, MetadataError, "not JSON"),
    ({}, {"config": "[" * 100_000}, MetadataError, "not JSON"),
    ({}, {"config": "[]"}, MetadataError, "JSON object"),
    ({}, {"config": '{"width": 5}'}, MetadataError, "width = 5, its tensors say 4"),
    ({}, {"config": '{"depth": 5}'}, MetadataError, "unknown option 'depth'"),
    ({}, {"config": '{"slope": NaN}'}, MetadataError, "'slope' is a positive number"),
    ({}, {"config": '{"slope": "x"}'}, MetadataError, "'slope' is a positive number"),
    ({}, {"config": '{"a": "' + "x" * 2**20 + '"}'}, MetadataError, "characters"),
    ({}, {"labels": "3"}, MetadataError, "labels in its metadata"),
    ({}, {"labels": '{"names": ["a"]}'}, MetadataError, "Label 0"),
    ({}, {"source_sha256": "nope"}, MetadataError, "SHA-256"),
])
def test_wrong_files_are_refused_with_a_sentence(good: Path, change, metadata, error, says) -> None:
    rewrite(good, change, **metadata)
    with pytest.raises(error, match=says) as caught:
        load_checkpoint(good, architectures=TOYS)
    assert "toy.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_safetensors(tmp_path: Path, good: Path) -> None:
    whole = good.read_bytes()
    cases = {"empty": b"", "text": b"hello, this is not a tensor", "short": whole[:-1], "long": whole + b"x",
             "pickle": b"\x80\x04}\x94.", "huge header": struct.pack("<Q", 2**60) + b"{}",
             "overflow": struct.pack("<Q", 80) + json.dumps(
                 {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}).encode().ljust(80) + b"1234"}
    for name, data in cases.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        for read in (inspect, load_checkpoint):
            with pytest.raises(UnreadableFileError, match=r"no whole safetensors file .*atelier weights convert"):
                read(path)
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(UnreadableFileError, match="no weights file"):
            load_checkpoint(path)


@pytest.mark.parametrize(("options", "error", "says"), [
    ({"architecture": "nothing"}, UnknownArchitectureError, "'nothing'"),
    ({"architecture": "other"}, LayoutError, "no other"),
    ({"config": {"slope": -1}}, MetadataError, "positive"),
    ({"config": {"width": 9}}, MetadataError, "width = 9"),
    ({"config": {"slope": float("nan")}}, MetadataError, "plain JSON"),
    ({"config": {"slope": object()}}, MetadataError, "plain JSON"),
    ({"source_sha256": "x"}, MetadataError, "SHA-256"),
    ({"module": nn.Linear(2, 2)}, LayoutError, "missing"),
])
def test_what_cannot_be_read_is_not_written(tmp_path: Path, options, error, says) -> None:
    with pytest.raises(error, match=says):
        save(tmp_path / "toy.safetensors", **options)
    assert list(tmp_path.iterdir()) == []


def test_diverged_and_overflowing_weights_are_not_written(good: Path) -> None:
    before = good.read_bytes()
    module = Toy(width=4)
    module.layer.weight.data[1, 2] = 1e6
    with pytest.raises(BadTensorError, match=r"'layer.weight' holds 1 values that are NaN or too large for float16"):
        save(good, module, dtype=torch.float16)
    module.layer.weight.data[1, 2] = torch.nan
    with pytest.raises(BadTensorError, match="float32"):
        save(good, module)
    module.layer.weight = nn.Parameter(torch.zeros(2, 4, dtype=torch.complex64))
    with pytest.raises(BadTensorError, match="complex64"):
        save(good, module)
    assert good.read_bytes() == before


def test_a_failed_write_leaves_the_old_file(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = good.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(CheckpointError, match=r"could not be written.*no space left"):
        save(good, Toy(width=5, slope=0.5))
    assert good.read_bytes() == before
    assert [p.name for p in good.parent.iterdir()] == ["toy.safetensors"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "toy.safetensors"
    save(path, labels=LABELS)
    return path


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_damaged_bytes_raise_nothing_else(whole: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    place = st.integers(0, len(content) - 1) | st.integers(0, 400)
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4)):
        content[at] = value
    content = content[: data.draw(st.sampled_from([len(content)] * 3 + [len(content) // 2, 9, len(content) - 1]))]
    path = whole.with_name("damaged.safetensors")
    path.write_bytes(bytes(content))
    try:
        assert load_checkpoint(path, architectures=TOYS).architecture == "toy"
    except CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_layout() -> None:
    layout = Layout({"b4.x": (1, 2), "b8.x": (1,), "b08.x": (1,), "fc0.w": (1,), "fc2.w": (1,)})
    assert layout.numbers("b{n}.x") == [4, 8]
    with pytest.raises(LayoutError, match=r"fc1\.w"):
        layout.count("fc{n}.w")
    assert layout.count("none{n}") == 0


def test_hints() -> None:
    hints = Hints({"a": 3, "b": None, "c": True, "d": [1, 2], "e": [1, 0]})
    assert hints.integer("a", 1, low=1, high=3) == 3
    assert hints.integer("x", 1, low=1, high=3) == 1
    assert hints.optional_integer("b", 4, low=1, high=9) is None
    assert hints.optional_integer("x", 4, low=1, high=9) == 4
    assert hints.optional_integer("x", None, low=1, high=9) is None
    assert hints.integers("d") == [1, 2]
    for key in ("a", "c"):
        with pytest.raises(MetadataError):
            hints.integer(key, 1, low=1, high=2)
    for key in ("e", "a", "x"):
        with pytest.raises(MetadataError):
            hints.integers(key)


def test_names_and_marks_of_the_architectures_are_distinct() -> None:
    names = [architecture.name for architecture in ARCHITECTURES]
    assert len(set(names)) == len(names)
