"""The host's own MODEL as a denoiser: exact networks whose results are known, and a random one of Stable Diffusion's kind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from real_host import UNET, VAE, Host

STEP = 10.0
CUSTOM = {"preset": "custom", "sweeps": 32, "sigma_max": 10.0, "sigma_min": 0.05, "tau": 0.5, "inversion": "picard",
          "inversion_steps": 2, "start": 0, "schedule": "geometric", "churn": "euler", "margin": 0.125, "naive_below": 0.2}


def prompt(form: str = "eps", *, exact: bool = True, settings: dict[str, Any] | None = None, name: str = "p",
           panorama: dict[str, Any] | None = None) -> dict[str, Any]:
    """Positive prompt of mean 1 (node 'pos'), negative of mean -1, cfg 1.5, a panorama of 256x128 pixels from crops of 128, or
    of 64 where the network is random."""
    graph: dict[str, Any] = {
        "unet": ("UNETLoader", {"unet_name": UNET, "weight_dtype": "default"}),
        "pos": ("AtelierTestPrompt", {"mean": 1.0, "noise": 0 if exact else 1}),
        "neg": ("AtelierTestPrompt", {"mean": -1.0, "noise": 0 if exact else 2}),
        "vae": ("AtelierTestWindow", {}) if exact else ("VAELoader", {"vae_name": VAE}),
        "prior": ("AtelierPriorSettings", {**CUSTOM, **(settings or {})}),
        "denoiser": ("AtelierDenoiserFromModel", {
            "model": ["unet", 0], "positive": ["pos", 0], "negative": ["neg", 0], "vae": ["vae", 0], "cfg": 1.5,
            "crop": 128 if exact else 64, "batch": 8}),
        "panorama": ("AtelierLangevinPanorama", {
            "denoiser": ["denoiser", 0], "prior": ["prior", 0], "width": 256, "height": 128, "wrap_x": True, "wrap_y": False,
            "count": 1, "seed": 1, **(panorama or {})}),
        "save": ("SaveImage", {"images": ["panorama", 0], "filename_prefix": name}),
    }
    model = "unet"
    if form == "v":
        graph["form"] = ("ModelSamplingDiscrete", {"model": ["unet", 0], "sampling": "v_prediction", "zsnr": False})
    if form == "flow":
        graph["form"] = ("ModelSamplingSD3", {"model": ["unet", 0], "shift": 3.0})
    if form != "eps":
        model = "form"
    if exact:
        graph["exact"] = ("AtelierTestExact", {"model": [model, 0], "form": form, "variance": 1.0})
        model = "exact"
    graph["denoiser"][1]["model"] = [model, 0]
    return {key: {"class_type": kind, "inputs": dict(inputs)} for key, (kind, inputs) in graph.items()}


def combined(one: str, other: str) -> dict[str, Any]:
    """The node that gives both prompts."""
    return {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": [one, 0], "conditioning_2": [other, 0]}}


def pixels(host: Host, graph: dict[str, Any]) -> np.ndarray:
    """The picture of the graph's Save node, 0..1 [H,W,3]."""
    history = host.run(graph)
    assert history["status"]["status_str"] == "success", history["status"]["messages"][-1]
    saved = history["outputs"]["save"]["images"][0]
    return np.asarray(Image.open(host.folder / "output" / saved["filename"]), dtype=float) / 255


def latents(host: Host, graph: dict[str, Any]) -> np.ndarray:
    """The canvas behind it, where the VAE is a Window: [h,w,3]."""
    return (pixels(host, graph)[4::8, 4::8] - 0.5) * STEP


def resident(host: Host) -> float:
    """Memory of the host's process, MB."""
    status = Path(f"/proc/{host.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.parametrize("form", ["eps", "v", "flow"])
def test_every_form_draws_the_distribution_that_its_network_knows(host: Host, form: str) -> None:
    """Guidance 1.5 of means 1 and -1 has the mean -1 + 1.5 * 2 = 2; the deviation is that of the latents, 1."""
    found = latents(host, prompt(form, name=form, settings={"sweeps": 64}))
    assert found.shape == (16, 32, 3)
    assert found.mean() == pytest.approx(2, abs=0.1)
    assert found.std() == pytest.approx(1, abs=0.1)


def test_the_forms_agree(host: Host) -> None:
    first = latents(host, prompt("eps", name="eps"))
    for form in ("v", "flow"):
        assert np.abs(latents(host, prompt(form, name=form)) - first).max() <= 3 * STEP / 255


def test_areas_and_masks_lie_on_the_whole_picture(host: Host) -> None:
    """The whole picture has the mean 0; an area of 2 on the left and a mask of -2 on the right are added to it at strengths at
    which they count as much as the rest, so the means are 1 and -1."""
    graph = prompt(name="areas")
    graph["pos"]["inputs"]["mean"] = graph["neg"]["inputs"]["mean"] = 0.0
    graph["denoiser"]["inputs"]["cfg"] = 1.0
    graph["panorama"]["inputs"].update(width=512, wrap_x=False)
    graph["left"] = {"class_type": "AtelierTestPrompt", "inputs": {"mean": 2.0, "noise": 0}}
    graph["area"] = {"class_type": "ConditioningSetAreaPercentage", "inputs": {
        "conditioning": ["left", 0], "width": 0.5, "height": 1.0, "x": 0.0, "y": 0.0, "strength": 1.0}}
    graph["right"] = {"class_type": "AtelierTestPrompt", "inputs": {"mean": -2.0, "noise": 0}}
    graph["blank"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 100, "height": 20}}
    graph["half"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 25, "height": 20}}
    graph["mask"] = {"class_type": "MaskComposite", "inputs": {
        "destination": ["blank", 0], "source": ["half", 0], "x": 75, "y": 0, "operation": "add"}}
    graph["masked"] = {"class_type": "ConditioningSetMask", "inputs": {
        "conditioning": ["right", 0], "mask": ["mask", 0], "strength": 1.0, "set_cond_area": "default"}}
    graph["two"] = combined("pos", "area")
    graph["all"] = combined("two", "masked")
    graph["denoiser"]["inputs"]["positive"] = ["all", 0]
    found = latents(host, graph)
    left, middle, right = found[:, :22], found[:, 34:46], found[:, 50:]
    assert left.mean() == pytest.approx(1, abs=0.15)
    assert middle.mean() == pytest.approx(0, abs=0.15)
    assert right.mean() == pytest.approx(-1, abs=0.15)


def test_regions_share_one_run(host: Host) -> None:
    graph = prompt(name="regions", panorama={"width": 384, "wrap_x": False})
    graph["mask"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 10, "height": 10}}
    graph["blank"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 20, "height": 10}}
    graph["left"] = {"class_type": "MaskComposite", "inputs": {
        "destination": ["blank", 0], "source": ["mask", 0], "x": 0, "y": 0, "operation": "add"}}
    graph["other"] = {"class_type": "AtelierDenoiserFromModel", "inputs": {
        **graph["denoiser"]["inputs"], "positive": ["neg", 0], "negative": ["pos", 0]}}
    graph["region"] = {"class_type": "AtelierRegionPrompt", "inputs": {"denoiser": ["other", 0], "mask": ["left", 0],
                                                                       "strength": 1.0}}
    graph["panorama"]["inputs"]["regions"] = ["region", 0]
    found = latents(host, graph)
    assert found[:, :20].mean() == pytest.approx(-2, abs=0.15)
    assert found[:, 28:].mean() == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("start", [0, 12])
def test_as_a_sampler_of_the_host(host: Host, start: int) -> None:
    """SamplerCustomAdvanced with a guider of its own and an area on the left half of the latent."""
    graph = prompt("flow", name="sampler", settings={"start": start})
    for key in ("denoiser", "panorama"):
        del graph[key]
    graph["left"] = {"class_type": "ConditioningSetArea", "inputs": {
        "conditioning": ["neg", 0], "width": 256, "height": 128, "x": 0, "y": 0, "strength": 3.0}}
    graph["both"] = combined("pos", "left")
    graph |= {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in {
        "noise": ("RandomNoise", {"noise_seed": 3}),
        "guider": ("CFGGuider", {"model": ["exact", 0], "positive": ["both", 0], "negative": ["neg", 0], "cfg": 1.0}),
        "sigmas": ("BasicScheduler", {"model": ["exact", 0], "scheduler": "simple", "steps": 32, "denoise": 1.0}),
        "sampler": ("AtelierLangevinSampler", {
            "prior": ["prior", 0], "crop": 128, "wrap_x": False, "wrap_y": False, "batch": 8}),
        "empty": ("EmptyLatentImage", {"width": 512, "height": 128, "batch_size": 1}),
        "sample": ("SamplerCustomAdvanced", {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["sampler", 0],
                                             "sigmas": ["sigmas", 0], "latent_image": ["empty", 0]}),
        "decode": ("AtelierTestDecode", {"vae": ["vae", 0], "latent": ["sample", 0]})}.items()}
    graph["save"]["inputs"]["images"] = ["decode", 0]
    found = latents(host, graph)
    assert found[:, :24].mean() == pytest.approx(-0.5, abs=0.15)  # (1 - 3) / (1 + 3)
    assert found[:, 40:].mean() == pytest.approx(1, abs=0.15)
    assert found.std(axis=(0, 1)).mean() < 1.6


@pytest.mark.parametrize("form", ["eps", "v", "flow"])
def test_a_random_model_with_its_own_autoencoder_wraps_in_pixels(host: Host, form: str) -> None:
    """Squared steps across the edge that wraps, against those inside, over the whole height."""
    graph = prompt(form, exact=False, name=f"random_{form}", settings={"sweeps": 2, "sigma_max": 1.0, "start": 3},
                   panorama={"width": 128, "height": 64})
    found = pixels(host, graph)
    assert found.shape == (64, 128, 3)
    assert found.std() > 0.02
    inside = np.square(np.diff(found, axis=1)).mean(axis=(0, 2))
    across = np.square(found[:, 0] - found[:, -1]).mean()
    assert across <= 1.05 * np.sort(inside)[-16:].mean()


def test_gradients_and_what_they_cost(host: Host) -> None:
    """The copy that gradients need is gone afterwards: a second and a third run take no more memory."""
    used = []
    for seed in (1, 2, 3):
        graph = prompt(exact=False, name="gradients", panorama={"width": 64, "height": 64, "seed": seed},
                       settings={"inversion": "backprop", "inversion_steps": 2, "sweeps": 2, "sigma_max": 1.0})
        graph["text"] = {"class_type": "PreviewAny", "inputs": {"source": ["panorama", 1]}}
        history = host.run(graph)
        assert history["status"]["status_str"] == "success", history["status"]["messages"][-1]
        assert "a second copy of it was loaded" in str(history["outputs"]["text"])
        used.append(resident(host))
    assert used[2] - used[1] < 60  # the network has 103 MB


def test_interrupt_within_a_step_and_memory_afterwards(host: Host) -> None:
    graph = prompt(exact=False, name="stopped", settings={"sweeps": 500}, panorama={"width": 512, "height": 256})
    graph["denoiser"]["inputs"]["batch"] = 2
    prompt_id = host.submit(graph)["prompt_id"]
    time.sleep(8)
    asked = time.monotonic()
    host.call("/interrupt", {"prompt_id": prompt_id})
    messages = dict(host.wait(prompt_id)["status"]["messages"])
    assert time.monotonic() - asked < 4
    assert messages["execution_interrupted"]["node_id"] == "panorama"
    host.call("/free", {"unload_models": True, "free_memory": True})
    assert latents(host, prompt(name="after")).mean() == pytest.approx(2, abs=0.3)


def test_errors_are_sentences(host: Host) -> None:
    graph = prompt(name="bare", panorama={"wrap_x": False})
    graph["area"] = {"class_type": "ConditioningSetAreaPercentage", "inputs": {
        "conditioning": ["pos", 0], "width": 0.5, "height": 1.0, "x": 0.0, "y": 0.0, "strength": 1.0}}
    graph["denoiser"]["inputs"]["positive"] = ["area", 0]
    assert "leave 50.0% of the picture without a prompt" in str(host.run(graph)["status"]["messages"])
    graph = prompt(name="odd", panorama={"width": 250})
    assert "A side that wraps is a multiple of 8 pixels" in str(host.run(graph)["status"]["messages"])
