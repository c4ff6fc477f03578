"""The stand-in's timing, and the gripper's effort."""

import numpy as np
import pytest

from stvla_ros.control.gripper import opening_of
from stvla_ros.robots.fake_arm import FakeArm
from stvla_ros.robots.xs_settings import gripper_effort


def make_arm() -> FakeArm:
    arm = FakeArm([-1.0, -1.0], [1.0, 1.0], [2.0, 2.0], [0.0, 0.5], 0.015, 0.037)
    arm.profile_s = 0.1
    return arm


def test_a_goal_is_reached_when_the_profile_ends() -> None:
    arm = make_arm()
    assert arm.command(np.array([0.1, 0.4]), 0.0) == []
    assert arm.position(0.05) == pytest.approx([0.05, 0.45])
    assert arm.position(0.1) == pytest.approx([0.1, 0.4])


def test_no_joint_is_faster_than_its_motor() -> None:
    arm = make_arm()
    arm.command(np.array([1.0, 0.5]), 0.0)
    assert arm.position(0.25)[0] == pytest.approx(0.5)


def test_goals_that_are_not_finite_or_beyond_a_limit_are_ignored() -> None:
    arm = make_arm()
    assert arm.command(np.array([np.nan, 1.5]), 0.0) == [0, 1]
    assert arm.position(9.0) == pytest.approx([0.0, 0.5])


def test_without_torque_nothing_moves() -> None:
    arm = make_arm()
    arm.switch_torque(False, 0.0)
    arm.command(np.array([0.5, 0.5]), 0.0)
    assert arm.position(9.0) == pytest.approx([0.0, 0.5])


def test_an_obstacle_stops_a_joint_and_its_effort_rises_with_what_is_missing() -> None:
    arm = FakeArm([-1.0, -1.0], [1.0, 1.0], [2.0, 2.0], [0.0, 0.5], 0.015, 0.037, {0: 0.2})
    arm.profile_s = 0.1
    assert arm.effort(0.0) == pytest.approx([30.0, 30.0])
    arm.command(np.array([0.25, 0.4]), 0.0)
    assert arm.effort(0.05) == pytest.approx([130.0, -70.0])
    assert arm.position(1.0) == pytest.approx([0.2, 0.4])
    assert arm.effort(1.0) == pytest.approx([1030.0, 30.0])
    arm.command(np.array([0.9, 0.4]), 1.0)
    assert arm.effort(2.0) == pytest.approx([2300.0, 30.0])
    arm.switch_torque(False, 2.0)
    assert arm.effort(2.0) == pytest.approx([0.0, 0.0])


def test_an_obstacle_lets_a_joint_go_back() -> None:
    arm = FakeArm([-1.0, -1.0], [1.0, 1.0], [9.0, 9.0], [0.0, 0.5], 0.015, 0.037, {0: 0.2, 1: 0.4})
    arm.profile_s = 0.1
    arm.command(np.array([0.9, 0.0]), 0.0)
    assert arm.position(1.0) == pytest.approx([0.2, 0.4])
    arm.command(np.array([0.1, 0.6]), 1.0)
    assert arm.position(2.0) == pytest.approx([0.1, 0.6]) and arm.effort(2.0) == pytest.approx([30.0, 30.0])


def test_the_fingers_go_where_the_effort_leads() -> None:
    arm = make_arm()
    arm.move_gripper(-250.0, 0.0)
    assert arm.finger(9.0) == pytest.approx(0.015)
    arm.move_gripper(250.0, 9.0)
    assert arm.finger(18.0) == pytest.approx(0.037)


@pytest.mark.parametrize(
    ("goal", "opening", "effort"),
    [(1.0, 0.2, 250.0), (0.0, 0.0, -250.0), (0.0, 0.6, -250.0), (0.5, 0.9, -250.0), (0.5, 0.52, 0.0), (1.0, 1.0, 0.0)],
)
def test_the_effort_opens_closes_holds_or_rests(goal: float, opening: float, effort: float) -> None:
    assert gripper_effort(goal, opening, 250.0) == effort


def test_the_opening_follows_the_finger() -> None:
    assert [opening_of(finger, 0.015, 0.037) for finger in (0.0, 0.015, 0.026, 0.037, 0.05)] == [0, 0, 0.5, 1, 1]
