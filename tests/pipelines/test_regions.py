"""Transforming regions: areas of discs, crisp edges, filling, components."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette
from latent_atelier.pipelines.mask_geometry import FAR, components, nearest_true
from latent_atelier.pipelines.regions import OPERATIONS, select, transform_region

LABELS = LabelSet(("background", "road", "tyre", "hub"), default_palette(4))
WHEEL = ("tyre", "hub")
SIZE = 128


def disc(centre: tuple[float, float], radius: float, size: int = SIZE) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def car(*centres: tuple[float, float], radius: float = 12) -> LabelMap:
    ids = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    ids[80:] = 1
    for centre in centres:
        ids[disc(centre, radius)] = 2
        ids[disc(centre, radius / 2)] = 3
    return LabelMap(ids[None], LABELS)


TWO_WHEELS = car((32, 64), (96, 64))


def random_map(seed: int, batch: int = 2, size: int = 14) -> LabelMap:
    rng = torch.Generator().manual_seed(seed)
    blocks = torch.randint(4, (batch, size // 2, size // 2), generator=rng, dtype=torch.uint8)
    return LabelMap(blocks.repeat_interleave(2, 1).repeat_interleave(2, 2), LABELS)


def test_select() -> None:
    assert torch.equal(select(TWO_WHEELS, ["hub", "tyre"]), TWO_WHEELS.ids >= 2)
    assert not select(TWO_WHEELS, []).any()
    with pytest.raises(InvalidInputError, match="no label 'wing'"):
        select(TWO_WHEELS, ["wing"])


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3, 1.7, 2.0])
@pytest.mark.parametrize("radius", [9, 12, 14.5])
def test_a_scaled_disc_has_its_area_times_the_factor_squared(factor, radius) -> None:
    before = car((32, 64), (96, 64), radius=radius)
    after, _ = transform_region(before, WHEEL, operation="scale", factor=factor)
    for column, centre in ((slice(0, 64), (32, 64)), (slice(64, 128), (96, 64))):
        asked = before.ids[..., column].ge(2).sum() * factor**2
        found = after.ids[..., column].ge(2)
        # a digital disc's area is off by a share of its rim of about 2 pi r pixels
        assert abs(found.sum() - asked) <= 0.5 * 2 * math.pi * radius * factor
        y, x = after.ids[0].ge(2).logical_and(disc(centre, 2.2 * radius)).nonzero().float().mean(dim=0)
        assert (abs(x - centre[0]), abs(y - centre[1])) <= (1, 1)
    hub = after.ids[0] == 3
    assert abs(hub.sum() - (before.ids[0] == 3).sum() * factor**2) <= 2 * math.pi * radius * factor


def test_each_wheel_grows_about_its_own_axle() -> None:
    after, changed = transform_region(TWO_WHEELS, WHEEL, operation="scale", factor=1.5)
    expected = disc((32, 64), 18) | disc((96, 64), 18)
    assert (after.ids[0].ge(2) ^ expected).sum() < 0.05 * expected.sum()
    assert torch.equal(changed, after.ids != TWO_WHEELS.ids)
    together, _ = transform_region(TWO_WHEELS, WHEEL, operation="scale", factor=1.25, anchor="region")
    y, x = together.ids[0, :, :64].ge(2).nonzero().float().mean(dim=0)
    assert (round(x.item()), round(y.item())) == (24, 64)  # 64 - 32 * 1.25


def test_identity() -> None:
    for options in ({"operation": "scale", "factor": 1.0}, {"operation": "move"}, {"operation": "grow"},
                    {"operation": "shrink"}):
        after, changed = transform_region(TWO_WHEELS, WHEEL, **options)
        assert torch.equal(after.ids, TWO_WHEELS.ids)
        assert not changed.any()


@pytest.mark.parametrize("pixels", [1, 2.5, 4])
def test_grow_and_shrink_by_a_distance(pixels) -> None:
    one = car((64, 40))
    grown, _ = transform_region(one, WHEEL, operation="grow", pixels=pixels)
    assert abs(grown.ids.ge(2).sum() - math.pi * (12 + pixels) ** 2) < 0.5 * 2 * math.pi * 16
    assert torch.equal(grown.ids[0] == 3, one.ids[0] == 3)  # the hub is inside: only the tyre grows
    shrunk, _ = transform_region(one, WHEEL, operation="shrink", pixels=pixels)
    assert abs(shrunk.ids.ge(2).sum() - math.pi * (12 - pixels) ** 2) < 0.5 * 2 * math.pi * 12
    assert torch.equal(shrunk.ids[0] == 3, one.ids[0] == 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.7, 30.0]))
def test_grow_and_shrink_match_the_definition(seed, pixels) -> None:
    label_map = random_map(seed, batch=1, size=10)
    region = np.isin(label_map.ids[0].numpy(), (2, 3))
    y, x = np.indices(region.shape).reshape(2, -1)
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    near = (distance <= pixels)
    grown = (near & region.reshape(-1)).any(axis=1).reshape(region.shape)
    eroded = (~(near & ~region.reshape(-1)).any(axis=1)).reshape(region.shape)
    if region.any():
        after, _ = transform_region(label_map, WHEEL, operation="grow", pixels=pixels)
        assert np.array_equal(np.isin(after.ids[0].numpy(), (2, 3)), grown)
    after, _ = transform_region(label_map, WHEEL, operation="shrink", pixels=pixels)
    assert np.array_equal(np.isin(after.ids[0].numpy(), (2, 3)), eroded)


def test_move_vacates_and_overwrites() -> None:
    one = car((64, 64))
    after, _ = transform_region(one, WHEEL, operation="move", offset=(20, -10))
    assert torch.equal(after.ids[0] == 2, torch.roll(one.ids[0] == 2, (-10, 20), (0, 1)))
    assert torch.equal(after.ids[0, 80:], torch.ones(48, SIZE, dtype=torch.uint8))
    assert (after.ids[0, 53:75, 50:70] == 0).any()
    gone, _ = transform_region(one, WHEEL, operation="move", offset=(4000, 0))
    assert not gone.ids.ge(2).any()


def test_relabel_and_remove() -> None:
    one = car((64, 80))
    after, changed = transform_region(one, ["hub"], operation="relabel", to="tyre")
    assert torch.equal(after.ids == 2, one.ids >= 2)
    assert torch.equal(changed, one.ids == 3)
    removed, changed = transform_region(one, WHEEL, operation="remove")
    assert torch.equal(changed, one.ids >= 2)
    assert torch.equal(removed.ids[0], car().ids[0]) or (removed.ids[0] != car().ids[0]).sum() < 30
    inner, _ = transform_region(one, ["hub"], operation="remove")
    assert torch.equal(inner.ids == 2, one.ids >= 2)


def test_a_part_larger_than_the_picture_is_cut() -> None:
    after, _ = transform_region(car((64, 64)), WHEEL, operation="scale", factor=40)
    assert (after.ids == 3).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(OPERATIONS), st.floats(0, 8), st.floats(0.05, 5),
       st.tuples(st.floats(-9, 9), st.floats(-9, 9)), st.sampled_from(["component", "region"]),
       st.sets(st.sampled_from(LABELS.names), min_size=1))
def test_any_transformation_is_pure_and_per_sample(seed, operation, pixels, factor, offset, anchor, names) -> None:
    label_map = random_map(seed)
    before = label_map.ids.clone()
    options = {"operation": operation, "pixels": pixels, "factor": factor, "offset": offset, "anchor": anchor,
               "to": "road"}
    try:
        after, changed = transform_region(label_map, names, **options)
    except InvalidInputError as error:
        assert "cover the whole picture" in str(error)  # noqa: PT017
        return
    assert torch.equal(label_map.ids, before)
    assert torch.equal(changed, after.ids != before)
    for i in range(2):
        alone, _ = transform_region(label_map.sample(i), names, **options)
        assert torch.equal(alone.ids[0], after.ids[i])


def test_a_sample_without_the_region_stays() -> None:
    both = LabelMap(torch.cat([TWO_WHEELS.ids, car().ids]), LABELS)
    after, changed = transform_region(both, WHEEL, operation="scale", factor=1.3)
    assert torch.equal(after.ids[1], both.ids[1])
    assert changed[0].any()
    assert not changed[1].any()


@pytest.mark.parametrize(("options", "says"), [
    ({"operation": "spin"}, "one of grow, shrink, scale"),
    ({"operation": "scale", "anchor": "top"}, "anchor is one of"),
    ({"operation": "scale", "factor": 0.0}, "factor"),
    ({"operation": "scale", "factor": math.nan}, "factor"),
    ({"operation": "grow", "pixels": -1}, "pixels"),
    ({"operation": "move", "offset": (math.inf, 0)}, "offset"),
    ({"operation": "relabel"}, "needs the name"),
    ({"operation": "relabel", "to": "wing"}, "no label 'wing'"),
])
def test_wrong_settings_are_refused(options, says) -> None:
    with pytest.raises(InvalidInputError, match=says):
        transform_region(TWO_WHEELS, WHEEL, **options)
    with pytest.raises(InvalidInputError, match="at least one label name"):
        transform_region(TWO_WHEELS, [], operation="remove")


def test_nothing_left_to_fill_with() -> None:
    with pytest.raises(InvalidInputError, match="cover the whole picture"):
        transform_region(TWO_WHEELS, LABELS.names, operation="remove")


def flood(mask: np.ndarray) -> np.ndarray:
    """Connected components the slow, obvious way."""
    number, found = np.zeros(mask.shape, dtype=int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if number[start]:
            continue
        found += 1
        todo = [start]
        while todo:
            y, x = todo.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not number[y, x]:
                number[y, x] = found
                todo += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return number


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 2**31), st.floats(0, 1))
def test_mask_geometry_matches_the_definitions(height, width, seed, share) -> None:
    rng = np.random.default_rng(seed)
    mask, query = rng.random((height, width)) < share, rng.random((height, width)) < 0.5
    number, count = components(mask)
    assert count == flood(mask).max(initial=0)
    assert np.array_equal(number, flood(mask))
    distance, source = nearest_true(mask, query)
    if not mask.any():
        assert (distance >= FAR).all()
        return
    y, x = np.nonzero(query)
    seeds_y, seeds_x = np.nonzero(mask)
    assert np.array_equal(distance, ((y[:, None] - seeds_y) ** 2 + (x[:, None] - seeds_x) ** 2).min(axis=1))
    assert np.array_equal((source // width - y) ** 2 + (source % width - x) ** 2, distance)
    assert mask.reshape(-1)[source].all()
