"""Cameras written down by people and by other programs."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.fields.camera_lists import camera_of_view, cameras_from_text, row_of
from latent_atelier.pipelines.langevin.fields.cameras import orbit

ANGLE = st.floats(-180, 180, width=32)


@given(st.lists(st.tuples(ANGLE, st.floats(-89, 89, width=32)), min_size=1, max_size=5))
def test_lines_are_the_orbits_they_name(rows) -> None:
    text = "\n".join(f"{a}, {e}  # remark\n" for a, e in rows)
    expected = orbit([a for a, _ in rows], [e for _, e in rows])
    assert torch.equal(cameras_from_text(text).poses, expected.poses)


def test_distance_and_angle_of_view_may_follow() -> None:
    found = cameras_from_text("10 20\n30 40 5\n50 60 7 25", distance=3.0, fov=35.0)
    assert torch.allclose(found.distance, torch.tensor([3.0, 5.0, 7.0]), atol=1e-4)
    assert found.fov.tolist() == [35.0, 35.0, 25.0]


@pytest.mark.parametrize(("text", "message"), [("10 20\n\n30 x", "Line 3"), ("1 2 3 4 5", "Line 1"), ("", "1 to"),
                                               ("nan 2", "Line 1"), ("# nothing", "1 to")])
def test_a_line_that_is_none_is_named(text, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        cameras_from_text(text)


def transforms(**more) -> dict:
    """A camera at z = +4 of a Z-up world, looking down with +Y up in the picture, and one at y = -4 looking along +Y."""
    above = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
    front = [[1, 0, 0, 0], [0, 0, -1, -4], [0, 1, 0, 0], [0, 0, 0, 1]]
    return {"camera_angle_x": 0.7, "frames": [{"transform_matrix": above}, {"transform_matrix": front}]} | more


def test_transforms_of_a_world_with_z_up_become_y_up() -> None:
    found = cameras_from_text(json.dumps(transforms()), scale=0.5)
    assert torch.allclose(found.positions, torch.tensor([[0.0, 2, 0], [0, 0, 2]]), atol=1e-6)
    assert torch.allclose(found.forward, torch.tensor([[0.0, -1, 0], [0, 0, -1]]), atol=1e-6)
    assert torch.allclose(found.fov, torch.tensor(math.degrees(0.7)), atol=1e-4)
    assert torch.allclose(found.azimuth[1], torch.tensor(0.0), atol=1e-4)


@pytest.mark.parametrize(("given", "expected"), [
    ({"w": 200, "h": 100}, 2 * math.atan(math.tan(0.35) / 2)), ({"fl_x": 50, "w": 100, "h": 100}, 2 * math.atan(1.0)),
    ({"fl_x": 50, "w": 200, "h": 100}, 2 * math.atan(1.0)), ({"fl_y": 50, "w": 10, "h": 100}, 2 * math.atan(1.0)),
    ({"camera_angle_y": 0.4}, 0.4)])
def test_the_vertical_angle_of_view_is_found(given, expected) -> None:
    found = cameras_from_text(json.dumps(transforms(**given)))
    assert found.fov[0].item() == pytest.approx(math.degrees(expected), rel=1e-5)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=4) | st.floats(), lambda part: st.lists(part, max_size=3) | st.
                    dictionaries(st.sampled_from(["frames", "transform_matrix", "camera_angle_x", "fl_x"]), part, max_size=3)))
def test_any_json_is_cameras_or_a_sentence(content) -> None:
    with pytest.raises(InvalidInputError):
        cameras_from_text("{" + json.dumps({"a": content})[1:])
    with pytest.raises(InvalidInputError):
        cameras_from_text(json.dumps({"frames": content}))


def test_the_camera_of_the_hosts_view() -> None:
    info = {"position": {"x": 0, "y": 0, "z": 5}, "target": {"x": 0, "y": 0, "z": 0}, "zoom": 1, "cameraType": "perspective",
            "fov": 35}
    assert torch.allclose(camera_of_view(info).poses, orbit(0.0, 0.0, 5.0, 35.0).poses)
    narrow = 2 * math.degrees(math.atan(math.tan(math.radians(17.5)) / 2))
    assert camera_of_view(info | {"zoom": 2}).fov.item() == pytest.approx(narrow)
    for wrong in ({"cameraType": "orthographic"}, {"position": None}, {"target": {"x": 1}}):
        with pytest.raises(InvalidInputError, match="3-D view"):
            camera_of_view(info | wrong)


def test_a_row_of_cameras() -> None:
    turn = row_of(4, 0.0, 360.0, (10.0, 10.0), 3.0, 40.0)
    assert torch.allclose(turn.poses, orbit([0.0, 90.0, 180.0, 270.0], 10.0, 3.0).poses, atol=1e-6)
    arc = row_of(3, -30.0, 60.0, (0.0, 20.0), 3.0, 40.0)
    assert torch.allclose(arc.azimuth, torch.tensor([-30.0, 0, 30.0]), atol=1e-4)
    assert torch.allclose(arc.elevation, torch.tensor([0.0, 10.0, 20.0]), atol=1e-4)
    assert len(row_of(1, 5.0, 90.0, (0.0, 0.0), 3.0, 40.0)) == 1
    with pytest.raises(InvalidInputError, match="1 to"):
        row_of(0, 0.0, 360.0, (0.0, 0.0), 3.0, 40.0)
