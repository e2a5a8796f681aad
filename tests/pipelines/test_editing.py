"""Edit optimisation and inversion: what is kept, what stays still, what stops it."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.editgan.editing import EditLoss, EditSettings, dilate, edit_region, optimise_edit
from latent_atelier.pipelines.editgan.inversion import InversionSettings, noise_regularisation, ramp, refine_codes
from latent_atelier.pipelines.editgan.pivotal import TuningSettings, neighbour, tune_generator
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.steps import StepInfo
from tiny import Networks
from torch.nn import functional as F

SETTINGS = EditSettings(steps=12, lr=0.05, rgb=0.5)


class Stop(Exception):
    """What a cancelled host raises."""


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), pixels=st.integers(0, 4), seed=st.integers(0, 99))
def test_dilation_reaches_the_square_of_that_radius(height: int, width: int, pixels: int, seed: int) -> None:
    mask = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < 0.1
    expected = np.zeros(mask.shape, bool)
    for sample, y, x in mask.nonzero().tolist():
        expected[sample, max(y - pixels, 0):y + pixels + 1, max(x - pixels, 0):x + pixels + 1] = True
    assert dilate(mask, pixels).numpy().tolist() == expected.tolist()


def test_region_is_old_and_new_pixels_of_the_edited_labels() -> None:
    before = torch.tensor([[[0, 1, 2, 0], [0, 1, 2, 0]]], dtype=torch.uint8)
    after = torch.tensor([[[0, 0, 1, 0], [3, 1, 2, 0]]], dtype=torch.uint8)
    assert edit_region(before, after, (1,), dilation=0).tolist() == [[[False, True, True, False], [False, True, False, False]]]
    assert edit_region(before, after, dilation=0).tolist() == [[[False, True, True, False], [True, False, False, False]]]
    with pytest.raises(InvalidInputError, match="differ in shape"):
        edit_region(before, after[:, :1])


def task(networks: Networks, count: int = 2, settings: EditSettings = SETTINGS) -> tuple[EditLoss, torch.Tensor]:
    codes = networks.codes(count, seed=5)
    before = networks.segmenter.label_ids(networks.generator.synthesis(codes)[1])
    target = before.clone()
    target[:, 4:9, 3:10] = (before[:, 4:9, 3:10] + 1 + torch.arange(count, dtype=torch.uint8)[:, None, None]) % 4
    region = edit_region(before, target, dilation=1)
    return EditLoss(networks.generator, networks.segmenter, networks.distance, codes, target, region, settings), codes


def test_loss_is_the_sum_of_the_paper(networks: Networks) -> None:
    """Recomputed on whole pictures: cross-entropy over r, squared error over its outside, both means per picture."""
    loss, start = task(networks)
    codes = start + 0.3 * networks.codes(2, seed=6)
    total, parts, image = loss(codes)
    drawn, features = networks.generator.synthesis(codes)
    kept = networks.generator.synthesis(start)[0]
    logits = networks.segmenter(features)
    outside = loss.outside[:, 0] > 0.5
    assert torch.equal(image, drawn)
    for i in range(2):
        inside = ~outside[i]
        entropy = F.cross_entropy(logits[i, :, inside].t(), loss.target[:int(inside.sum())] if i == 0
                                  else loss.target[-int(inside.sum()):])
        squared = (((drawn[i] - kept[i]) / 2).square() * outside[i]).mean()
        assert parts["cross_entropy"][i].item() == pytest.approx(entropy.item(), rel=1e-4)
        assert parts["mse"][i].item() == pytest.approx(squared.item(), rel=1e-4)
    s = loss.settings
    expected = s.rgb * (s.perceptual * parts["perceptual"] + s.mse * parts["mse"]) + s.cross_entropy * parts["cross_entropy"]
    assert torch.allclose(total, expected)


def test_best_codes_are_kept_and_judged_by_their_own_loss(networks: Networks) -> None:
    loss, codes = task(networks)
    edit = optimise_edit(loss, codes)
    assert edit.curve.shape == (SETTINGS.steps + 1, 2)
    assert torch.equal(edit.loss, edit.curve.min(dim=0).values)
    assert torch.equal(edit.step, edit.curve.argmin(dim=0))
    with torch.no_grad():
        assert torch.allclose(loss(codes + edit.delta)[0], edit.loss, rtol=1e-4)
    assert (edit.loss < 0.96 * edit.curve[0]).all()


def test_last_codes_are_kept_on_request(networks: Networks) -> None:
    loss, codes = task(networks, settings=dataclasses.replace(SETTINGS, keep="last"))
    edit = optimise_edit(loss, codes)
    assert edit.step.tolist() == [SETTINGS.steps] * 2
    assert torch.equal(edit.loss, edit.curve[-1])


def test_a_batch_gives_what_its_pictures_give_alone(networks: Networks) -> None:
    """Loss and gradient of a picture do not depend on its neighbour, so neither does any step."""
    loss, start = task(networks)
    codes = (start + 0.1 * networks.codes(2, seed=9)).requires_grad_(True)
    total = loss(codes)[0]
    for i, count in enumerate((loss.outside[:, 0] < 0.5).flatten(1).sum(dim=1).tolist()):
        (gradient,) = torch.autograd.grad(total[i], codes, retain_graph=True)
        assert (gradient[1 - i] == 0).all()
        target, region = torch.zeros(1, 16, 16, dtype=torch.uint8), loss.outside[i:i + 1, 0] < 0.5
        target[region] = (loss.target[:count] if i == 0 else loss.target[-count:]).to(torch.uint8)
        alone = EditLoss(networks.generator, networks.segmenter, networks.distance, start[i:i + 1], target, region, SETTINGS)
        value = alone(codes[i:i + 1])[0]
        assert value.item() == pytest.approx(total[i].item(), rel=1e-5)
        assert torch.allclose(torch.autograd.grad(value, codes)[0][i], gradient[i], atol=1e-6)


def test_rows_outside_the_range_stay_still(networks: Networks) -> None:
    loss, codes = task(networks, settings=dataclasses.replace(SETTINGS, rows=(1, 2)))
    delta = optimise_edit(loss, codes).delta
    assert (delta[:, [0, 3, 4, 5]] == 0).all()
    assert (delta[:, 1:3] != 0).any()
    with pytest.raises(InvalidInputError, match=r"within 0\.\.5, got 3\.\.9"):
        optimise_edit(task(networks, settings=dataclasses.replace(SETTINGS, rows=(3, 9)))[0], codes)


def test_start_from_a_given_change(networks: Networks) -> None:
    loss, codes = task(networks, settings=dataclasses.replace(SETTINGS, steps=0))
    initial = 0.1 * networks.codes(2, seed=8)
    assert torch.allclose(optimise_edit(loss, codes, initial=initial).delta, initial, atol=1e-6)


def test_an_edit_that_changes_nothing_is_refused(networks: Networks) -> None:
    codes = networks.codes(2)
    target, region = torch.zeros(2, 16, 16, dtype=torch.uint8), torch.zeros(2, 16, 16, dtype=torch.bool)
    region[0] = True
    with pytest.raises(InvalidInputError, match=r"changes nothing.*picture 2"):
        EditLoss(networks.generator, networks.segmenter, networks.distance, codes, target, region, SETTINGS)
    with pytest.raises(InvalidInputError, match=r"\[2,16,16\]"):
        EditLoss(networks.generator, networks.segmenter, networks.distance, codes, target[:1], region[:1], SETTINGS)


@pytest.mark.parametrize("loop", ["edit", "inversion"])
def test_raising_in_the_callback_stops_at_that_step(networks: Networks, loop: str) -> None:
    steps: list[int] = []

    def cancel(info: StepInfo) -> None:
        steps.append(info.step)
        if info.preview is not None:
            assert info.preview().shape[1:] == (3, 16, 16)
        if info.step == 3:
            raise Stop

    loss, codes = task(networks)
    images = networks.generator.synthesis(codes)[0]
    run = {"edit": lambda: optimise_edit(loss, codes, on_step=cancel),
           "inversion": lambda: refine_codes(networks.generator, networks.distance, images, codes, InversionSettings(steps=9),
                                             on_step=cancel)}[loop]
    with pytest.raises(Stop):
        run()
    assert steps == [1, 2, 3]
    assert codes.grad is None


def test_inversion_approaches_a_planted_picture(networks: Networks) -> None:
    codes = networks.codes(2, seed=1)
    images = networks.generator.synthesis(codes)[0]
    start = codes + 0.5 * networks.codes(2, seed=2)
    found = refine_codes(networks.generator, networks.distance, images, start, InversionSettings(steps=60, lr=0.1, mse=5))
    assert found.curve.shape == (61, 2)
    assert torch.equal(found.loss, found.curve.min(dim=0).values)
    assert (found.loss < 0.1 * found.curve[0]).all()
    before, after = ((networks.generator.synthesis(c)[0] - images).square().mean() for c in (start, found.codes))
    assert after < 0.1 * before


def test_inversion_without_steps_is_the_start(networks: Networks) -> None:
    codes = networks.codes(1)
    images = torch.zeros(1, 3, 16, 16)
    found = refine_codes(networks.generator, networks.distance, images, codes, InversionSettings(steps=0))
    assert torch.equal(found.codes, codes)


def test_inversion_of_a_batch_is_that_of_its_pictures(networks: Networks) -> None:
    codes = networks.codes(3)
    images = networks.generator.synthesis(networks.codes(3, seed=4))[0]
    options = InversionSettings(steps=8)
    together = refine_codes(networks.generator, networks.distance, images, codes, options).codes
    for i in range(3):
        alone = refine_codes(networks.generator, networks.distance, images[i:i + 1], codes[i:i + 1], options).codes
        assert torch.allclose(alone[0], together[i], atol=2e-4)


def test_anchor_holds_the_codes(networks: Networks) -> None:
    codes, images = networks.codes(1), networks.generator.synthesis(networks.codes(1, seed=4))[0]
    found = [refine_codes(networks.generator, networks.distance, images, codes,
                          InversionSettings(steps=15, mse=1.0, anchor=anchor)) for anchor in (0.0, 100.0)]
    moved = [float((inversion.codes - codes).norm()) for inversion in found]
    assert moved[1] < 0.3 * moved[0]


def test_inversion_names_the_size_it_wants(networks: Networks) -> None:
    with pytest.raises(InvalidInputError, match="16x16 pixels, got 8x4"):
        refine_codes(networks.generator, networks.distance, torch.zeros(1, 3, 4, 8), networks.codes(1), InversionSettings())


def test_ramp_is_the_projectors() -> None:
    assert [ramp(t, 1000) for t in (0, 25, 50, 500, 750)] == pytest.approx([0, 0.5, 1, 1, 1])
    assert ramp(875, 1000) == pytest.approx(0.5)
    assert ramp(1000, 1000) == pytest.approx(0)


def test_noise_regularisation_is_the_projectors() -> None:
    """Of a constant map every product is 1: two axes at each of the sizes 32, 16, 8."""
    assert noise_regularisation([torch.ones(2, 1, 32, 32)]).tolist() == pytest.approx([6, 6])
    stripes = torch.ones(1, 1, 8, 8)
    stripes[..., ::2] = -1
    assert noise_regularisation([stripes]).item() == pytest.approx(2)  # -1 along x, 1 along y, both squared
    white = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    assert noise_regularisation([white]).item() < 0.05


def test_noise_maps_carry_what_codes_cannot(networks: Networks) -> None:
    generator = copy.deepcopy(networks.generator)
    for layer in generator.synthesis.layers():
        layer.noise_strength.fill_(0.5)
    codes = networks.codes(2)
    images = generator.synthesis(codes)[0] + 0.3 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    plain = refine_codes(generator, networks.distance, images, codes, InversionSettings(steps=80))
    found = refine_codes(generator, networks.distance, images, codes, InversionSettings(steps=80, noise=1e-3))
    assert plain.noise is None
    assert (found.loss < plain.loss).all()
    for level in found.noise:
        assert len(level) == 2
        assert level.mean(dim=(2, 3)).abs().max() < 1e-5
        assert torch.allclose(level.square().mean(dim=(2, 3)), torch.ones(2, 1), atol=1e-4)
    alone = refine_codes(generator, networks.distance, images[1:], codes[1:], InversionSettings(steps=4, noise=0.01))
    both = refine_codes(generator, networks.distance, images, codes, InversionSettings(steps=4, noise=0.01))
    assert torch.allclose(alone.noise[-1][0], both.noise[-1][1], atol=1e-4)


def test_tuning_draws_the_picture_and_leaves_the_original(networks: Networks) -> None:
    codes = networks.codes(1)
    images = networks.generator.synthesis(networks.codes(1, seed=4))[0]
    state = {k: v.clone() for k, v in networks.generator.state_dict().items()}
    tuned = tune_generator(networks.generator, networks.distance, images, codes, TuningSettings(steps=60, lr=3e-3),
                           rng=torch.Generator().manual_seed(0))
    before, after = ((g.synthesis(codes)[0] - images).square().mean() for g in (networks.generator, tuned))
    assert after < 0.3 * before
    assert all(torch.equal(v, state[k]) for k, v in networks.generator.state_dict().items())
    assert not any(p.requires_grad for p in tuned.parameters())
    held = tune_generator(networks.generator, networks.distance, images, codes,
                          TuningSettings(steps=60, lr=3e-3, locality=100.0), rng=torch.Generator().manual_seed(0))
    near = neighbour(networks.generator, codes, 2.0, torch.Generator().manual_seed(9))
    assert (near - codes).norm() == pytest.approx(2.0, rel=1e-4)
    free, local = ((g.synthesis(near)[0] - networks.generator.synthesis(near)[0]).square().mean() for g in (tuned, held))
    assert local < free
