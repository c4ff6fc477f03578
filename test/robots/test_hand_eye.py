"""Hand-eye calibration from exact and inexact places: the geometry alone, without pictures."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.robots.hand_eye import calibrate_hand_eye, check_turns
from stvla_ros.robots.hand_eye_fit import Place, seen_at, twist_pose

INTRINSICS = np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]])
POINTS = np.array([[0.025 * x, 0.025 * y, 0.0] for y in range(1, 7) for x in range(1, 5)])
SEEDS = st.integers(0, 2**32 - 1)


def random_places(
    random: np.random.Generator,
    mounted: str = "room",
    count: int = 10,
    noise: float = 0.0,
    axes: np.ndarray = np.eye(3),
    size: float = 1.0,
) -> tuple[list[Place], np.ndarray]:
    """
    :param noise: of the corners, pixels.
    :param axes: (k, 3) about which the tool turns.
    :param size: of the board, as a share of what the places say.
    :returns: places, and the camera's pose.
    """
    # The board stays half a metre before the camera, wherever that is, and is seen in the middle.
    ahead = twist_pose(random.uniform(-0.3, 0.3, 3), np.array([-0.06, -0.09, 0.6]))
    middle = twist_pose(random.normal(0.0, 1.0, 3), random.uniform(-0.5, 0.5, 3))
    camera = twist_pose(random.normal(0.0, 1.0, 3), random.uniform(-1.0, 1.0, 3))
    places = []
    for number in range(count):
        turn = axes.T @ random.uniform(-0.5, 0.5, len(axes))
        tool = middle @ twist_pose(turn, random.uniform(-0.05, 0.05, 3))
        if mounted == "room":
            # Turned about the board itself, so that it stays in the picture.
            board = np.linalg.inv(middle) @ camera @ ahead
            in_camera = np.linalg.inv(camera) @ tool @ board
        else:
            in_camera = np.linalg.inv(tool @ camera) @ (middle @ camera @ ahead)
        pixels = seen_at(in_camera, size * POINTS, INTRINSICS)
        if (in_camera[:3, :3] @ POINTS.T + in_camera[:3, 3:])[2].min() < 0.1:
            continue  # beside the camera, or behind it
        places.append(Place(f"place {number}", tool, POINTS, pixels + random.normal(0.0, noise, pixels.shape)))
    return places, camera


def error(found: np.ndarray, camera: np.ndarray) -> tuple[float, float]:
    """(metres, degrees)."""
    between = np.linalg.inv(camera) @ found
    return float(np.linalg.norm(between[:3, 3])), float(np.degrees(Rotation.from_matrix(between[:3, :3]).magnitude()))


@pytest.mark.parametrize("mounted", ["room", "hand"])
@examples(quick=15)
@given(seed=SEEDS)
def test_exact_places_give_the_exact_pose(mounted: str, seed: int) -> None:
    places, camera = random_places(np.random.default_rng(seed), mounted)
    if len(places) < 6:
        return
    found = calibrate_hand_eye(places, INTRINSICS, mounted)
    metres, degrees = error(found.camera, camera)
    assert metres < 1e-6 and degrees < 1e-4
    assert found.rms_m < 1e-6 and not found.left_out
    assert found.scale == pytest.approx(1.0, abs=1e-6)


@examples(quick=15)
@given(seed=SEEDS)
def test_the_stated_uncertainty_is_of_the_size_of_the_error(seed: int) -> None:
    places, camera = random_places(np.random.default_rng(seed), noise=0.2, count=16)
    if len(places) < 12:
        return
    found = calibrate_hand_eye(places, INTRINSICS)
    metres, degrees = error(found.camera, camera)
    assert metres < 6.0 * found.sigma_m
    assert degrees < 6.0 * np.degrees(found.sigma_rad)


@examples(quick=15)
@given(seed=SEEDS, axis=st.tuples(*[st.floats(-1.0, 1.0)] * 3))
def test_turns_about_one_axis_are_refused(seed: int, axis: tuple[float, float, float]) -> None:
    along = np.array(axis) / max(float(np.linalg.norm(axis)), 1e-3)
    random = np.random.default_rng(seed)
    turned = [Rotation.from_rotvec(along * angle).as_matrix() for angle in random.uniform(-1.0, 1.0, 10)]
    with pytest.raises(InputError, match="^places: expected turns of the gripper about two axes"):
        check_turns(turned)


def test_too_few_places_are_refused() -> None:
    places, _ = random_places(np.random.default_rng(0))
    with pytest.raises(InputError, match="^places: expected 6 or more .*, got 5$"):
        calibrate_hand_eye(places[:5], INTRINSICS)


@pytest.mark.parametrize(("size", "said"), [(1.05, "5.0 % larger"), (0.95, "5.0 % smaller")])
def test_a_board_of_another_size_is_refused_by_the_arms_motion(size: float, said: str) -> None:
    places, _ = random_places(np.random.default_rng(0), noise=0.1, size=size)
    with pytest.raises(InputError, match=f"^board: expected the given size, by the arm's motion it is {said}"):
        calibrate_hand_eye(places, INTRINSICS)


def test_corners_that_are_not_where_the_board_has_them_are_refused() -> None:
    places, _ = random_places(np.random.default_rng(0))
    pixels = places[3].pixels.copy()
    pixels[:8] += [12.0, 0.0]
    places[3] = Place("place 3", places[3].tool, POINTS, pixels)
    with pytest.raises(InputError, match="^board: expected its corners within 2 pixels of a plane, in place 3"):
        calibrate_hand_eye(places, INTRINSICS)


def test_one_place_that_does_not_fit_is_left_out_and_named() -> None:
    places, camera = random_places(np.random.default_rng(0), noise=0.1, count=12)
    moved = places[4].tool @ twist_pose(np.array([0.0, 0.2, 0.0]), np.array([0.05, 0.0, 0.0]))
    places[4] = Place("place 4", moved, POINTS, places[4].pixels)
    found = calibrate_hand_eye(places, INTRINSICS)
    assert found.left_out == ("place 4",)
    assert error(found.camera, camera)[0] < 2e-3


def test_places_that_contradict_each_other_are_refused() -> None:
    random = np.random.default_rng(0)
    places, _ = random_places(random, count=12)
    wrong = [
        Place(
            each.name, each.tool @ twist_pose(random.normal(0, 0.1, 3), random.normal(0, 0.03, 3)), POINTS, each.pixels
        )
        for each in places
    ]
    with pytest.raises(InputError, match="^places: expected to (agree within|tell)"):
        calibrate_hand_eye(wrong, INTRINSICS)
