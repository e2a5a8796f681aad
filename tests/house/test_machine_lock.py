"""Tests that count seconds have the machine alone, and the others share it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="tests run one after the other here")

HELPERS = Path(__file__).parents[1] / "helpers"
HOLD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from machine_lock import machine
folder, name, alone, seconds = Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "alone", float(sys.argv[5])
(folder / f"{name}.asked").touch()
with machine(folder, alone=alone):
    began = time.time()
    (folder / f"{name}.in").touch()
    time.sleep(seconds)
    (folder / f"{name}.seconds").write_text(f"{began} {time.time()}")
"""


def hold(folder: Path, name: str, how: str, seconds: float, wait_for: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-I", "-c", HOLD, str(HELPERS), str(folder), name, how, str(seconds)])
    end = time.monotonic() + 20
    while not (folder / f"{name}.{wait_for}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


def test_one_waits_for_the_others_and_then_keeps_them_out(tmp_path: Path) -> None:
    processes = [hold(tmp_path, "first", "shared", 1.0, "in"), hold(tmp_path, "second", "shared", 1.0, "in"),
                 hold(tmp_path, "only", "alone", 0.5, "asked")]
    time.sleep(0.2)
    processes.append(hold(tmp_path, "late", "shared", 0.1, "asked"))
    for process in processes:
        assert process.wait(30) == 0
    times = {name: [float(t) for t in (tmp_path / f"{name}.seconds").read_text().split()]
             for name in ("first", "second", "only", "late")}
    assert times["second"][0] < times["first"][1]
    assert times["only"][0] >= max(times["first"][1], times["second"][1])
    assert times["late"][0] >= times["only"][1]
