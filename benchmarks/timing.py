"""Interleaved timing and peak memory of named cases."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from latent_atelier.headless.memory import PeakMemory

Case = Callable[[], object]


def interleaved(cases: Mapping[str, Case], *, repeats: int) -> dict[str, float]:
    """Median seconds of each case; the cases take turns, so that a busy machine slows all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    for _ in range(repeats):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_of(case: Case) -> int:
    """Bytes by which the process's resident memory peaks above what it held before, while the case runs twice.

    For a fresh process only. 0 on Windows, which tells no peak.
    """
    memory = PeakMemory(torch.device("cpu"))
    memory.start()
    before = memory.peak() or 0
    case()
    case()
    return (memory.peak() or 0) - before


def peaks(script: Path, names: list[str], arguments: list[str]) -> dict[str, int]:
    """`script --memory NAME` in a fresh process for every name; it prints the bytes."""
    found = {}
    for name in names:
        done = subprocess.run([sys.executable, str(script), "--memory", name, *arguments], capture_output=True, text=True,
                              check=True)
        found[name] = int(done.stdout.strip().splitlines()[-1])
    return found


def table(title: str, seconds: Mapping[str, float], memory: Mapping[str, int], baselines: list[str]) -> None:
    """Print one row a case: seconds, MiB, and both as ratios to each baseline."""
    over = "  ".join(f"x over {baseline:22s}" for baseline in baselines)
    sys.stdout.write(f"\n{title}\n{'case':34s} {'ms':>9s} {'MiB':>8s}  {over}\n")
    for name, value in seconds.items():
        ratios = "  ".join(f"time {seconds[b] / value:6.2f} memory {memory.get(b, 0) / max(memory.get(name, 1), 1):6.2f} "
                           for b in baselines)
        sys.stdout.write(f"{name:34s} {1000 * value:9.1f} {memory.get(name, 0) / 2**20:8.0f}  {ratios}\n")
