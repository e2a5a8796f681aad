"""The perceptual distance as a distance, and sheets whose pixels are the pictures'."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.labels import LabelMap, LabelSet, render
from latent_atelier.pipelines.perceptual import unit_normalize
from latent_atelier.pipelines.sheets import CAPTION, MARGIN, contact_sheet, difference, outlined, with_legend
from tiny import Networks

LABELS = LabelSet(("background", "wheel"), ((10, 20, 30), (200, 100, 50)))


def test_distance_is_zero_symmetric_and_grows(networks: Networks) -> None:
    picture = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
    near, far = picture + 0.05 * noise, picture + 0.5 * noise
    assert networks.distance(picture, picture).tolist() == [0, 0, 0]
    assert torch.allclose(networks.distance(picture, far), networks.distance(far, picture))
    assert (networks.distance(picture, far) > networks.distance(picture, near)).all()
    assert (networks.distance(picture, far) <= 4).all()


def test_distance_of_a_batch_is_that_of_its_pictures(networks: Networks) -> None:
    a, b = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(networks.distance(a, b)[2:3], networks.distance(a[2:3], b[2:3]), atol=1e-6)


def test_gradient_is_finite_where_features_vanish() -> None:
    x = torch.zeros(1, 4, 2, 2, requires_grad=True)
    torch.autograd.backward(unit_normalize(x).sum())
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    y = unit_normalize(torch.randn(2, 4, 3, 3))
    assert torch.allclose(y.square().sum(dim=1), torch.ones(2, 3, 3))


def test_sheet_shows_every_picture_in_its_place() -> None:
    pictures = torch.rand(3, 8, 8, 3)
    one = torch.rand(1, 8, 8, 3)
    sheet = contact_sheet([("before", pictures), ("mask", one)], cell=32)
    assert sheet.shape == (1, MARGIN + CAPTION + 3 * (32 + MARGIN), MARGIN + 2 * (32 + MARGIN), 3)
    for row in range(3):
        top = MARGIN + CAPTION + row * (32 + MARGIN)
        for column, expected in enumerate((pictures[row], one[0])):
            left = MARGIN + column * (32 + MARGIN)
            shown = sheet[0, top:top + 32:4, left:left + 32:4]
            assert torch.allclose(shown, expected, atol=0.003)
    with pytest.raises(InvalidInputError, match="'mask' of the sheet has 2 pictures, others 3"):
        contact_sheet([("before", pictures), ("mask", pictures[:2])])


def test_difference_is_white_where_nothing_changed() -> None:
    before = torch.rand(1, 4, 4, 3)
    after = before.clone()
    after[0, 1, 2] = 1 - after[0, 1, 2]
    shown = difference(before, after)
    assert (shown[0, 0] == 1).all()
    assert (shown[0, 1, 2] < 1).all()
    with pytest.raises(InvalidInputError, match="differ in size"):
        difference(before, after[:, :2])


def test_outline_is_the_inner_edge() -> None:
    mask = torch.zeros(1, 6, 6)
    mask[0, 1:5, 1:5] = 1
    drawn = outlined(torch.zeros(1, 6, 6, 3), mask, (1.0, 1.0, 1.0))[0, ..., 0]
    assert drawn[1:5, 1:5].tolist() == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert drawn.sum() == 12


def test_legend_leaves_the_map_readable() -> None:
    label_map = LabelMap(torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8), LABELS)
    sheet = with_legend(label_map, cell=64)
    shown = sheet[0, MARGIN + 16:MARGIN + 64:32, MARGIN + 16:MARGIN + 64:32]
    assert torch.allclose(shown, render(label_map)[0], atol=0.003)
    picture = torch.ones(1, 2, 2, 3)
    mixed = with_legend(label_map, picture, opacity=0.5, cell=64)[0, MARGIN + 16, MARGIN + 16]
    assert mixed.tolist() == pytest.approx([(10 / 255 + 1) / 2, (20 / 255 + 1) / 2, (30 / 255 + 1) / 2], abs=0.005)
    with pytest.raises(InvalidInputError, match="pixels"):
        with_legend(label_map, torch.ones(1, 3, 3, 3))
