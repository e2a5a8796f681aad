"""The pack in the real host: the same descriptions, the same pictures, its cache, its cancel."""

from __future__ import annotations

import copy
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latent_atelier.headless.cli import main
from latent_atelier.headless.node_types import object_info
from latent_atelier.headless.sounds import load_sound
from latent_atelier.nodes.catalogue import NODES
from PIL import Image

WORKFLOWS = Path(__file__).parents[2] / "workflows"
EDIT = json.loads((WORKFLOWS / "api" / "edit_car.json").read_text())
OURS = object_info({cls.GET_SCHEMA().node_id: cls for cls in NODES})


def short() -> dict[str, Any]:
    """The first edit with few steps."""
    prompt = copy.deepcopy(EDIT)
    prompt["3"]["inputs"]["steps"] = 10
    prompt["6"]["inputs"]["steps"] = 10
    return prompt


def test_every_node_is_there_as_we_describe_it(host) -> None:
    theirs = host.call("/object_info")
    assert set(OURS) <= set(theirs), host.log()[-3000:]
    for name, expected in OURS.items():
        found = theirs[name]
        assert list(found["input"]["required"]) == list(expected["input"]["required"])
        for key in ("input", "output", "output_name", "output_tooltips", "output_is_list", "output_node", "category",
                    "display_name", "description"):
            assert found[key] == expected[key], (name, key)


@pytest.mark.parametrize("workflow", sorted(path.stem for path in WORKFLOWS.glob("*.json")))
def test_pictures_and_sounds_equal_the_headless_ones(host, workflow: str, tmp_path: Path) -> None:
    """In float32: another torch rounds bfloat16 differently."""
    prompt = json.loads((WORKFLOWS / "api" / f"{workflow}.json").read_text())
    for node in prompt.values():
        if node["inputs"].get("precision") == "auto":
            node["inputs"]["precision"] = "float32"
    history = host.run(prompt)
    assert history["status"]["status_str"] == "success", history["status"]
    graph = tmp_path / "prompt.json"
    graph.write_text(json.dumps(prompt))
    assert main(["run", str(graph), "--quiet", "--device", "cpu", "--output", str(tmp_path / "out")]) == 0
    saved = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".flac")]
    assert saved
    for path in saved:
        theirs = host.folder / "output" / path.relative_to(tmp_path / "out")
        if path.suffix == ".png":
            mine, other = (np.asarray(Image.open(p), dtype=int) for p in (path, theirs))
            assert np.abs(mine - other).max() <= 2, path.name
        else:
            mine, other = (load_sound(p)["waveform"] for p in (path, theirs))
            assert float((mine - other).abs().max()) < 0.01, path.name


def test_second_run_is_cached(host) -> None:
    prompt = short()
    prompt["3"]["inputs"]["learning_rate"] = 0.07  # a graph of its own
    assert host.run(prompt)["status"]["status_str"] == "success"
    messages = dict(host.run(prompt)["status"]["messages"])
    assert {"2", "3", "6"} <= set(messages["execution_cached"]["nodes"])


def test_interrupt_stops_within_a_step(host) -> None:
    prompt = copy.deepcopy(EDIT)
    prompt["3"]["inputs"]["steps"] = 10
    prompt["6"]["inputs"]["steps"] = 2000
    prompt_id = host.submit(prompt)["prompt_id"]
    end = time.monotonic() + 120
    while time.monotonic() < end and not host.call("/queue")["queue_running"]:
        time.sleep(0.1)
    time.sleep(6)
    asked = time.monotonic()
    host.call("/interrupt", {"prompt_id": prompt_id})
    history = host.wait(prompt_id)
    assert time.monotonic() - asked < 3
    messages = dict(history["status"]["messages"])
    assert messages["execution_interrupted"]["node_id"] in {"3", "6"}
    assert host.run(short())["status"]["status_str"] == "success"  # and leaves the host able to go on


def test_missing_model_is_one_sentence(host) -> None:
    prompt = short()
    prompt["2"]["inputs"]["generator"] = "absent.safetensors"
    text = json.dumps(host.submit(prompt)["node_errors"])
    assert "absent.safetensors" in text
    assert "models/atelier/stylegan2" in text


def test_log_is_clean(host) -> None:
    log = host.log()
    assert "IMPORT FAILED" not in log
    assert "Error while calling comfy_entrypoint" not in log
    refused_prompt = ("absent.safetensors", "* Atelier")
    ours = [line for line in log.splitlines() if re.search(r"warn|deprecat|error", line, re.IGNORECASE)
            and re.search("atelier", line, re.IGNORECASE) and not any(part in line for part in refused_prompt)]
    assert ours == []
