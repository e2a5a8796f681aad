"""The recipes of the demo weights, a few steps each: they begin, go on from their checkpoint, and save."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from latent_atelier.demo import train_encoder, train_gan
from latent_atelier.pipelines.training.loop import CHECKPOINT, LOSSES

pytestmark = pytest.mark.usefixtures("one_thread")

GAN = {"batch": 4, "kimg": 0.008, "decay_kimg": 0.004, "lr": 0.002, "r1_gamma": 0.3, "ema_images": 100.0}
ENCODER = {"batch": 2, "steps": 2}


@pytest.mark.parametrize(("recipe", "options", "saved"), [
    (train_gan, GAN, ["stylegan2-generator", "stylegan2-discriminator"]),
    (train_encoder, ENCODER, ["editgan-encoder"]),
])
def test_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Any, options: dict[str, Any],
                saved: list[str]) -> None:
    found: list[str] = []
    monkeypatch.setattr(recipe, "save_demo", lambda architecture, module, **_: found.append(architecture))
    args = argparse.Namespace(out=tmp_path, workers=1, pictures=12, save_minutes=3, run=1, **options)
    recipe.train(0, args)
    before = (tmp_path / CHECKPOINT).read_bytes()
    assert found == saved
    assert len((tmp_path / LOSSES).read_text().splitlines()) == 2
    recipe.train(0, args)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
