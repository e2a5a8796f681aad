"""Render the shipped pictures: `python -m latent_atelier.demo.make_images`. None of these cars was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .scenes import Car, render

IMAGES = Path(__file__).parent / "images"
SEED, COUNT, SIZE = 4242, 4, 256
WHEEL_RADIUS = 0.105


def shipped_cars() -> list[Car]:
    """The cars of demo/images, with wheels that leave room for larger ones."""
    rng = np.random.default_rng(SEED)
    return [Car.sample(rng).replace(wheel_radius=WHEEL_RADIUS) for _ in range(COUNT)]


def main() -> None:
    """Write toy_car_1.png and so on."""
    IMAGES.mkdir(exist_ok=True)
    for number, car in enumerate(shipped_cars(), start=1):
        Image.fromarray(render(car, SIZE)[0]).save(IMAGES / f"toy_car_{number}.png", optimize=True)


if __name__ == "__main__":
    main()
