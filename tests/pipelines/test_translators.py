"""FUNIT's and UNIT's trainings: data with faults, penalties, and going on to the same result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError, TrainingStateError
from latent_atelier.pipelines.funit.data import ClassArray, ClassFolder, ClassStream
from latent_atelier.pipelines.funit.network import Translator
from latent_atelier.pipelines.funit.training import FunitRecipe, FunitSettings, FunitTrainer, build_networks, train_funit
from latent_atelier.pipelines.steps import StepInfo
from latent_atelier.pipelines.training.data import (
    PictureArray,
    PictureFolder,
    PictureStream,
    decode,
    first_pictures,
    seeded,
)
from latent_atelier.pipelines.training.loop import LOSSES
from latent_atelier.pipelines.unit.shared import SharedRecipe, SharedSettings, train_shared
from latent_atelier.pipelines.unit.training import UnitRecipe, UnitSettings, train_unit
from PIL import Image


def class_folder(root: Path, classes: int = 3, pictures: int = 4) -> Path:
    rng = np.random.default_rng(0)
    for c in range(classes):
        (root / f"class {c}").mkdir(parents=True)
        for i in range(pictures):
            Image.fromarray(rng.integers(0, 255, (40 + 3 * i, 50, 3), dtype=np.uint8)).save(root / f"class {c}" / f"{i}.png")
    return root


def test_classes_are_folders_in_order(tmp_path: Path) -> None:
    pictures = ClassFolder(class_folder(tmp_path / "data"), 32)
    assert pictures.classes == ["class 0", "class 1", "class 2"]
    images, labels = ClassStream(pictures, rng=seeded(0)).next(12)
    assert images.shape == (12, 3, 32, 32)
    assert labels.bincount().tolist() == [4, 4, 4]


def test_odd_pictures_are_taken_and_bad_ones_counted(tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "data", pictures=1)
    Image.fromarray(np.full((50, 60), 4000, np.uint16)).save(folder / "class 0" / "sixteen.png")
    Image.new("RGBA", (40, 40), (1, 2, 3, 4)).save(folder / "class 0" / "alpha.png")
    Image.new("L", (33, 80)).save(folder / "class 1" / "grey.png")
    (folder / "class 1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    whole = (folder / "class 0" / "0.png").read_bytes()
    (folder / "class 2" / "cut.png").write_bytes(whole[:len(whole) // 2])
    Image.new("1", (20000, 20)).save(folder / "class 2" / "huge.png")
    stream = ClassStream(ClassFolder(folder, 32), rng=seeded(0))
    stream.next(30)
    assert sorted(stream.pictures.files[i].name for i in stream.skipped) == ["broken.png", "cut.png", "huge.png"]


def test_a_class_is_shown_by_several_pictures(tmp_path: Path) -> None:
    """Class c's pictures have the grey values 60 c to 60 c + 3. One of them cannot be read: another stands for it."""
    for c in range(3):
        (tmp_path / f"class {c}").mkdir()
        for i in range(4):
            Image.new("L", (32, 32), 60 * c + i).save(tmp_path / f"class {c}" / f"{i}.png")
    (tmp_path / "class 1" / "2.png").write_bytes(b"no picture")
    stream = ClassStream(ClassFolder(tmp_path, 32), rng=seeded(3))
    images, labels = stream.next_shots(24, 5)
    assert images.shape == (24, 5, 3, 32, 32)
    values = ((images.mean(dim=(2, 3, 4)) + 1) * 127.5).round().int()
    assert torch.equal(values // 60, labels[:, None].expand(-1, 5).int())
    assert sorted(set(values.flatten().tolist())) == [0, 1, 2, 3, 60, 61, 63, 120, 121, 122, 123]
    assert stream.skipped == {6}
    assert (values[:, 1:] != values[:, :1]).any(dim=1).sum() > 20


def test_one_picture_of_a_class_is_the_same_stream() -> None:
    one, several = (ClassStream(classes(), rng=seeded(5)) for _ in range(2))
    for _ in range(3):
        (a, labels), (b, same) = one.next(4), several.next_shots(4, 1)
        assert torch.equal(a, b[:, 0])
        assert torch.equal(labels, same)


def test_folders_that_cannot_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="There is no folder"):
        ClassFolder(tmp_path / "none", 32)
    with pytest.raises(InvalidInputError, match="holds 1 classes; it needs at least 2"):
        ClassFolder(class_folder(tmp_path / "one", classes=1), 32)
    empty = class_folder(tmp_path / "empty", classes=2)
    (empty / "class 9").mkdir()
    with pytest.raises(InvalidInputError, match=r"class 9 holds no pictures; add some or remove"):
        ClassFolder(empty, 32)
    for path in (bad := class_folder(tmp_path / "bad", classes=2)).rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(InvalidInputError, match="None of the pictures"):
        ClassStream(ClassFolder(bad, 32), rng=seeded(0)).next(1)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    """A plain conversion would clip everything above 255 to white."""
    Image.fromarray(np.full((40, 40), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert int(decode(tmp_path / "deep.png", 32).float().mean()) == 128


def bad_domain(folder: Path) -> Path:
    """Two pictures that can be read among five files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("good.png", "other.png"):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    whole = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:len(whole) // 2])
    (folder / "broken.jpg").write_bytes(b"no picture")
    Image.new("1", (20000, 20)).save(folder / "huge.png")
    return folder


def test_a_domain_goes_on_without_its_bad_pictures_and_counts_them(tmp_path: Path) -> None:
    pictures = PictureFolder(bad_domain(tmp_path / "a"), 32)
    stream = PictureStream(pictures, rng=seeded(0))
    assert stream.next(20).shape == (20, 3, 32, 32)
    assert sorted(pictures.names[i] for i in stream.skipped) == ["broken.jpg", "cut.png", "huge.png"]
    again = PictureStream(pictures, rng=seeded(1))
    again.load_state_dict(stream.state_dict())
    assert torch.equal(again.next(5), stream.next(5))
    assert first_pictures(pictures, 8).shape == (2, 3, 32, 32)
    told: list[float] = []
    train_unit(pictures, pictures, small_unit(batch=4), tmp_path / "run", sample_every=0,
               on_step=lambda info: told.append(info.losses["skipped"]))
    assert told[-1] == 6


def test_domains_that_cannot_be_trained_on_stop_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no pictures"):
        PictureFolder(tmp_path / "empty", 32)
    bad = bad_domain(tmp_path / "bad")
    for name in ("good.png", "other.png"):
        (bad / name).unlink()
    with pytest.raises(InvalidInputError, match="None of the pictures to train on can be read"):
        train_unit(PictureFolder(bad, 32), PictureFolder(bad, 32), small_unit(), tmp_path / "run", sample_every=0)
    assert not (tmp_path / "run").exists()


def test_a_training_is_not_gone_on_with_on_fewer_classes(tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "data", pictures=1)
    train_funit(ClassFolder(folder, 32), small_funit(steps=1), tmp_path / "run", sample_every=0)
    (folder / "class 1" / "0.png").unlink()
    (folder / "class 1").rmdir()
    with pytest.raises(TrainingStateError, match=r"begun with classes of 3 names, asked for are 2, without class 1; use"):
        train_funit(ClassFolder(folder, 32), small_funit(steps=2), tmp_path / "run", sample_every=0)


def small_unit(**changes: object) -> UnitRecipe:
    return UnitRecipe(**{"resolution": 32, "width": 4, "n_res": 1, "dis_width": 4, "dis_layers": 2, "dis_scales": 2, "steps": 3,
                         **changes})


def small_funit(**changes: object) -> FunitRecipe:
    return FunitRecipe(**{"resolution": 32, "width": 4, "dis_width": 4, "dis_blocks": 4, "latent_dim": 4, "mlp_width": 8,
                          "batch": 2, "steps": 4, "seed": 3, **changes})


def classes() -> ClassArray:
    rng = np.random.default_rng(1)
    return ClassArray(rng.integers(0, 255, (9, 32, 32, 3), dtype=np.uint8), np.arange(9) % 3, ["a", "b", "c"])


class Stop(Exception):
    """Ends a training."""


def stopping(at: int):
    def told(info: StepInfo) -> None:
        if info.step == at:
            raise Stop
    return told


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_funit_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = train_funit(classes(), small_funit(), tmp_path / "whole", sample_every=0)
    with pytest.raises(Stop):
        train_funit(classes(), small_funit(), tmp_path / "parts", sample_every=0, on_step=stopping(2))
    parts = train_funit(classes(), small_funit(), tmp_path / "parts", sample_every=0)
    for a, b in zip(whole.ema.state_dict().values(), parts.ema.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "parts" / "losses.png").is_file()


def trainer(**settings: object) -> FunitTrainer:
    return FunitTrainer(*build_networks(small_funit(), 3), FunitSettings(**settings))


def test_the_code_of_a_class_is_the_mean_over_its_pictures() -> None:
    """So that a picture shown three times is the picture, and what is judged and drawn again is the first."""
    rng = seeded(2)
    images, labels = 2 * torch.rand(2, 3, 3, 32, 32, generator=rng) - 1, torch.tensor([0, 2])
    network = trainer()
    with torch.no_grad():
        each = torch.stack([network.translator.class_codes(images[:, i]) for i in range(3)])
        torch.testing.assert_close(network.codes(images), each.mean(dim=0))
    alone, repeated = trainer(), trainer()
    content = (images[:, 2], labels)
    losses = alone.step(content, (images[:, 0], labels))
    again = repeated.step((content[0][:, None], labels), (images[:, :1].expand(-1, 3, -1, -1, -1), labels))
    assert again == pytest.approx(losses, rel=1e-4, abs=1e-6)


@pytest.mark.usefixtures("one_thread")
def test_several_pictures_a_class_go_on_to_the_same_result(tmp_path: Path) -> None:
    whole = train_funit(classes(), small_funit(shots=3), tmp_path / "whole", sample_every=0)
    with pytest.raises(Stop):
        train_funit(classes(), small_funit(shots=3), tmp_path / "parts", sample_every=0, on_step=stopping(2))
    parts = train_funit(classes(), small_funit(shots=3), tmp_path / "parts", sample_every=0)
    published = train_funit(classes(), small_funit(), tmp_path / "published", sample_every=0)
    key = "enc_class_model.model.0.conv.weight"
    assert torch.equal(whole.ema.state_dict()[key], parts.ema.state_dict()[key])
    assert not torch.equal(whole.ema.state_dict()[key], published.ema.state_dict()[key])
    with pytest.raises(TrainingStateError, match="shots"):
        train_funit(classes(), small_funit(shots=2, steps=5), tmp_path / "parts", sample_every=0)


def test_a_translator_is_trained_further_after_the_discriminator(tmp_path: Path) -> None:
    """Its sizes are its own; it moves when the discriminator's head start is over, and stays what it was for the caller."""
    start = Translator(width=8, latent_dim=5, mlp_width=8).eval().requires_grad_(False)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    recipe = small_funit(settings=FunitSettings(discriminator_first=2))

    def trained(steps: int) -> FunitTrainer:
        return train_funit(classes(), replace(recipe, steps=steps), tmp_path / "run", start=start, sample_every=0)

    fresh = build_networks(recipe, 3)[1].state_dict()
    waiting = trained(2)
    assert all(torch.equal(value, before[name]) for name, value in waiting.translator.state_dict().items())
    assert not torch.equal(waiting.discriminator.state_dict()["cnn_f.0.conv.weight"], fresh["cnn_f.0.conv.weight"])
    moved = trained(3)
    assert not all(torch.equal(value, before[name]) for name, value in moved.translator.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    rows = [json.loads(line) for line in (tmp_path / "run" / LOSSES).read_text().splitlines()]
    assert ["gen" in row for row in rows] == [False, False, True]
    with torch.no_grad():
        next(start.parameters()).add_(1)
    with pytest.raises(TrainingStateError, match="start"):
        trained(4)


def test_trainings_of_before_go_on() -> None:
    """What they had no word for is not asked of their checkpoints."""
    values = small_funit().identity()
    assert "shots" not in values
    assert "discriminator_first" not in values["settings"]
    assert small_funit(shots=2).identity()["shots"] == 2


@pytest.mark.usefixtures("one_thread")
def test_unit_goes_on_to_the_same_result(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, b = (PictureArray(rng.integers(0, 255, (n, 32, 32, 3), dtype=np.uint8)) for n in (5, 7))
    recipe = UnitRecipe(resolution=32, width=4, n_res=1, dis_width=4, dis_layers=2, dis_scales=2, batch=2, steps=4, seed=3)
    whole = train_unit(a, b, recipe, tmp_path / "whole", sample_every=0)
    with pytest.raises(Stop):
        train_unit(a, b, recipe, tmp_path / "parts", sample_every=0, on_step=stopping(3))
    parts = train_unit(a, b, recipe, tmp_path / "parts", sample_every=0)
    for x, y in zip(whole.domains.state_dict().values(), parts.domains.state_dict().values(), strict=True):
        assert torch.equal(x, y)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("cycle", [100.0, 0.0])
def test_the_shared_form_goes_on_to_the_same_result(tmp_path: Path, cycle: float) -> None:
    rng = np.random.default_rng(1)
    a, b = (PictureArray(rng.integers(0, 255, (n, 32, 32, 3), dtype=np.uint8)) for n in (5, 7))
    recipe = SharedRecipe(resolution=32, width=4, n_res=1, dis_width=4, dis_layers=3, dis_shared=2, batch=2, steps=4, seed=3,
                          settings=SharedSettings(cycle_likelihood=cycle, cycle_kl=cycle / 1000))
    whole = train_shared(a, b, recipe, tmp_path / "whole", sample_every=0)
    with pytest.raises(Stop):
        train_shared(a, b, recipe, tmp_path / "parts", sample_every=0, on_step=stopping(3))
    parts = train_shared(a, b, recipe, tmp_path / "parts", sample_every=0)
    for x, y in zip(whole.domains.state_dict().values(), parts.domains.state_dict().values(), strict=True):
        assert torch.equal(x, y)
    told = (tmp_path / "parts" / "losses.jsonl").read_text()
    assert ("cycle_a" in told) == bool(cycle)


def test_the_textbook_penalty_is_that_of_every_picture() -> None:
    """R1 of a batch is the mean of each picture's own; the published form is weaker by the square of the batch."""
    recipe = small_funit()
    penalties = {}
    for form in ("published", "r1"):
        translator, discriminator = build_networks(recipe, 3)
        trainer = FunitTrainer(translator, discriminator, FunitSettings(penalty_form=form))
        torch.manual_seed(0)
        images, labels = torch.randn(3, 3, 32, 32), torch.tensor([0, 1, 2])
        penalties[form] = trainer.update_discriminator((images, labels), (images, labels))["dis_penalty"]
    assert penalties["r1"] == pytest.approx(9 * penalties["published"], rel=1e-4)


@pytest.mark.parametrize("changes", [{"batch": 0}, {"resolution": 30}, {"steps": 0}])
def test_recipes_that_make_no_sense(changes: dict) -> None:
    with pytest.raises(InvalidInputError):
        small_funit(**changes)
    for recipe in (UnitRecipe, SharedRecipe):
        with pytest.raises(InvalidInputError):
            recipe(**changes)
    with pytest.raises(InvalidInputError, match="share 0 to 5 of their 6 layers, got 6"):
        SharedRecipe(dis_shared=6)


def test_the_rate_of_unit_halves(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a = PictureArray(rng.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8))
    recipe = UnitRecipe(resolution=32, width=4, n_res=1, dis_width=4, dis_layers=2, dis_scales=1, steps=3,
                        settings=UnitSettings(lr=1e-3, half_life=1, cycle=0.0, cycle_kl=0.0))
    trainer = train_unit(a, a, recipe, tmp_path, sample_every=0)
    assert trainer.optimizer_g.param_groups[0]["lr"] == pytest.approx(1e-3 / 4)
