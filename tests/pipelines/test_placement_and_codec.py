"""Where conditions hold on a canvas, and pictures through an autoencoder that does not know of wrapping."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.langevin.canvas import Crops, framed
from latent_atelier.pipelines.langevin.codec import PAD, Pixels, decode_around, encode_around
from latent_atelier.pipelines.langevin.placement import Placement
from torch import Tensor
from torch.nn import functional as F


def test_areas() -> None:
    """Faded edges inside the canvas, none on its border, none where there is a mask."""
    field = Placement((8, 16, 0, 0)).on((8, 32))
    assert field.shape == (1, 8, 32)
    assert torch.equal(field[0, 0], field[0, 7])
    assert field[0, 0].tolist() == [1.0] * 13 + [0.75, 0.5, 0.25] + [0.0] * 16
    relative = Placement((1.0, 0.5, 0.0, 0.0), relative=True).on((8, 32))
    assert torch.equal(relative, field)
    assert torch.equal(Placement((8, 16, 0, 0), mask=torch.ones(4, 4)).on((8, 32))[0, 0], (torch.arange(32) < 16).float())
    assert Placement((999, 999, 0, 24)).on((8, 32))[0, 0].count_nonzero() == 8
    film = Placement((8, 16, 0, 0)).on((3, 8, 32))
    assert torch.equal(film[0, 2], field[0])


def test_masks() -> None:
    mask = torch.zeros(2, 4, 8)
    mask[0, :, :4] = 1
    field = Placement(mask=mask).on((16, 32))
    assert field.shape == (1, 16, 32)
    assert (field[0, :, :14].min(), field[0, :, 18:].max()) == (1, 0)
    assert torch.equal(Placement(mask=mask[0]).on((2, 16, 32))[0, 1], field[0])


def test_crops_of_something_finer_are_the_same_places() -> None:
    frame = framed((16, 40), (8, 8), 1 / 8, (False, True))
    crops = Crops(frame, ((2, 36), (0, 5)), ((slice(0, 8), slice(1, 7)), (slice(0, 8), slice(1, 7))))
    field = torch.rand(3, 16, 40)
    fine = field.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(crops.magnified(4).crop(fine), crops.crop(field).repeat_interleave(4, 2).repeat_interleave(4, 3))


def blurring(x: Tensor) -> Tensor:
    """A decoder that sees 5 elements on each side, with zeros beyond the edge; 4 pixels per element."""
    kernel = torch.ones(3, 3, 11, 11) / 363
    return F.conv2d(F.interpolate(x, scale_factor=4), kernel.repeat_interleave(1, 0), padding=5, stride=1)


@pytest.mark.parametrize("wrap", [(False, True), (True, True)])
def test_decoding_closes_where_the_canvas_wraps(wrap: tuple[bool, bool]) -> None:
    """A decoder with context: decoded around the edge it gives what it gives of the canvas turned by half."""
    canvas = torch.randn(1, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    found = decode_around(blurring, canvas, wrap, 4)
    assert found.shape == (1, 3, 96, 160)
    turned = decode_around(blurring, canvas.roll(20, 3), wrap, 4).roll(-80, 3)
    assert torch.allclose(found, turned, atol=1e-6)
    steps = (found - found.roll(1, 3)).square().mean(dim=(0, 1, 2))
    assert steps[0] <= 1.05 * steps[4::4].max()
    plain = blurring(canvas)
    assert (plain - plain.roll(1, 3)).square().mean(dim=(0, 1, 2))[0] > 5 * steps[4::4].max()


def test_decoding_fades_where_the_decoder_sees_the_whole() -> None:
    """One whose output drifts along the canvas, as a global normalisation makes it: no step at the edge."""
    def drifting(x: Tensor) -> Tensor:
        return x + torch.linspace(0, 5, x.shape[3])
    found = decode_around(drifting, torch.zeros(1, 1, 8, 64), (False, True), 1)
    assert (found[..., 0] - found[..., -1]).abs().max() < 0.5
    assert (found[..., 1:] - found[..., :-1]).abs().max() < 1


def test_encoding_and_pixels() -> None:
    pictures = torch.randn(1, 3, 16, 64)

    def encoder(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (2, 2, 2, 2)), 5, 1)[:, :, ::4, ::4]

    found = encode_around(encoder, pictures, (False, True), 4)
    turned = encode_around(encoder, pictures.roll(32, 3), (False, True), 4)
    assert found.shape == (1, 3, 4, 16)
    assert torch.allclose(found, turned.roll(-8, 3), atol=1e-6)
    assert PAD * 4 == 64
    assert torch.equal(Pixels(3).decode(Pixels(3).encode(pictures, (True, True)), (True, True)), pictures)
