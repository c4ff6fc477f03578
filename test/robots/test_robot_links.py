"""A robot's links in a camera's picture, from its URDF and joints."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.robots.robot_links import RobotLinks
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.shared_files import config_directory

WIDOWX = config_directory() / "robots" / "wx250s.urdf"
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
INTRINSICS = np.array([[600.0, 0, 320], [0, 600.0, 240], [0, 0, 1]])


def box(name: str, size: str, origin: str = "0 0 0") -> str:
    shape = f'<origin xyz="{origin}"/><geometry><box size="{size}"/></geometry>'
    return f'<link name="{name}"><collision>{shape}</collision></link>'


def joint(name: str, kind: str, parent: str, child: str, origin: str, axis: str) -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{origin}"/><axis xyz="{axis}"/>'
        '<limit lower="0" upper="0.04" effort="1" velocity="1"/></joint>'
    )


# A palm 10 cm above the base that slides along x, with two fingers below it that slide along y.
HAND = (
    '<robot name="hand">'
    + box("base", "0.1 0.1 0.02")
    + box("palm", "0.04 0.1 0.02")
    + box("left_finger", "0.01 0.01 0.06", "0 0 -0.04")
    + box("right_finger", "0.01 0.01 0.06", "0 0 -0.04")
    + joint("slide", "prismatic", "base", "palm", "0 0 0.1", "1 0 0")
    + joint("left", "prismatic", "palm", "left_finger", "0 0.005 0", "0 1 0")
    + joint("right", "prismatic", "palm", "right_finger", "0 -0.005 0", "0 -1 0")
    + "</robot>"
)
# From above, looking down.
ABOVE = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.6], [0, 0, 0, 1]])


def test_the_links_are_where_the_arms_own_kinematics_has_them():
    links, arm = RobotLinks(WIDOWX), UrdfArm(WIDOWX, JOINTS, "gripper_link")
    assert links.base_link == "base_link"
    base_from_camera = np.eye(4)
    base_from_camera[:3, :3] = Rotation.from_euler("xyz", [2.0, 0.3, -0.4]).as_matrix()
    base_from_camera[:3, 3] = [0.5, 0.2, 0.6]
    for seed in range(3):
        position = np.random.default_rng(seed).uniform(-1.0, 1.0, 6)
        view = links.view(dict(zip(JOINTS, position)), base_from_camera, INTRINSICS)
        in_base = base_from_camera @ view.camera_from_link["gripper_link"]
        np.testing.assert_allclose(in_base, arm.tool_pose(position), atol=1e-8)


def test_the_tips_are_marked_and_their_middle_on_the_palm():
    shape = RobotLinks(HAND).shape
    assert shape.mark_links == ("left_finger", "right_finger", "palm") and shape.palm == "palm"
    np.testing.assert_allclose(shape.marks, [[0, 0, -0.07], [0, 0, -0.07], [0, 0, -0.07]], atol=1e-9)
    assert shape.widest == pytest.approx(0.045)
    view = RobotLinks(HAND).view({"slide": 0, "left": 0.01, "right": 0.01}, ABOVE, INTRINSICS)
    assert view.finger_gap == pytest.approx(0.015)


def test_a_robot_without_fingers_has_no_marks():
    shape = RobotLinks(WIDOWX).shape
    assert shape.mark_links == () and shape.palm == ""


@pytest.mark.parametrize(
    "point, link",
    [
        ([0.02, 0.0, 0.11], "palm"),
        ([0.02, 0.0, 0.112], "palm"),  # within the margin of it
        ([0.02, 0.0, 0.12], None),
        ([0.02, 0.015, 0.04], "left_finger"),
        ([0.02, -0.015, 0.04], "right_finger"),
        ([0.02, 0.0, 0.04], None),  # between them
        ([np.nan, 0.0, 0.0], None),
    ],
)
def test_a_point_is_on_the_link_whose_hull_it_is_near(point, link):
    view = RobotLinks(HAND).view({"slide": 0.02, "left": 0.01, "right": 0.01}, ABOVE, INTRINSICS)
    in_camera = np.linalg.inv(ABOVE) @ [*point, 1.0]
    part = int(view.carriers(in_camera[None, :3], 0.003)[0])
    assert (view.shape.planes[part][0] if part >= 0 else None) == link


def test_a_camera_pose_that_went_through_a_quaternion_changes_no_bit():
    links, joints = RobotLinks(WIDOWX), dict.fromkeys(JOINTS, 0.3)
    rounded = ABOVE.copy()
    rounded[:3, :3] = Rotation.from_euler("xyz", [2.0, 0.3, -0.4]).as_matrix()
    again = rounded.copy()
    again[:3, :3] = Rotation.from_quat(Rotation.from_matrix(rounded[:3, :3]).as_quat()).as_matrix()
    assert not np.array_equal(rounded, again), "else nothing is tried"
    first, second = (links.view(joints, pose, INTRINSICS).camera_from_link for pose in (rounded, again))
    assert all(np.array_equal(first[link], second[link]) for link in first)


def test_a_joint_that_nobody_tells_is_named():
    with pytest.raises(InputError, match="^joint_states: expected a position of right, got slide, left$"):
        RobotLinks(HAND).view({"slide": 0.0, "left": 0.0}, ABOVE, INTRINSICS)


@pytest.mark.parametrize("value", [1e300, -2000.0, float("nan"), float("inf")])
def test_a_joint_that_is_nowhere_is_named(value):
    with pytest.raises(InputError, match="^joint_states: expected radians or metres of left, got"):
        RobotLinks(HAND).view({"slide": 0.0, "left": value, "right": 0.0}, ABOVE, INTRINSICS)


@pytest.mark.parametrize("text", ["<robot", "<robot name='r'><link name='a'/>", "/no/such.urdf"])
def test_what_is_no_urdf_is_one_error(text):
    with pytest.raises(InputError, match="^urdf (robot_description|/no/such.urdf): "):
        RobotLinks(text)
