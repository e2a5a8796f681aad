"""The painter's node, and the edit that follows the brush."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from latent_atelier.nodes import live_edit
from latent_atelier.nodes.editgan import Generate, SampleLatents
from latent_atelier.nodes.editing import OptimiseEditVector
from latent_atelier.nodes.paint_label_map import PaintLabelMap
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.label_text import LabelDrawing, base_hash, decode_label_map, encode_drawing
from latent_atelier.pipelines.labels import LabelMap
from latent_atelier.pipelines.regions import transform_region
from latent_atelier.runtime import live
from latent_atelier.runtime.context import ExecutionContext, Folders
from latent_atelier.runtime.folders import model_path
from latent_atelier.runtime.model_cache import load_model

FAMILIES = ("stylegan2", "encoders", "label_branches", "perceptual")


@pytest.fixture
def car(tmp_path: Path):
    """Models, codes and parts of one car."""
    context = ExecutionContext(folders=Folders(input=[tmp_path], output=tmp_path, temp=tmp_path))
    live.forget()
    with context.activate():
        generator, _, segmenter, perceptual = (load_model(model_path(f, "toy_cars_64.safetensors")) for f in FAMILIES)
        codes = SampleLatents.execute(generator, 1, 1, 0.7).args[0]
        image, label_map = Generate.execute(generator, segmenter, codes).args
        yield (generator, segmenter, perceptual, codes), image, label_map
    live.forget()


def painted(label_map: LabelMap, name: str, rows: slice, columns: slice) -> str:
    where = torch.zeros(label_map.height, label_map.width, dtype=torch.bool)
    where[rows, columns] = True
    ids = where.byte() * label_map.labels.index(name)
    return encode_drawing(LabelDrawing(ids, where, label_map.labels, base_hash(label_map)))


def test_the_node_shows_the_page_what_is_underneath(car) -> None:
    _, image, label_map = car
    drawing = painted(label_map, "roof", slice(5, 9), slice(20, 40))
    result = PaintLabelMap.execute(drawing, "refuse", "background", 64, 64, label_map, image)
    after, edited, changed = result.args
    assert changed.sum() == (after.ids != label_map.ids).sum() > 40
    assert "roof" in edited.split(", ")
    shown = result.ui["atelier_painter"][0]
    assert torch.equal(decode_label_map(shown["base"]).ids, label_map.ids)
    assert shown["hash"] == base_hash(label_map)
    assert set(shown["image"]) == {"filename", "subfolder", "type"}
    blank = PaintLabelMap.execute("", "refuse", "background, sky, sea", 30, 20)
    assert blank.args[0].labels.names == ("background", "sky", "sea")
    assert list(blank.args[0].ids.shape) == [1, 20, 30]
    assert not blank.ui["atelier_painter"][0]["connected"]
    with pytest.raises(InvalidInputError, match="Label 0"):
        PaintLabelMap.execute("", "refuse", "sky, sea", 30, 20)


def optimise(car, label_map: LabelMap, *, live_steps: int = 6, steps: int = 12) -> tuple:
    models, _, _ = car

    class Node(OptimiseEditVector):
        hidden = type("Hidden", (), {"unique_id": "7"})

    weights = {"outside_weight": 15.0, "inside_weight": 1.0, "perceptual_weight": 10.0, "mse_weight": 5.0}
    return Node.execute(*models, label_map, "painted", "", steps, 0.02, 3, **weights, first_row=0, last_row=17,
                        live_steps=live_steps).args


def test_the_edit_follows_the_brush(car) -> None:
    """A stroke more: few steps from the last edit come nearer to the new map than as many from the beginning."""
    _, _, base = car
    first, second = (transform_region(base, ["tyre", "hub"], operation="scale", factor=f)[0] for f in (1.25, 1.3))
    unchanged = optimise(car, base)
    assert float(unchanged[1].delta.abs().max()) == 0
    assert int(unchanged[5].step) == 0
    assert int(optimise(car, first)[5].step) == 12
    followed = optimise(car, second)
    assert int(followed[5].step) == 6
    live.forget()
    anew = optimise(car, second, steps=6)
    assert float(followed[1].provenance["loss"]) < float(anew[1].provenance["loss"])
    without = optimise(car, second, live_steps=0, steps=6)
    assert torch.equal(without[1].delta, anew[1].delta)


def test_the_edit_begins_anew_when_much_has_changed(car) -> None:
    _, _, base = car
    small = PaintLabelMap.execute(painted(base, "roof", slice(5, 9), slice(20, 40)), "refuse", "", 8, 8, base).args[0]
    large = PaintLabelMap.execute(painted(base, "roof", slice(5, 40), slice(0, 64)), "refuse", "", 8, 8, base).args[0]
    optimise(car, small)
    assert float((small.ids != large.ids).float().mean()) > live_edit.SMALL
    assert int(optimise(car, large)[5].step) == 12


def test_no_more_nodes_are_remembered_than_promised() -> None:
    live.forget()
    for number in range(live.NODES + 3):
        live.remember(str(number), "same", number)
    assert live.recall("2", "same") is None
    assert live.recall("3", "same") == 3
    assert live.recall("3", "other") is None
    live.forget()
    assert live.recall("3", "same") is None
