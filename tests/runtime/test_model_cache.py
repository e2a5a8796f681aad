"""The shared model cache without a host: one load, an LRU with a byte budget, threads, fingerprints."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.registry import Checkpoint, load_checkpoint, save_checkpoint
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator
from latent_atelier.runtime import model_cache
from latent_atelier.runtime.model_cache import clear, load_model, set_budget, stats


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    budget = stats().budget
    clear()
    yield
    set_budget(budget)
    clear()


def network(path: Path) -> Path:
    module = Discriminator(c_dim=0, resolution=8, channels={4: 4, 8: 4})
    save_checkpoint(path, module, architecture="stylegan2-discriminator")
    return path


def test_second_load_is_a_hit_and_gives_the_same_network(tmp_path: Path) -> None:
    path = network(tmp_path / "a.safetensors")
    first, second = load_model(path), load_model(path)
    assert first.acquire() is second.acquire()
    assert stats().loads == 1
    assert stats().misses == 1
    assert stats().hits >= 1
    assert first.fingerprint == load_checkpoint(path).fingerprint


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    path = network(tmp_path / "a.safetensors")
    first = load_model(path)
    time.sleep(0.01)
    network(path)
    assert load_model(path).fingerprint != first.fingerprint


def test_budget_evicts_the_least_recently_used_and_handles_reload(tmp_path: Path) -> None:
    paths = [network(tmp_path / f"{name}.safetensors") for name in "abc"]
    handles = [load_model(path) for path in paths[:2]]
    set_budget(stats().bytes)
    handles[0].acquire()
    load_model(paths[2])
    assert stats().evictions == 1
    assert stats().bytes <= stats().budget
    loads = stats().loads
    handles[0].acquire()  # used last, still there
    assert stats().loads == loads
    before = {name: value.clone() for name, value in handles[1].acquire().state_dict().items()}  # evicted
    assert stats().loads == loads + 1
    assert all(torch.equal(value, before[name]) for name, value in load_checkpoint(paths[1]).module.state_dict().items())


def test_threads_load_one_file_once(tmp_path: Path) -> None:
    path, calls = network(tmp_path / "a.safetensors"), []

    def slow(file: Path) -> Checkpoint:
        calls.append(file)
        time.sleep(0.1)
        return load_checkpoint(file)

    threads = [threading.Thread(target=load_model, args=(path,), kwargs={"loader": slow}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert stats().entries == 1


def test_a_failed_load_leaves_nothing_behind(tmp_path: Path) -> None:
    path = network(tmp_path / "a.safetensors")

    def broken(file: Path) -> Checkpoint:
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="fire"):
        load_model(path, loader=broken)
    assert stats().entries == 0
    assert load_model(path).acquire() is not None


def test_weights_are_differentiable_though_loaded_in_inference_mode(tmp_path: Path) -> None:
    path = network(tmp_path / "a.safetensors")
    with torch.inference_mode():
        handle = load_model(path)
        with torch.inference_mode(False), torch.enable_grad():
            images = torch.zeros(1, 3, 8, 8, requires_grad=True)
            handle.acquire()(images).sum().backward()
    assert images.grad is not None


def test_clear_forgets(tmp_path: Path) -> None:
    load_model(network(tmp_path / "a.safetensors"))
    clear()
    assert stats() == model_cache.CacheStats(0, 0, stats().budget, 0, 0, 0, 0)
