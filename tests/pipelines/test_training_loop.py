"""State files, picture streams, and the loop: stop anywhere, go on, end with the same bits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError, TrainingDivergedError, TrainingStateError
from latent_atelier.pipelines.steps import StepInfo
from latent_atelier.pipelines.training.data import PictureArray, PictureFolder, PictureStream, seeded
from latent_atelier.pipelines.training.loop import CHECKPOINT, CURVES, LOSSES, Run, run
from latent_atelier.pipelines.training.state import load_state, save_state
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread")

LEAVES = st.none() | st.booleans() | st.integers(-2**40, 2**40) | st.floats(allow_nan=False) | st.text(max_size=9)
TENSORS = st.builds(lambda n, kind: torch.arange(n).to(kind).reshape(1, n) if n else torch.tensor(3).to(kind),
                    st.integers(0, 5), st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.uint8]))
STATES = st.dictionaries(st.text(max_size=5) | st.integers(0, 99), st.recursive(
    LEAVES | TENSORS, lambda part: st.lists(part, max_size=3) | st.tuples(part, part)
    | st.dictionaries(st.text(max_size=5) | st.integers(0, 99), part, max_size=3), max_leaves=8), max_size=4)


class Stopped(Exception):
    """Stands for a cancel."""


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return type(b) is dict and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


class Walk:
    """A random walk: the smallest job."""

    def __init__(self) -> None:
        self.place, self.rng, self.steps = torch.zeros(3), seeded(1), 0

    def step(self) -> dict[str, float]:
        self.place += torch.randn(3, generator=self.rng)
        self.steps += 1
        return {"distance": float(self.place.norm())} | ({"third": 1.0} if self.steps % 3 == 0 else {})

    def samples(self, count: int) -> torch.Tensor:
        return self.place.view(1, 1, 3, 1, 1).expand(1, count, 3, 2, 2)

    def state_dict(self) -> dict:
        return {"place": self.place, "rng": self.rng.get_state(), "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.place, self.steps = state["place"], state["steps"]
        self.rng.set_state(state["rng"])


def stop_at(step: int):
    def on_step(info: StepInfo) -> None:
        if info.step == step:
            raise Stopped

    return on_step


@settings(max_examples=60, deadline=None)
@given(state=STATES)
def test_states_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, state: dict) -> None:
    path = tmp_path_factory.mktemp("state") / CHECKPOINT
    save_state(path, state, {"a": 1})
    assert same(load_state(path, {"a": 1}), state)
    assert list(path.parent.iterdir()) == [path]


def test_states_of_others_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    save_state(path, {"x": torch.ones(4)}, {"batch": 8, "lr": 0.1})
    with pytest.raises(TrainingStateError, match=r"begun with batch 8, asked for is 16; use the same settings"):
        load_state(path, {"batch": 16, "lr": 0.1})
    with pytest.raises(TrainingStateError, match=r"begun with lr 0\.1, asked for is None"):
        load_state(path, {"batch": 8})
    whole = path.read_bytes()
    for cut in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(TrainingStateError, match="no readable state"):
            load_state(path, {"batch": 8, "lr": 0.1})
    with pytest.raises(TypeError, match=r"state\.x is a set"):
        save_state(path, {"x": {1}}, {})


@pytest.mark.parametrize("stops", [[1], [4, 5], [2, 7, 9]])
def test_stopping_changes_nothing(tmp_path: Path, stops: list[int]) -> None:
    """Neither the result, nor the log, nor the pictures written on the way."""
    whole, parts = Walk(), Walk()
    run(whole, Run(tmp_path / "whole", 10, {"seed": 1}, sample_every=4))
    for stop in stops:
        parts = Walk()
        with pytest.raises(Stopped):
            run(parts, Run(tmp_path / "parts", 10, {"seed": 1}, sample_every=4), on_step=stop_at(stop))
        assert load_state(tmp_path / "parts" / CHECKPOINT, {"seed": 1})["steps"] == stop, "within one step"
    parts = Walk()
    run(parts, Run(tmp_path / "parts", 10, {"seed": 1}, sample_every=4))
    assert torch.equal(whole.place, parts.place)
    files = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    assert sorted(files) == [CHECKPOINT, LOSSES, CURVES, *(f"samples_{n:07d}.png" for n in (4, 8, 10))]
    rows = [json.loads(line) for line in files[LOSSES].splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert [row["step"] for row in rows if "third" in row] == [3, 6, 9]


def test_a_killed_writer_is_forgiven(tmp_path: Path) -> None:
    """Lines after the checkpoint, and a torn one, are dropped and done again."""
    with pytest.raises(Stopped):
        run(Walk(), Run(tmp_path, 6), on_step=stop_at(3))
    with (tmp_path / LOSSES).open("a") as log:
        log.write('{"step": 4, "distance": 77}\n{"step": 5, "dist')
    run(Walk(), Run(tmp_path, 6))
    run(Walk(), Run(tmp_path / "whole", 6))
    assert (tmp_path / LOSSES).read_text() == (tmp_path / "whole" / LOSSES).read_text()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_training_stops_and_keeps_its_checkpoint(tmp_path: Path, value: float) -> None:
    class Diverging(Walk):
        def step(self) -> dict[str, float]:
            super().step()
            return {"distance": value if self.steps == 4 else 1.0}

    with pytest.raises(TrainingDivergedError, match=r"'distance' is (nan|inf) at step 4 of 9; begin anew"):
        run(Diverging(), Run(tmp_path, 9, save_seconds=0))
    assert load_state(tmp_path / CHECKPOINT, {})["steps"] == 3


def test_a_finished_training_goes_on_when_it_is_lengthened(tmp_path: Path) -> None:
    for total in (3, 3, 5):
        job = Walk()
        run(job, Run(tmp_path, total))
        assert job.steps == total
    whole = Walk()
    run(whole, Run(tmp_path / "whole", 5))
    assert torch.equal(job.place, whole.place)


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Image.new("RGB", (30, 20), "red").save(tmp_path / "b" / "wide.png")
    Image.new("RGBA", (8, 8), (0, 255, 0, 0)).save(tmp_path / "a.png")
    half = Image.new("RGB", (32, 16), "black")
    half.paste((255, 255, 255), (16, 0, 32, 16))
    half.save(tmp_path / "half.bmp")
    (tmp_path / "notes.txt").write_text("no picture")
    folder = PictureFolder(tmp_path, 16)
    assert folder.names == ["a.png", "b/wide.png", "half.bmp"]
    assert [tuple(folder[i].shape) for i in range(3)] == [(3, 16, 16)] * 3
    assert folder[0].flatten(1).float().mean(1).tolist() == [0, 255, 0]
    assert folder[1].flatten(1).float().mean(1).tolist() == [255, 0, 0]
    assert folder[2][0, :, :6].max() == 0, "the centre square"
    assert folder[2][0, :, 10:].min() == 255
    before = folder.digest
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n broken")
    assert PictureFolder(tmp_path, 16).digest != before
    with pytest.raises(InvalidInputError, match=r"c\.png .* cannot be read"):
        PictureFolder(tmp_path, 16)[2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no pictures"):
        PictureFolder(tmp_path / "empty", 16)
    with pytest.raises(InvalidInputError, match="no folder"):
        PictureFolder(tmp_path / "none", 16)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 7), batches=st.lists(st.integers(1, 5), min_size=1, max_size=6), cut=st.integers(0, 6),
       mirror=st.booleans())
def test_every_picture_is_seen_once_a_round(count: int, batches: list[int], cut: int, mirror: bool) -> None:
    """And a stream goes on from its state with the same pictures."""
    pictures = PictureArray(np.arange(count * 12, dtype=np.uint8).reshape(count, 2, 2, 3))
    stream = PictureStream(pictures, rng=seeded(5), mirror=mirror)
    seen, state = [], None
    for number, size in enumerate(batches):
        if number == cut:
            state = stream.state_dict()
        seen.append(stream.next(size))
    values = ((torch.cat(seen) + 1) * 127.5).round().amin(dim=(1, 2, 3)).long() // 12
    for start in range(0, len(values) - count + 1, count):
        assert sorted(values[start:start + count].tolist()) == list(range(count))
    if state is not None:
        other = PictureStream(pictures, rng=seeded(99), mirror=mirror)
        other.load_state_dict(state)
        assert all(torch.equal(other.next(size), old) for size, old in zip(batches[cut:], seen[cut:], strict=True))
