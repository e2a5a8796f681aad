"""The label branch against concatenation, at all pixels and at some."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.editgan.segmentation import (
    Pixels,
    PixelSampler,
    Segmenter,
    Upsampling,
    hidden_sizes,
    pixels_of,
)
from latent_atelier.pipelines.editgan.training import SegmenterTraining, train_segmenter
from latent_atelier.pipelines.errors import InvalidInputError
from tiny import Networks
from torch.nn import functional as F


def upsample(features: list[torch.Tensor], size: tuple[int, int], mode: Upsampling) -> torch.Tensor:
    """The concatenated, upsampled features [B,C,H,W] of the paper."""
    align = False if mode == "bilinear" else None
    return torch.cat([F.interpolate(f, size, mode=mode, align_corners=align) for f in features], dim=1)


def concatenate(segmenter: Segmenter, features: list[torch.Tensor], size: tuple[int, int], mode: Upsampling) -> torch.Tensor:
    """Upsample, concatenate, classify every pixel, mean over the members: [B,classes,H,W]."""
    table = upsample(features, size, mode)
    rows = table.permute(0, 2, 3, 1).flatten(0, 2)
    logits = torch.stack([member.layers(rows) for member in segmenter.classifiers()]).mean(dim=0)
    return logits.unflatten(0, (len(table), *size)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(16, 16), (23, 40), (64, 64)])
def test_adding_upsampled_projections_is_concatenating(networks: Networks, mode: Upsampling, size: tuple[int, int]) -> None:
    features = networks.generator.synthesis(networks.codes(2))[1]
    expected = concatenate(networks.segmenter, features, size, mode)
    found = networks.segmenter(features, size, mode)
    assert float(expected.std()) > 1e-3
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(networks.segmenter.label_ids(features, size, mode), found.argmax(dim=1).to(torch.uint8))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_some_pixels_are_those_of_the_whole(networks: Networks, mode: Upsampling, height: int, width: int, seed: int) -> None:
    features = networks.generator.synthesis(networks.codes(2))[1]
    mask = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < 0.2
    pixels = pixels_of(mask)
    whole = networks.segmenter(features, (height, width), mode).permute(0, 2, 3, 1)
    some = networks.segmenter.at(features, PixelSampler(pixels, (height, width), mode))
    assert torch.allclose(some, whole[mask], atol=1e-5)
    if mode == "bilinear":
        table = upsample(features, (height, width), mode).permute(0, 2, 3, 1)
        assert torch.allclose(PixelSampler(pixels, (height, width)).concatenated(features), table[mask], atol=1e-5)


def test_gradients_reach_the_codes_the_same_way(networks: Networks) -> None:
    codes = networks.codes(1).requires_grad_(True)
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 3:9, 5:12] = True
    gradients = []
    for region_only in (True, False):
        features = networks.generator.synthesis(codes)[1]
        if region_only:
            logits = networks.segmenter.at(features, PixelSampler(pixels_of(mask), (16, 16)))
        else:
            logits = concatenate(networks.segmenter, features, (16, 16), "bilinear").permute(0, 2, 3, 1)[mask]
        loss = F.cross_entropy(logits, torch.ones(len(logits), dtype=torch.long))
        gradients.append(torch.autograd.grad(loss, codes)[0])
    assert torch.allclose(*gradients, atol=1e-7, rtol=1e-4)


def test_other_features_are_refused(networks: Networks) -> None:
    features = networks.generator.synthesis(networks.codes(1))[1]
    with pytest.raises(InvalidInputError, match="load the generator it was trained with"):
        networks.segmenter(features[:-1])
    with pytest.raises(InvalidInputError, match="channels"):
        networks.segmenter.at(features[1:], PixelSampler(Pixels(*torch.zeros(3, 1, dtype=torch.long)), (16, 16)))


def test_hidden_sizes_are_the_official_ones() -> None:
    assert hidden_sizes(12) == (128, 32)
    assert hidden_sizes(34) == (256, 128)


def test_training_learns_a_separable_labelling_and_members_stand_alone() -> None:
    """Labels that are a linear function of the features; a member does not depend on how many there are."""
    rng = torch.Generator().manual_seed(0)
    features = [torch.randn(4, 5, 4, 4, generator=rng), torch.randn(4, 3, 8, 8, generator=rng)]
    labels = upsample(features, (8, 8), "bilinear")[:, [0, 4, 6]].argmax(dim=1).to(torch.uint8)
    made = []
    for members in (2, 1):
        segmenter = Segmenter(feature_channels=(5, 3), num_classes=3, hidden=(24, 12), members=members)
        train_segmenter(segmenter, features, labels, SegmenterTraining(steps=400, pixels=128, lr=1e-2),
                        rngs=[torch.Generator().manual_seed(i) for i in range(members)])
        made.append(segmenter)
    assert (made[0].label_ids(features) == labels).float().mean() > 0.95
    assert not made[0].training
    first, alone = (list(s.classifiers()[0].parameters()) for s in made)
    assert all(torch.equal(a, b) for a, b in zip(first, alone, strict=True))


def test_training_wants_as_many_maps_as_pictures() -> None:
    segmenter = Segmenter(feature_channels=(5,), num_classes=3, members=1)
    with pytest.raises(InvalidInputError, match="2 pictures, 3 maps"):
        train_segmenter(segmenter, [torch.zeros(2, 5, 4, 4)], torch.zeros(3, 4, 4, dtype=torch.uint8),
                        SegmenterTraining(), rngs=[torch.Generator()])
