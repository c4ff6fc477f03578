"""The figure of an arm in the video."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.perception.lettering import BACKGROUND
from stvla_ros.robots.arm_figure import _TOOL, _WAY, ArmFigure
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

ARM = find_embodiment("widowx").driver.arm
HOME = dict(zip(ARM.joints, find_embodiment("widowx").driver.home))


def figure(**changed) -> ArmFigure:
    usual = {"urdf": ARM.urdf, "joints": ARM.joints, "tool_frame": ARM.tool_frame}
    return ArmFigure(**{**usual, **changed})


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(n, 2) x and y of the pixels of exactly this colour."""
    return np.argwhere((picture == colour).all(axis=2))[:, ::-1]


@given(st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6), st.permutations(range(6)))
def test_the_figure_ends_at_the_arms_tool_point(position: list[float], order: list[int]) -> None:
    kinematics = UrdfArm(ARM.urdf, ARM.joints, ARM.tool_frame)
    points = figure(joints=[ARM.joints[number] for number in order]).points(dict(zip(ARM.joints, position)))
    np.testing.assert_allclose(points[-1], kinematics.tool_pose(np.array(position))[:3, 3], atol=1e-9)
    np.testing.assert_array_equal(points[0], 0.0)


def test_a_turned_waist_turns_what_is_seen_from_above() -> None:
    places = []
    for waist in (-0.6, 0.6):
        picture = figure().draw(HOME | {ARM.joints[0]: waist}, (480, 360))
        places.append(coloured(picture[:, 240:], _TOOL).mean(axis=0))
    assert places[1][1] < places[0][1] - 20  # y, to the left, is up in the picture
    assert abs(places[1][0] - places[0][0]) < 2


def test_the_way_of_the_tool_stays_in_the_picture() -> None:
    drawn = figure()
    assert not len(coloured(drawn.draw(HOME, (480, 360)), _WAY))
    for waist in np.linspace(0.0, 0.8, 20):
        picture = drawn.draw(HOME | {ARM.joints[0]: waist}, (480, 360))
    assert len(coloured(picture[:, 240:], _WAY)) > 50


@pytest.mark.parametrize("size", [(480, 360), (64, 48), (720, 1280)])
def test_the_whole_arm_is_inside_a_picture_of_any_shape(size: tuple[int, int]) -> None:
    picture = figure().draw(dict.fromkeys(ARM.joints, 0.0), size)
    assert picture.shape == (*size[::-1], 3) and picture.dtype == np.uint8
    for part in (picture[:, : size[0] // 2], picture[:, size[0] // 2 + 1 :]):
        assert len(coloured(part, _TOOL)) and (part != BACKGROUND).any()


@pytest.mark.parametrize(
    ("joints", "message"),
    [({}, "expected a position of"), (HOME | {ARM.joints[2]: float("nan")}, f"expected a position of {ARM.joints[2]}")],
)
def test_joints_that_are_missing_or_no_numbers_are_refused(joints: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        figure().draw(joints, (480, 360))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"urdf": "<robot"}, "^urdf robot_description: expected a URDF"),
        ({"urdf": "nowhere.urdf"}, "^urdf nowhere.urdf: expected a URDF file"),
        ({"joints": ["knee"]}, "expected a joint knee"),
        ({"tool_frame": "tail"}, "expected a link tail"),
    ],
)
def test_a_urdf_that_is_not_the_arms_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        figure(**changed)
