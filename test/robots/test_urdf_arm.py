"""Kinematics of the WidowX 250s, against its published figures and the simulator's URDF."""

from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.kinematics import Unreachable
from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

DESCRIPTION = find_embodiment("widowx").driver.arm
HOME = np.array(find_embodiment("widowx").driver.home)


def make_arm(urdf: str | Path = DESCRIPTION.urdf, **changed) -> UrdfArm:
    usual = {"joints": DESCRIPTION.joints, "tool_frame": DESCRIPTION.tool_frame}
    return UrdfArm(urdf, **{**usual, **changed})


ARM = make_arm()


def test_the_tool_of_the_zero_pose_is_where_the_published_matrix_has_it() -> None:
    pose = ARM.tool_pose(np.zeros(6))
    assert pose[:3, 3] == pytest.approx([0.458325, 0.0, 0.36065])
    assert pose[:3, :3] == pytest.approx(np.eye(3))


def test_it_is_the_simulators_arm(scenes: Path) -> None:
    other, random = make_arm(scenes / "data" / "robots" / "widowx" / "wx250s.urdf"), np.random.default_rng(0)
    for position in random.uniform(*ARM.position_limits, (100, 6)):
        assert ARM.tool_pose(position) == pytest.approx(other.tool_pose(position), abs=1e-9)


@examples(quick=200)
@given(
    translation=st.tuples(*[st.floats(-0.04, 0.04)] * 3),
    rotation=st.tuples(*[st.floats(-0.2, 0.2)] * 3),
    order=st.permutations(range(6)),
)
def test_the_position_found_has_the_wanted_pose_whatever_the_order_of_the_joints(translation, rotation, order) -> None:
    arm = make_arm(joints=tuple(DESCRIPTION.joints[number] for number in order))
    seed = HOME[list(order)]
    wanted = arm.tool_pose(seed)
    wanted[:3, 3] += translation
    wanted[:3, :3] = Rotation.from_rotvec(rotation).as_matrix() @ wanted[:3, :3]
    found = arm.tool_pose(arm.inverse(wanted, seed))
    assert np.linalg.norm(found[:3, 3] - wanted[:3, 3]) < 1e-3
    assert Rotation.from_matrix(found[:3, :3] @ wanted[:3, :3].T).magnitude() < 5e-3


def test_beyond_its_reach_there_is_no_position() -> None:
    pose = ARM.tool_pose(HOME)
    pose[0, 3] += 0.6
    with pytest.raises(Unreachable, match="out of reach"):
        ARM.inverse(pose, HOME)


def test_a_stretched_arm_is_not_led_deeper_into_its_singularity() -> None:
    seed = np.array([0.0, 0.9, -0.75, 0.0, 0.0, 0.0])
    pose = ARM.tool_pose(seed)
    step = np.array([np.cos(0.1), 0.0, -np.sin(0.1)]) * 0.01
    with pytest.raises(Unreachable):
        for _ in range(20):
            pose[:3, 3] += step
            seed = ARM.inverse(pose, seed)


def test_another_branch_is_refused_rather_than_jumped_to() -> None:
    pose = ARM.tool_pose(HOME)
    pose[:3, :3] = Rotation.from_rotvec([0.0, 0.0, 1.5]).as_matrix() @ pose[:3, :3]
    with pytest.raises(Unreachable, match="would turn too far for one command"):
        ARM.inverse(pose, HOME)


@pytest.mark.parametrize(
    ("urdf", "changed", "message"),
    [
        ("no/such.urdf", {}, "urdf no/such.urdf: expected a URDF file, there is none"),
        ("<robot", {}, "expected a URDF"),
        (DESCRIPTION.urdf, {"joints": ("waist", "knee")}, "expected a joint knee"),
        (DESCRIPTION.urdf, {"tool_frame": "hand"}, "expected a link hand"),
    ],
)
def test_a_urdf_that_lacks_something_is_refused(urdf: str, changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_arm(urdf, **changed)
