"""Node ids, inputs, their order and types never change unnoticed: saved workflows depend on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from latent_atelier.headless.node_types import object_info
from latent_atelier.nodes.catalogue import NODES

GOLDEN = Path(__file__).with_name("golden_nodes.json")
INFO = object_info({cls.GET_SCHEMA().node_id: cls for cls in NODES})


def outline(info: dict) -> dict:
    inputs = [[name, section, spec[0]] for section in ("required", "optional")
              for name, spec in info["input"].get(section, {}).items()]
    return {"inputs": inputs, "outputs": list(map(list, zip(info["output_name"], info["output"], strict=True)))}


def test_schemas_equal_the_golden_file() -> None:
    """A changed schema fails here: append inputs at the end only, then add them to golden_nodes.json by hand."""
    assert {name: outline(info) for name, info in INFO.items()} == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", INFO)
def test_every_slot_explains_itself(name: str) -> None:
    info = INFO[name]
    for section in ("required", "optional"):
        for slot, spec in info["input"].get(section, {}).items():
            assert len(spec[1].get("tooltip", "")) > 10, slot
    assert all(info["output_tooltips"])
    assert name.startswith("Atelier")
    assert info["category"].startswith("Atelier/")
    assert info["description"]
    assert info["display_name"]
