"""Every shipped workflow runs headless on the demo models, and the renderer's truth says whether it did its job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from latent_atelier.demo.creatures import render_creature
from latent_atelier.demo.hearing import beat_strength, key_share, tonality
from latent_atelier.demo.landscapes import MOODS, landscapes
from latent_atelier.demo.make_images import (
    MUSIC_GIVEN,
    STREET_BOX,
    STREET_SEED,
    WHEEL_RADIUS,
    shipped_cars,
    shipped_creatures,
    shipped_house,
    shipped_landscape,
    shipped_model_car,
    shipped_music,
    shipped_piece,
    shipped_streets,
    street,
)
from latent_atelier.demo.music import RATE, pieces
from latent_atelier.demo.music import render as render_music
from latent_atelier.demo.objects import make_object
from latent_atelier.demo.scenes import TYRE, Car, render
from latent_atelier.demo.streets import render_street
from latent_atelier.headless.cli import main
from latent_atelier.headless.sounds import load_sound
from latent_atelier.pipelines.editgan.vectors import load_vector
from latent_atelier.pipelines.langevin.fields.cameras import orbit
from latent_atelier.pipelines.sheets import CAPTION, MARGIN
from PIL import Image

WORKFLOWS = Path(__file__).parents[2] / "workflows"
SHIPPED = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
SIZE = 64
UNSEEN = 99
"""Seed of landscapes that no network was trained on."""


QUICKER = {"photos_to_mesh": ("3.steps=160", "4.size=48"), "object_from_one_photo": ("6.size=48",),
           "object_from_prior": ("3.sweeps=20", "4.size=48")}
"""Less than the workflows do, where these take a minute or more."""


class Outputs(dict[str, Path]):
    """Workflow -> the folder of what it saved; each is run once, when it is first asked for."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self.folders = folders

    def __missing__(self, name: str) -> Path:
        folder = self.folders.mktemp(name)
        arguments = ["run", str(WORKFLOWS / f"{name}.json"), "--quiet", "--output", str(folder), "--report",
                     str(folder / "report.json"), "--device", "cpu"]
        assert main([*arguments, *(item for change in QUICKER.get(name, ()) for item in ("--set", change))]) == 0
        return self.setdefault(name, folder)


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return Outputs(tmp_path_factory)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_workflow_runs(outputs: Outputs, name: str) -> None:
    assert (outputs[name] / "report.json").is_file()


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255


def cells(path: Path, columns: int, rows: int, cell: int = 192) -> np.ndarray:
    """The pictures of a sheet, [rows, columns, 64, 64, 3]."""
    sheet, step = picture(path), cell // SIZE
    return np.stack([np.stack([sheet[top:top + cell:step, left:left + cell:step] for left in
                               (MARGIN + i * (cell + MARGIN) for i in range(columns))])
                     for top in (MARGIN + CAPTION + j * (cell + MARGIN) for j in range(rows))])


def truth(number: int, wheel_scale: float) -> np.ndarray:
    return render(shipped_cars()[number].replace(wheel_scale=wheel_scale), SIZE)[0] / 255.0


def ring(number: int) -> np.ndarray:
    """Where larger wheels show: the pixels that differ clearly between the two true pictures."""
    return np.abs(truth(number, 1.3) - truth(number, 1.0)).max(axis=2) > 0.15


def test_every_workflow_has_thumbnail_and_api_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert SHIPPED
    for name in SHIPPED:
        assert (WORKFLOWS / f"{name}.jpg").is_file()
        assert main(["api", str(WORKFLOWS / f"{name}.json")]) == 0
        assert json.loads(capsys.readouterr().out) == json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())


def test_edit_car_enlarges_the_wheels_and_keeps_the_rest(outputs: Outputs) -> None:
    folder = outputs["edit_car"] / "edit_car"
    edited = picture(folder / "edited_00001_.png")
    before = cells(folder / "sheet_00001_.png", 6, 1)[0, 1]
    where = ring(0)
    larger, same = truth(0, 1.3), truth(0, 1.0)

    def error(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
        return float(((a - b) ** 2)[mask].mean())

    assert error(edited, larger, where) < 0.5 * error(before, larger, where)
    assert error(edited, larger, where) < error(edited, same, where)
    far = np.ones((SIZE, SIZE), bool)
    far[30:62] = False  # the wheels and what surrounds them
    assert -10 * np.log10(error(edited, before, far)) > 27


def test_edit_car_saves_its_vector_and_embeds_its_workflow(outputs: Outputs) -> None:
    folder = outputs["edit_car"] / "edit_car"
    vector = load_vector(folder / "larger_wheels_00001_.safetensors")
    assert vector.name == "larger wheels"
    assert vector.labels == ("tyre", "hub")
    assert float(vector.delta.norm()) > 0.1
    texts = Image.open(folder / "sheet_00001_.png").text
    assert json.loads(texts["workflow"])["nodes"]
    assert json.loads(texts["prompt"])["6"]["class_type"] == "AtelierOptimiseEditVector"


def test_apply_vector_works_on_other_cars(outputs: Outputs) -> None:
    strip = cells(outputs["apply_vector"] / "apply_vector" / "sheet_00001_.png", 4, 3)
    for row, number in enumerate((1, 2, 3)):
        where, larger = ring(number), truth(number, 1.3)
        errors = [float(((strip[row, column] - larger) ** 2)[where].mean()) for column in range(4)]
        assert errors[2] < errors[1] < errors[0], (number, errors)  # strengths 1, 0, -1


def test_the_painted_cabin_becomes_a_taller_one(outputs: Outputs) -> None:
    car = shipped_cars()[0]
    before, taller = (render(c, SIZE)[0] / 255.0 for c in (car, car.replace(cabin_height=car.cabin_height * 1.35)))
    where = np.abs(taller - before).max(axis=2) > 0.15
    sheet = cells(outputs["paint_and_edit"] / "paint_and_edit" / "sheet_00001_.png", 5, 1)
    edited = picture(outputs["paint_and_edit"] / "paint_and_edit" / "edited_00001_.png")
    errors = [float(((p - taller) ** 2)[where].mean()) for p in (sheet[0, 0], edited)]
    assert errors[1] < 0.3 * errors[0]
    far = np.ones((SIZE, SIZE), bool)
    far[:36] = False
    assert -10 * np.log10(float(((edited - sheet[0, 0]) ** 2)[far].mean())) > 27


def test_a_house_from_all_sides_becomes_a_mesh(outputs: Outputs) -> None:
    folder, house = outputs["photos_to_mesh"] / "photos_to_mesh", shipped_house()
    for number, (azimuth, elevation) in enumerate(((45, 12), (135, 30), (225, 20), (315, 38)), start=1):
        true = house.picture(orbit(float(azimuth), float(elevation)), SIZE).colour
        error = float(np.square(picture(folder / f"view_0000{number}_.png") - true).mean())
        assert -10 * np.log10(error) > 26  # dB, from where no picture was taken
    solid = trimesh.load(folder / "house_00001_.glb", force="mesh", process=False, skip_materials=True)
    assert solid.is_watertight
    away = house.distance(solid.vertices.astype(np.float32))
    outer = away > -0.05  # the underside, which no camera saw, is open, and what is behind it is anything
    assert outer.mean() > 0.6
    assert np.abs(away[outer]).mean() < 0.03
    roof = solid.vertices[:, 1] > solid.bounds[1, 1] - 0.2
    red, _, blue = solid.visual.vertex_colors[roof, :3].mean(axis=0)
    assert blue > 2 * red  # the right way up, with its blue roof
    assert Image.open(folder / "turntable_00001_.webp").n_frames == 24


def test_one_photograph_becomes_an_object_from_all_sides(outputs: Outputs) -> None:
    folder, car = outputs["object_from_one_photo"] / "object_from_one_photo", shipped_model_car()
    views = [picture(folder / f"view_0000{number}_.png") for number in range(1, 6)]
    truth = [car.picture(orbit(float(azimuth), 20.0), SIZE) for azimuth in (-10, 80, 125, 215, 305)]
    errors = [float(-10 * np.log10(np.square(a - b.colour).mean())) for a, b in zip(views, truth, strict=True)]
    assert np.mean(errors) > 16.5, errors  # dB; the photograph fitted alone comes to 14.6, nothing at all to 10.4
    assert min(errors) > 15, errors
    for view, true in zip(views, truth, strict=True):
        solid, covered = np.abs(1 - view).max(axis=2) > 0.15, true.coverage > 0.5
        assert (solid & covered).sum() / (solid | covered).sum() > 0.7
    assert trimesh.load(folder / "car_00001_.glb", force="mesh").is_watertight


def test_a_car_is_made_up_from_nothing(outputs: Outputs) -> None:
    """Outlines like those of some car of the renderer from every side, and a colour: the mean of all cars is grey."""
    folder = outputs["object_from_prior"] / "object_from_prior"
    views = np.stack([picture(folder / f"view_0000{number}_.png") for number in range(1, 6)])
    cameras = [orbit(float(azimuth), 20.0) for azimuth in (30, 90, 150, 210, 270)]
    cars = [[make_object("car", (UNSEEN, i)).picture(camera, SIZE) for camera in cameras] for i in range(24)]
    solid = np.abs(1 - views).max(axis=3) > 0.15
    covered = np.stack([[shown.coverage > 0.5 for shown in car] for car in cars])
    overlaps = (solid & covered).sum(axis=(1, 2, 3)) / (solid | covered).sum(axis=(1, 2, 3))
    assert overlaps.max() > 0.8, overlaps

    def vivid(colours: np.ndarray) -> float:
        return float((colours.max(axis=-1) - colours.min(axis=-1)).mean())

    mean = np.mean([[shown.colour for shown in car] for car in cars], axis=0)
    assert vivid(views[solid]) > 1.5 * vivid(mean[covered.mean(axis=0) > 0.5])
    assert trimesh.load(folder / "car_00001_.glb", force="mesh").is_watertight


def test_report_names_every_node(outputs: Outputs) -> None:
    report = json.loads((outputs["edit_car"] / "report.json").read_text())
    assert report["status"] == "done"
    assert len(report["nodes"]) == 15
    assert all(node["seconds"] >= 0 for node in report["nodes"])


def test_same_picture_whatever_the_threads(outputs: Outputs, tmp_path: Path) -> None:
    """A second process's result may differ in rounding only; here: the same process, other thread count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(["run", str(WORKFLOWS / "edit_car.json"), "--quiet", "--output", str(tmp_path), "--device", "cpu",
                     "--set", "3.steps=5", "--set", "6.steps=5"]) == 0
        again = tmp_path / "again"
        torch.set_num_threads(2)
        assert main(["run", str(WORKFLOWS / "edit_car.json"), "--quiet", "--output", str(again), "--device", "cpu",
                     "--set", "3.steps=5", "--set", "6.steps=5"]) == 0
    finally:
        torch.set_num_threads(before)
    name = Path("edit_car") / "edited_00001_.png"
    assert np.abs(picture(tmp_path / name) - picture(again / name)).max() <= 2 / 255 + 1e-9


def test_refine_vector_keeps_the_wheels_and_mends_the_rest(outputs: Outputs) -> None:
    folder = outputs["refine_vector"] / "refine_vector"
    before, bare = cells(folder / "unrefined_00001_.png", 3, 1)[0, :2]
    refined = cells(folder / "refined_00001_.png", 3, 1)[0, 1]
    where, larger = ring(2), truth(2, 1.3)
    assert ((refined - larger) ** 2)[where].mean() < 0.6 * ((before - larger) ** 2)[where].mean()
    far = np.ones((SIZE, SIZE), bool)
    far[30:62] = False
    assert ((refined - before) ** 2)[far].mean() < 0.6 * ((bare - before) ** 2)[far].mean()


def test_edit_photograph_changes_the_wheels_and_nothing_else(outputs: Outputs) -> None:
    edited = picture(outputs["edit_photograph"] / "edit_photograph" / "photograph_00001_.png")
    before = np.asarray(street().convert("RGB"), dtype=np.float64) / 255
    x, y, size = STREET_BOX
    inside = np.zeros(before.shape[:2], bool)
    inside[y + size // 3:y + size, x:x + size] = True
    assert np.abs(edited - before)[~inside].max() <= 1 / 255 + 1e-9  # one step of rounding to eight bits
    car = Car.sample(np.random.default_rng(STREET_SEED)).replace(wheel_radius=WHEEL_RADIUS)
    larger, same = (render(car.replace(wheel_scale=scale), size)[1] == TYRE for scale in (1.3, 1.0))
    grown = np.zeros_like(inside)
    grown[y:y + size, x:x + size] = larger & ~same
    below = grown & (np.arange(len(grown))[:, None] > y + 0.72 * size)  # where the ground was
    assert edited[below].mean() < 0.6 * before[below].mean()


def test_compose_vectors_shows_both_edits(outputs: Outputs) -> None:
    strip = cells(outputs["compose_vectors"] / "compose_vectors" / "sheet_00001_.png", 3, 1)[0]
    tyres = [(shown.max(axis=2) < 0.2).sum() for shown in strip]
    plate = [(shown[30:50, 20:44].min(axis=2) > 0.75).sum() for shown in strip]
    assert tyres[0] < tyres[1] < tyres[2]
    assert tyres[2] > 1.3 * tyres[0]
    assert plate[2] > 1.3 * plate[0]


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(((a - b) ** 2).mean()))


def test_few_shot_creature_takes_the_colours_of_the_class(outputs: Outputs) -> None:
    """Inside the true creature, its mean colour; the class is one that no translator was trained on."""
    (kind, _), *_ = shipped_creatures()[0]
    own, pose = shipped_creatures()[1]
    wanted, content = (render_creature(k, pose) / 255.0 for k in (kind, own))
    translated = picture(outputs["few_shot_creature"] / "few_shot_creature" / "translated_00001_.png")
    body = np.abs(wanted - content).max(axis=2) > 0.2
    errors = [float(np.abs((found - wanted)[body].mean(axis=0)).mean()) for found in (translated, content)]
    assert errors[0] < 0.5 * errors[1], errors


def test_day_to_night_is_the_street_by_night(outputs: Outputs) -> None:
    scene, folder = shipped_streets()[0], outputs["day_to_night"] / "day_to_night"
    day, night = (render_street(scene, night=dark) / 255.0 for dark in (False, True))
    assert decibels(day, night) < 8
    assert decibels(picture(folder / "night_00001_.png"), night) > 16
    assert decibels(picture(folder / "day_again_00001_.png"), day) > 21


def test_panorama_is_day_and_dusk_and_goes_round(outputs: Outputs) -> None:
    found = picture(outputs["panorama"] / "panorama" / "panorama_00001_.png")
    assert found.shape == (256, 384, 3)
    day, dusk = found[:100, 40:160].mean(axis=(0, 1)), found[:100, 230:350].mean(axis=(0, 1))
    assert day[2] > day[0] + 0.1
    assert dusk[0] > dusk[2]
    steps = ((found - np.roll(found, 1, axis=1)) ** 2).mean(axis=(0, 2))
    assert steps[0] < 1.5 * np.sort(steps)[-20:].mean()  # across the edge as between other columns
    assert steps[0] < 3 * steps.mean()


def seam_ratio(picture: np.ndarray, column: int, reach: int = 16) -> float:
    """Squared steps from the column before into this one, over those between the `reach` columns on either side of it."""
    steps = ((picture - np.roll(picture, 1, axis=1)) ** 2).mean(axis=(0, 2))
    return float(steps[column] / np.take(steps, [column + i for i in range(-reach, reach + 1) if i], mode="wrap").mean())


def by_height(picture: np.ndarray) -> np.ndarray:
    """Mean colours of eight bands of a landscape, [8,3]."""
    return picture.reshape(8, len(picture) // 8, -1, 3).mean(axis=(1, 2))


@pytest.fixture(scope="session")
def moods() -> dict[str, np.ndarray]:
    """The same of rendered landscapes that no network has seen, by mood."""
    return {mood: np.mean([by_height(shown / 255) for shown in found], axis=0)
            for mood, found in landscapes(6, UNSEEN, 256).items()}


def off(picture: np.ndarray, moods: dict[str, np.ndarray]) -> dict[str, float]:
    """How far the colours of a picture are from those of each mood, 0..1."""
    return {mood: float(np.abs(by_height(picture) - truth).mean()) for mood, truth in moods.items()}


def test_panorama_360_regions_has_four_moods_and_goes_round(outputs: Outputs, moods: dict[str, np.ndarray]) -> None:
    found = picture(outputs["panorama_360_regions"] / "panorama_360_regions" / "panorama_00001_.png")
    assert found.shape == (256, 768, 3)
    assert seam_ratio(found, 0) <= 1.05
    for i, mood in enumerate(MOODS):
        errors = off(found[:, 192 * i + 48:192 * i + 144], moods)
        assert errors[mood] < 0.08, (mood, errors)
        assert errors[mood] < 0.5 * min(error for other, error in errors.items() if other != mood), (mood, errors)


def test_extend_photo_keeps_the_picture_and_goes_on_without_a_seam(outputs: Outputs,
                                                                    moods: dict[str, np.ndarray]) -> None:
    """What is new is judged by rendered landscapes of every mood, and by the heights of things in the picture itself."""
    given, found = shipped_landscape() / 255, picture(outputs["extend_photo"] / "extend_photo" / "extended_00001_.png")
    added = 112
    assert found.shape == (256, given.shape[1] + 2 * added, 3)
    inner = found[:, added:-added]
    assert np.abs(inner - given).max() <= 1 / 255 + 1e-9
    for column in (added, found.shape[1] - added):
        assert seam_ratio(found, column) <= 1.3
    for new in (found[:, :added], found[:, -added:]):
        errors = off(new, moods)
        assert errors["day"] < 0.08, errors
        assert errors["day"] < 0.5 * min(error for mood, error in errors.items() if mood != "day"), errors
        assert np.abs(by_height(new) - by_height(given)).mean() < 0.08
        assert 0.75 < new.std() / given.std() < 1.33


def test_extend_audio_stays_in_key_and_on_the_beat(outputs: Outputs) -> None:
    """Judged by the notes of the piece that was cut, against other pieces at the same place, and noise."""
    piece, given = shipped_piece(), shipped_music()
    sound = load_sound(outputs["extend_audio"] / "extend_audio" / "extended_00001.flac")
    assert (sound["sample_rate"], sound["waveform"].shape[:2]) == (RATE, (1, 1))
    whole = sound["waveform"][0, 0].numpy()
    new = whole[len(given):]
    assert len(new) == 6 * RATE
    assert np.abs(whole[:len(given)] - given).max() < 2 / 2**15
    first = -MUSIC_GIVEN % (60 / piece.tempo)

    def judged(heard: np.ndarray) -> tuple[float, float, float]:
        return key_share(heard, piece), beat_strength(heard, piece.tempo, first), tonality(heard)

    key, beat, tones = judged(new)
    noise = judged(np.random.default_rng(0).normal(0, 0.1, len(new)).astype(np.float32))
    others = np.mean([judged(render_music(other)) for other in pieces(6, 3, 6.0)], axis=0)
    assert key > 0.9 > others[0] + 0.1
    assert beat > 2 * max(others[1], noise[1])
    assert tones > 2 * noise[2]
    assert 0.5 < new.std() / given.std() < 1.6
