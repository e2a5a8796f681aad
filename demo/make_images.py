"""Render the shipped pictures: `python -m latent_atelier.demo.make_images`. Nothing they show was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from ..pipelines.langevin.fields.camera_lists import row_of
from ..pipelines.langevin.fields.cameras import DISTANCE, FOV, Cameras, orbit
from ..pipelines.sound_files import write_wav
from .creatures import Pose, Species, render_creature, species
from .landscapes import landscape
from .music import RATE, Piece, Sound, compose
from .music import render as render_music
from .objects import make_object
from .scenes import Car, render
from .solids import Body
from .streets import Street, render_street, streets

IMAGES = Path(__file__).parent / "images"
SEED, COUNT, SIZE = 4242, 4, 256
WHEEL_RADIUS = 0.105
STREET_SEED, STREET_SIZE, STREET_BOX = 77, (512, 320), (140, 40, SIZE)

CREATURE_SEED, CREATURE_CLASS, CREATURE_SHOWN, DAY_SEED, DAY_STREETS = 8105, 4, 2, 8106, 1
MUSIC_SEED, MUSIC_SECONDS, MUSIC_GIVEN = 8107, 12.0, 6.0
SMALL = 64
SUNSET, AROUND = (512, 256), (768, 256)
LANDSCAPE_SEED, LANDSCAPE_SIDES = 8113, (512, 672)
OBJECT_SEED, OBJECT_VIEWS, OBJECT_TURNS, OBJECT_HEIGHTS = 8120, 24, 2, (5.0, 40.0)
PHOTOGRAPH = (35.0, 20.0)
"""Azimuth and elevation of object_view_1.png, degrees."""


def shipped_cars() -> list[Car]:
    """The cars of demo/images, with wheels that leave room for larger ones."""
    rng = np.random.default_rng(SEED)
    return [Car.sample(rng).replace(wheel_radius=WHEEL_RADIUS) for _ in range(COUNT)]


def shipped_creatures() -> tuple[list[tuple[Species, Pose]], tuple[Species, Pose]]:
    """Creatures of one held-out class in two poses, and one of a training class, whose pose is to be kept."""
    rng, (known, held_out) = np.random.default_rng(CREATURE_SEED), species()
    shown = [(held_out[CREATURE_CLASS], Pose.sample(rng)) for _ in range(CREATURE_SHOWN)]
    return shown, (known[int(rng.integers(len(known)))], Pose.sample(rng))


def shipped_streets() -> list[Street]:
    """The streets of street_day_1.png and so on."""
    return streets(DAY_STREETS, DAY_SEED)


def shipped_piece() -> Piece:
    """The piece whose beginning is music_1.wav."""
    return compose(np.random.default_rng(MUSIC_SEED), MUSIC_SECONDS)


def shipped_music() -> Sound:
    """The sound of music_1.wav, float32 [T]: the first half of the piece."""
    return render_music(shipped_piece())[:round(MUSIC_GIVEN * RATE)]


def sunset_mask() -> Image.Image:
    """White where a panorama is dusk: the right half, with soft borders, also where the ends of the panorama meet."""
    width, height = SUNSET
    x = (np.arange(width) + 0.5) / width
    share = np.clip(0.5 + 6 * np.minimum(x - 0.5, 1 - x), 0, 1) * (x > 0.4)
    return Image.fromarray(np.broadcast_to((255 * share).astype(np.uint8), (height, width)).copy())


def mood_masks() -> Image.Image:
    """Red, green and blue where a panorama of four equal moods is in its second, third and fourth; black is the first. Borders
    are soft, also the one where the ends of the panorama meet."""
    width, height = AROUND
    x = (np.arange(width) + 0.5) / width
    distance = np.stack([np.abs((x - middle + 0.5) % 1 - 0.5) for middle in (0.375, 0.625, 0.875)], axis=-1)
    share = np.clip(0.5 + (0.125 - distance) / 0.1, 0, 1)
    return Image.fromarray(np.broadcast_to((255 * share + 0.5).astype(np.uint8), (height, width, 3)).copy())


def shipped_landscape() -> npt.NDArray[np.uint8]:
    """The landscape of landscape_day_1.png, uint8 [256,160,3]: a part of a wider one."""
    return landscape("day", np.random.default_rng(LANDSCAPE_SEED))[:, slice(*LANDSCAPE_SIDES)]


def shipped_house() -> Body:
    """The house of house_views.png."""
    return make_object("house", (OBJECT_SEED, 4))


def shipped_model_car() -> Body:
    """The car of object_view_1.png."""
    return make_object("car", (OBJECT_SEED, 6))


def shipped_cameras() -> Cameras:
    """Where house_views.png is seen from: twice around, rising."""
    return row_of(OBJECT_VIEWS, 0.0, 360.0 * OBJECT_TURNS, OBJECT_HEIGHTS, DISTANCE, FOV)


def house_views() -> list[Image.Image]:
    """The house from each of its cameras."""
    body, cameras = shipped_house(), shipped_cameras()
    return [Image.fromarray((body.picture(cameras[i], SMALL).colour * 255 + 0.5).astype(np.uint8)) for i in range(len(cameras))]


def street() -> Image.Image:
    """A wider scene about the car at STREET_BOX, with things around it that the demo generator has never seen."""
    rng = np.random.default_rng(STREET_SEED)
    car, _ = render(Car.sample(rng).replace(wheel_radius=WHEEL_RADIUS), SIZE)
    x, y, _ = STREET_BOX
    width, height = STREET_SIZE
    scene = np.pad(car, ((y, height - y - SIZE), (x, width - x - SIZE), (0, 0)), mode="edge")
    grain = rng.normal(0, 3, scene.shape[:2])[:, :, None]
    finer = Image.fromarray((scene + grain).clip(0, 255).astype(np.uint8)).resize((2 * width, 2 * height))
    draw = ImageDraw.Draw(finer)
    draw.ellipse((40, 30, 110, 100), fill=(255, 236, 150))
    ground = 2 * (y + SIZE) - 150
    for left in (120, 2 * width - 90):
        draw.rectangle((left, ground - 230, left + 10, ground), fill=(70, 72, 80))
        draw.ellipse((left - 14, ground - 262, left + 24, ground - 224), fill=(250, 240, 200), outline=(70, 72, 80), width=3)
    for left in range(0, 2 * width, 120):
        draw.rectangle((left, 2 * height - 46, left + 64, 2 * height - 38), fill=(235, 232, 220))
    return finer.resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    """Write all of it: cars, a street scene, creatures, streets by day, a landscape, masks for panoramas, music, a house
    from all sides and a car from one."""
    IMAGES.mkdir(exist_ok=True)
    write_wav(IMAGES / "music_1.wav", torch.from_numpy(shipped_music())[None], RATE)
    street().save(IMAGES / "toy_street.png", optimize=True)
    seen = shipped_model_car().picture(orbit(*PHOTOGRAPH), SMALL).colour
    Image.fromarray((seen * 255 + 0.5).astype(np.uint8)).save(IMAGES / "object_view_1.png", optimize=True)
    first, *rest = house_views()
    first.save(IMAGES / "house_views.png", save_all=True, append_images=rest, duration=100)
    shown, (kind, pose) = shipped_creatures()
    for number, creature in enumerate(shown, start=1):
        Image.fromarray(render_creature(*creature, SMALL)).save(IMAGES / f"creature_class_{number}.png", optimize=True)
    Image.fromarray(render_creature(kind, pose, SMALL)).save(IMAGES / "creature_pose.png", optimize=True)
    for number, scene in enumerate(shipped_streets(), start=1):
        Image.fromarray(render_street(scene, night=False, size=SMALL)).save(IMAGES / f"street_day_{number}.png", optimize=True)
    sunset_mask().save(IMAGES / "panorama_dusk_mask.png", optimize=True)
    Image.fromarray(shipped_landscape()).save(IMAGES / "landscape_day_1.png", optimize=True)
    mood_masks().save(IMAGES / "panorama_moods.png", optimize=True)
    for number, car in enumerate(shipped_cars(), start=1):
        Image.fromarray(render(car, SIZE)[0]).save(IMAGES / f"toy_car_{number}.png", optimize=True)


if __name__ == "__main__":
    main()
