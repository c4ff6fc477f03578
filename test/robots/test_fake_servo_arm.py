"""The stand-in of an arm behind MoveIt Servo."""

import numpy as np
import pytest

from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.fake_servo_arm import FakeServoArm
from stvla_ros.robots.urdf_arm import UrdfArm

DRIVER = find_embodiment("widowx").driver
REST = np.zeros(3)


@pytest.fixture
def kinematics() -> UrdfArm:
    return UrdfArm(DRIVER.arm.urdf, DRIVER.arm.joints, DRIVER.arm.tool_frame)


@pytest.fixture
def arm(kinematics: UrdfArm) -> FakeServoArm:
    return FakeServoArm(kinematics, np.array(DRIVER.home))


def test_the_tool_moves_by_the_velocity_while_it_is_told(arm: FakeServoArm, kinematics: UrdfArm) -> None:
    before = kinematics.tool_pose(arm.advance(0.0))[:3, 3]
    for tick in range(10):
        assert arm.command(np.array([0.0, 0.1, 0.0]), REST, 0.02 * tick)
        arm.advance(0.02 * tick + 0.01)
    moved = kinematics.tool_pose(arm.advance(0.2))[:3, 3] - before
    np.testing.assert_allclose(moved, [0.0, 0.02, 0.0], atol=5e-4)


def test_without_a_newer_velocity_it_halts_after_a_tenth_of_a_second(arm: FakeServoArm, kinematics: UrdfArm) -> None:
    before = kinematics.tool_pose(arm.advance(0.0))[:3, 3]
    arm.command(np.array([0.0, 0.1, 0.0]), REST, 0.0)
    moved = kinematics.tool_pose(arm.advance(5.0))[:3, 3] - before
    np.testing.assert_allclose(moved, [0.0, 0.01, 0.0], atol=5e-4)
    np.testing.assert_array_equal(arm.advance(6.0), arm.advance(7.0))


def test_it_turns_about_the_tool(arm: FakeServoArm, kinematics: UrdfArm) -> None:
    before = kinematics.tool_pose(arm.advance(0.0))
    for tick in range(10):
        arm.command(REST, np.array([0.0, 0.0, 0.5]), 0.05 * tick)
        arm.advance(0.05 * (tick + 1))
    after = kinematics.tool_pose(arm.advance(0.5))
    np.testing.assert_allclose(after[:3, 3], before[:3, 3], atol=1e-3)
    turn = after[:3, :3] @ before[:3, :3].T
    assert np.arctan2(turn[1, 0], turn[0, 0]) == pytest.approx(0.25, abs=5e-3)


def test_it_stays_where_the_tool_cannot_go(arm: FakeServoArm) -> None:
    for tick in range(200):
        arm.command(np.array([0.5, 0.0, 0.0]), REST, 0.05 * tick)
        arm.advance(0.05 * (tick + 1))
    held = arm.advance(10.5)
    arm.command(np.array([0.5, 0.0, 0.0]), REST, 10.6)
    np.testing.assert_array_equal(arm.advance(10.65), held)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_velocity_that_is_no_number_is_refused(arm: FakeServoArm, bad: float) -> None:
    assert not arm.command(np.array([bad, 0.0, 0.0]), REST, 0.0)
    assert np.isfinite(arm.advance(0.05)).all()
