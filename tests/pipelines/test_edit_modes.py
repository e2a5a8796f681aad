"""The three modes: going on from a state, early ends, refinement, the official preset, its terms."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.editgan.editing import (
    OFFICIAL,
    EditLoss,
    EditSettings,
    dilate,
    edit_region,
    optimise_edit,
    refinement,
)
from latent_atelier.pipelines.editgan.encoder import as_official
from latent_atelier.pipelines.editgan.state_file import load_state, save_state
from latent_atelier.pipelines.errors import InvalidInputError
from tiny import Networks
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = EditSettings(steps=12, lr=0.05, rgb=0.5)


def task(networks: Networks, options: EditSettings = SETTINGS, **terms) -> tuple[EditLoss, torch.Tensor]:
    codes = networks.codes(2, seed=5)
    before = networks.segmenter.label_ids(networks.generator.synthesis(codes)[1])
    target = before.clone()
    target[:, 4:9, 3:10] = (before[:, 4:9, 3:10] + 1) % 4
    region = edit_region(before, target, dilation=1)
    return EditLoss(networks.generator, networks.segmenter, networks.distance, codes, target, region, options, **terms), codes


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("first", [1, 5, 11])
def test_going_on_gives_what_never_stopping_gives(networks: Networks, tmp_path: Path, keep: str, first: int) -> None:
    options = dataclasses.replace(SETTINGS, keep=keep)
    loss, codes = task(networks, options)
    whole = optimise_edit(loss, codes)
    begun = optimise_edit(task(networks, dataclasses.replace(options, steps=first))[0], codes)
    save_state(tmp_path / "state.safetensors", begun.state)
    kept = load_state(tmp_path / "state.safetensors")
    ended = optimise_edit(task(networks, dataclasses.replace(options, steps=12 - first))[0], codes, state=kept)
    assert begun.state.step == first
    assert ended.state.step == 12
    for field in dataclasses.fields(whole.state):
        a, b = getattr(whole.state, field.name), getattr(ended.state, field.name)
        assert a == b if isinstance(a, int) else torch.equal(a, b), field.name
    assert torch.equal(whole.delta, ended.delta)


def test_a_state_of_other_codes_is_refused(networks: Networks) -> None:
    loss, codes = task(networks)
    state = optimise_edit(loss, codes).state
    with pytest.raises(InvalidInputError, match="connect the codes it was begun with"):
        optimise_edit(loss, codes[:1], state=state)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 4000), flip=st.integers(0, 4000))
def test_damaged_state_files_are_refused(networks: Networks, tmp_path: Path, cut: int, flip: int) -> None:
    """Whatever is read is a state that fits itself; everything else is one sentence."""
    path = tmp_path / "state.safetensors"
    if not path.exists():
        loss, codes = task(networks, dataclasses.replace(SETTINGS, steps=1))
        save_state(path, optimise_edit(loss, codes).state)
    data = bytearray(path.read_bytes())
    data[flip % len(data)] ^= 255
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(bytes(data[:len(data) - cut % len(data)]))
    with contextlib.suppress(InvalidInputError):
        state = load_state(damaged)
        assert state.codes.shape == state.best.shape == state.first_moment.shape == state.second_moment.shape


def test_a_picture_ends_by_itself_when_nothing_improves(networks: Networks) -> None:
    """A rate that overshoots: no step is better than the start, so the third without gain is the last."""
    loss, codes = task(networks, dataclasses.replace(SETTINGS, steps=50, lr=30.0, patience=3))
    edit = optimise_edit(loss, codes)
    assert edit.state.step <= 3 + int(edit.step.max()) + 1 < 50
    assert torch.equal(edit.loss, edit.curve.min(dim=0).values)
    patient = optimise_edit(task(networks, dataclasses.replace(SETTINGS, patience=12))[0], codes)
    assert torch.equal(patient.delta, optimise_edit(task(networks)[0], codes).delta)


def test_terms_are_what_the_paper_says(networks: Networks) -> None:
    target = networks.codes(2, seed=11)

    def identify(images: torch.Tensor) -> torch.Tensor:
        return F.normalize(F.adaptive_avg_pool2d(images, 3).flatten(1), dim=1)

    options = dataclasses.replace(SETTINGS, encoder=2.0, identity=3.0)
    loss, codes = task(networks, options, encode=lambda images: target + 0 * images.mean(), identify=identify)
    moved = codes + 0.2 * networks.codes(2, seed=12)
    total, parts, image = loss(moved)
    plain = task(networks)[0](moved)[0]
    assert torch.allclose(parts["encoder"], (moved - target).square().mean(dim=(1, 2)))
    shown = networks.generator.synthesis(codes)[0]
    cosine = F.cosine_similarity(identify(image), identify(shown))
    assert torch.allclose(parts["identity"], 1 - cosine, atol=1e-6)
    assert torch.allclose(total, plain + 2 * parts["encoder"] + 3 * parts["identity"], rtol=1e-5)
    with pytest.raises(InvalidInputError, match="encoder term has the weight"):
        task(networks, options, identify=identify)


def test_refinement_keeps_the_labels_of_the_vector(networks: Networks) -> None:
    start = networks.codes(2, seed=5)
    moved = start + 0.4 * networks.codes(2, seed=6)
    target, region = refinement(networks.generator, networks.segmenter, start, moved, (1, 2), dilation=2)
    before, after = (networks.segmenter.label_ids(networks.generator.synthesis(codes)[1]) for codes in (start, moved))
    edited = (before == 1) | (before == 2) | (after == 1) | (after == 2)
    assert torch.equal(target, after)
    assert torch.equal(region, dilate(edited, 2))
    with pytest.raises(InvalidInputError, match="none of the parts"):
        refinement(networks.generator, networks.segmenter, start, start, (40,))


def test_refinement_mends_the_outside(networks: Networks) -> None:
    start = networks.codes(2, seed=5)
    moved = start + 0.3 * networks.codes(2, seed=6)
    target, region = refinement(networks.generator, networks.segmenter, start, moved, (1,), dilation=0)
    loss = EditLoss(networks.generator, networks.segmenter, networks.distance, start, target, region,
                    EditSettings(steps=30, lr=0.02))
    edit = optimise_edit(loss, start, initial=moved - start)
    with torch.no_grad():
        bare, refined = (loss(codes)[1]["mse"] for codes in (moved, start + edit.delta))
    assert (refined < 0.5 * bare).all()


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x).mean(dim=(2, 3)).add(self.norm(x).square().mean(dim=(2, 3))).square()[:, None]


def test_the_official_encoder_sees_its_own_statistics() -> None:
    """Batch of one in training mode on 0..1; nothing of the network changes."""
    torch.manual_seed(0)
    network = Normed().eval()
    network.norm.running_mean.fill_(3)
    images = torch.randn(3, 3, 8, 8)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    found = as_official(network)(images)
    assert not network.norm.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name
    trained = Normed().train()
    for i in range(3):
        assert torch.allclose(found[i], trained((images[i:i + 1] + 1) / 2)[0])


def test_the_official_preset_is_the_tools() -> None:
    assert (OFFICIAL.steps, OFFICIAL.lr, OFFICIAL.keep, OFFICIAL.upsampling) == (29, 0.02, "last", "nearest")
    assert (OFFICIAL.rgb * OFFICIAL.perceptual, OFFICIAL.rgb * OFFICIAL.mse) == (150, 75)
    assert (OFFICIAL.encoder, OFFICIAL.cross_entropy, OFFICIAL.identity) == (1, 1, 0)
