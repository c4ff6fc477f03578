"""bench/robustness.py: each change alters what it says, and nothing else."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bench.robustness import in_another_light, over_wood, plane_homography, turned_hue
from stvla_ros.sim.environment import Observation

INTRINSICS = np.array([[312.0, 0, 159.5], [0, 312.0, 119.5], [0, 0, 1]])


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def half() -> np.ndarray:
    where = np.zeros((24, 32), bool)
    where[:, 16:] = True
    return where


def camera(height_m: float, tilt_deg: float, turn_deg: float, aside_m: float) -> np.ndarray:
    """(4, 4) pose of a camera that looks down at a table."""
    pose = np.eye(4)
    down = Rotation.from_euler("x", 180 - tilt_deg, degrees=True)
    pose[:3, :3] = (Rotation.from_euler("z", turn_deg, degrees=True) * down).as_matrix()
    pose[:3, 3] = aside_m, -0.1, height_m
    return pose


def observation(pose: np.ndarray) -> Observation:
    empty = np.zeros((0, 0), np.uint16)
    return Observation(np.zeros((0, 0, 3), np.uint8), empty, INTRINSICS, pose, np.eye(4), (), np.zeros(0), 1.0)


def test_light_is_dimmer_in_every_channel_and_warmer() -> None:
    changed = in_another_light(picture()).astype(float)
    assert (changed <= picture()).all()
    assert changed[..., 0].mean() / picture()[..., 0].mean() > changed[..., 2].mean() / picture()[..., 2].mean() + 0.1


def test_wood_is_on_the_ground_alone() -> None:
    changed = over_wood(picture(), half())
    assert (changed[:, :16] == picture()[:, :16]).all()
    assert (changed[:, 16:] != picture()[:, 16:]).any(axis=2).mean() > 0.9


def test_a_turned_hue_keeps_brightness_and_everything_else() -> None:
    changed = turned_hue(picture(), half())
    assert (changed[:, :16] == picture()[:, :16]).all()
    assert (changed[:, 16:] != picture()[:, 16:]).any(axis=2).mean() > 0.9
    # HSV's value is the largest channel; OpenCV rounds.
    assert np.abs(changed.max(axis=2).astype(int) - picture().max(axis=2)).max() <= 2


@given(
    st.floats(0.4, 1.0), st.floats(0, 40), st.floats(-20, 20), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1),
    st.floats(-0.2, 0.2), st.floats(-0.2, 0.2),
)  # fmt: skip
def test_points_of_the_table_are_where_the_moved_camera_sees_them(
    height: float, tilt: float, turn: float, aside: float, table: float, x: float, y: float
) -> None:
    before, after = camera(height, tilt, 0.0, 0.0), camera(height + 0.02, tilt + 2.0, turn, aside)
    point = np.array([x, y, table, 1.0])
    first, second = (INTRINSICS @ (np.linalg.inv(pose) @ point)[:3] for pose in (before, after))
    moved = plane_homography(observation(before), after, table) @ (first / first[2])
    np.testing.assert_allclose(moved[:2] / moved[2], second[:2] / second[2], atol=1e-6)


def test_a_camera_that_did_not_move_sees_the_same() -> None:
    seen = observation(camera(0.5, 20.0, 0.0, 0.0))
    homography = plane_homography(replace(seen), seen.base_from_camera, 0.01)
    np.testing.assert_allclose(homography / homography[2, 2], np.eye(3), atol=1e-9)
