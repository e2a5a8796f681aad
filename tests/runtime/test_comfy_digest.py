"""What a kept run knows its MODEL and prompts by."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from latent_atelier.runtime.comfy_digest import digest


def adapter(value: float) -> SimpleNamespace:
    return SimpleNamespace(weights=(torch.full((4, 2), value), torch.ones(2, 3), 8.0, None))


def patcher() -> SimpleNamespace:
    torch.manual_seed(0)
    return SimpleNamespace(model=torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2)),
                           patches={"0.weight": [(0.5, adapter(1.0), 1.0, None, None)]})


def prompt() -> list[list[Any]]:
    control = SimpleNamespace(cond_hint_original=torch.ones(1, 3, 4, 4), strength=0.5, previous_controlnet=None)
    return [[torch.ones(1, 77, 8), {"pooled_output": torch.zeros(1, 8), "area": (8, 8, 0, 0), "control": control}]]


def test_the_same_is_known_again() -> None:
    assert digest(patcher(), prompt(), prompt(), 4.0) == digest(patcher(), prompt(), prompt(), 4.0)
    model = patcher()
    model.model.half()
    assert len(digest(model, [])) == 16


def weights(model: Any, _: Any) -> None:
    model.model[1].bias.data[1] += 0.01


def lora(model: Any, _: Any) -> None:
    model.patches = {"0.weight": [(0.5, adapter(2.0), 1.0, None, None)]}


def how_much_of_it(model: Any, _: Any) -> None:
    model.patches = {"0.weight": [(0.6, adapter(1.0), 1.0, None, None)]}


def a_patch_of_old(model: Any, _: Any) -> None:
    model.patches = {"0.weight": [(0.5, ("diff", (torch.ones(5, 3),)), 1.0, None, None)]}


def words(_: Any, told: Any) -> None:
    told[0][0][0, 5, 3] = 1.5


def area(_: Any, told: Any) -> None:
    told[0][1]["area"] = (8, 8, 0, 8)


def picture(_: Any, told: Any) -> None:
    told[0][1]["control"].cond_hint_original[0, 0, 0, 0] = 0.0


def strength(_: Any, told: Any) -> None:
    told[0][1]["control"].strength = 0.75


@pytest.mark.parametrize("change", [weights, lora, how_much_of_it, a_patch_of_old, words, area, picture, strength])
def test_whatever_changes_the_pictures_makes_another(change: Callable[[Any, Any], None]) -> None:
    model, told = patcher(), prompt()
    change(model, told)
    assert digest(model, told, 4.0) != digest(patcher(), prompt(), 4.0)


def test_prompts_do_not_change_places() -> None:
    other = [[torch.zeros(1, 77, 8), {}]]
    assert digest(patcher(), prompt(), other) != digest(patcher(), other, prompt())
    assert digest(patcher(), prompt(), 4.0) != digest(patcher(), prompt(), 4.5)
