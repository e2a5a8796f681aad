"""Crops come back where they were; faces are aligned as in FFHQ; Poisson blending solves Poisson's equation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.nodes.photographs import parse_points
from latent_atelier.pipelines.curves import plot_curves
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.photographs import Crop, box_crop, centre_crop, extract, face_crop, paste
from latent_atelier.pipelines.poisson import poisson_blend


def smooth(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A photograph of long waves, which survives resampling."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    phase = torch.rand(3, generator=torch.Generator().manual_seed(seed)) * 6
    return torch.stack([0.5 + 0.2 * torch.sin(5 * x + p) + 0.2 * torch.cos(4 * y - p) for p in phase], dim=2)[None]


@settings(max_examples=40, deadline=None)
@given(height=st.integers(8, 60), width=st.integers(8, 60), data=st.data())
def test_an_upright_crop_at_its_own_size_is_a_slice(height: int, width: int, data: st.DataObject) -> None:
    side = data.draw(st.integers(1, min(height, width)))
    x, y = data.draw(st.integers(0, width - side)), data.draw(st.integers(0, height - side))
    photograph = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(side))
    found = extract(photograph, box_crop(height, width, x, y, side), side)
    assert torch.allclose(found, photograph[:, y:y + side, x:x + side], atol=1e-4)
    other = torch.rand(1, side, side, 3)
    pasted = paste(photograph, other, box_crop(height, width, x, y, side), blend="none")
    expected = photograph.clone()
    expected[:, y:y + side, x:x + side] = other
    assert torch.allclose(pasted, expected, atol=1e-4)


def test_boxes_stay_inside() -> None:
    with pytest.raises(InvalidInputError, match="reaches beyond"):
        box_crop(20, 30, 15, 0, 16)
    assert centre_crop(20, 30) == Crop((15, 10), (10, 0), 20, 30)
    with pytest.raises(InvalidInputError, match="30x20 pixels, this one has 20x30"):
        extract(torch.zeros(1, 30, 20, 3), centre_crop(20, 30), 8)


@settings(max_examples=25, deadline=None)
@given(angle=st.floats(-3.1, 3.1), half=st.floats(12, 30), size=st.integers(40, 96))
def test_a_turned_crop_goes_back_where_it_was(angle: float, half: float, size: int) -> None:
    photograph = smooth(90, 120)
    crop = Crop((61.0, 44.0), (half * math.cos(angle), half * math.sin(angle)), 90, 120)
    picture = extract(photograph, crop, size)
    for blend in ("feather", "poisson", "none"):
        assert (paste(photograph, picture, crop, blend=blend) - photograph).abs().max() < 0.02, blend


def test_only_the_mask_is_replaced_and_only_the_change_is_added() -> None:
    photograph = torch.rand(1, 40, 60, 3, generator=torch.Generator().manual_seed(1))
    crop = box_crop(40, 60, 10, 4, 32)
    reconstruction = extract(photograph, crop, 32) * 0.5
    edited = reconstruction.clone()
    edited[:, 8:16, 8:16] += 0.25
    mask = torch.zeros(1, 32, 32)
    mask[:, 6:18, 6:18] = 1
    pasted = paste(photograph, edited, crop, mask, blend="none", reconstruction=reconstruction)
    expected = photograph.clone()
    expected[:, 12:20, 18:26] += 0.25
    assert torch.allclose(pasted, expected.clamp(0, 1), atol=1e-4)
    assert torch.equal(pasted[:, :8], photograph[:, :8])
    feathered = paste(photograph, edited, crop, mask, feather=4)
    changed = (feathered != photograph).any(dim=3)[0]
    assert changed.any()
    assert not changed[:10].any()
    assert not changed[:, :16].any()


def test_faces_are_aligned_as_in_ffhq() -> None:
    """Worked by hand: eyes 40 apart, mouth 50 below, so half the side is max(2 x 40, 1.8 x 50) = 90."""
    crop = face_crop(400, 400, [(180, 100), (220, 100), (190, 150), (210, 150)])
    assert crop.centre == pytest.approx((200, 105))
    assert crop.half == pytest.approx((90, 0))
    turned = face_crop(400, 400, [(300, 180), (300, 220), (250, 190), (250, 210)])  # a quarter turn clockwise
    assert turned.centre == pytest.approx((295, 200))
    assert turned.half == pytest.approx((0, 90), abs=1e-9)
    for wrong, words in (([(1, 1)] * 4, "lie on each other"), ([(1, 1)], "got 1")):
        with pytest.raises(InvalidInputError, match=words):
            face_crop(10, 10, wrong)


def test_points_are_read_or_refused() -> None:
    assert parse_points("12.5, 40; 60 41;") == [(12.5, 40.0), (60.0, 41.0)]
    with pytest.raises(InvalidInputError, match=r"'5' of the landmarks"):
        parse_points("1,2; 5")


def test_equal_gradients_give_the_target_back() -> None:
    target = smooth(30, 40)
    mask = torch.zeros(1, 30, 40, dtype=torch.bool)
    mask[:, 5:20, 8:30] = True
    assert torch.allclose(poisson_blend(target, target + 0.2, mask), target, atol=1e-3)


def test_a_flat_source_is_the_harmonic_membrane() -> None:
    """Without gradients the solution is harmonic: of a linear target, the linear ramp; its own mean over neighbours."""
    ramp = torch.linspace(0, 1, 40)[None, None, :, None].expand(1, 30, 40, 3)
    mask = torch.zeros(1, 30, 40, dtype=torch.bool)
    mask[:, 5:20, 8:30] = True
    flat = torch.full_like(ramp, 0.9)
    assert torch.allclose(poisson_blend(ramp, flat, mask), ramp, atol=2e-3)
    rough = torch.rand(1, 30, 40, 3, generator=torch.Generator().manual_seed(2))
    found = poisson_blend(rough, flat, mask)
    mean = sum(found.roll(s, dims=a) for a in (1, 2) for s in (1, -1)) / 4
    assert (found - mean)[mask].abs().max() < 1e-3
    assert torch.equal(found[~mask], rough[~mask])


def test_a_mask_at_the_edge_works_and_one_of_everything_is_refused() -> None:
    target = smooth(20, 20)
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[:, :10] = True
    assert torch.allclose(poisson_blend(target, target - 0.1, mask), target, atol=2e-3)
    with pytest.raises(InvalidInputError, match="covers all"):
        poisson_blend(target, target, torch.ones(1, 20, 20, dtype=torch.bool))


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=20))
def test_any_values_can_be_plotted(values: list[float]) -> None:
    sheet = plot_curves([("loss", torch.tensor(values))], width=200, height=120)
    assert sheet.shape == (1, 120, 200, 3)


def test_a_falling_curve_falls_on_the_picture() -> None:
    sheet = plot_curves([("loss", torch.tensor([100.0, 10.0, 1.0]))])[0]
    blue = (sheet - torch.tensor([46, 110, 180]) / 255).abs().sum(dim=2) < 0.02
    rows = [blue[28:, column].nonzero().float().mean() for column in (70, 344, 620)]
    assert rows[0] < rows[1] < rows[2]
    assert rows[1] - rows[0] == pytest.approx(rows[2] - rows[1], abs=6)  # a straight line on the logarithmic axis
