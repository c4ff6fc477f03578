"""Joint states that come in parts: what makes a whole arm, and which joints are missed."""

import math

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.robots.merged_joints import JointSaid, MergedJoints

MS = 10**6
JOINTS = ("a", "b", "c")


def part(at_ms: float, **positions: float) -> dict[str, JointSaid]:
    return {name: JointSaid(value, math.nan, round(at_ms * MS)) for name, value in positions.items()}


@pytest.fixture
def merged() -> MergedJoints:
    return MergedJoints(JOINTS, 0.25)


def test_an_arm_is_whole_when_each_joint_was_said_anew(merged: MergedJoints) -> None:
    assert merged.take(part(0, a=1.0)) is None
    assert merged.take(part(1, a=2.0)) is None
    whole = merged.take(part(3, c=4.0, b=3.0))
    assert whole is not None and whole.position.tolist() == [2.0, 3.0, 4.0] and np.isnan(whole.effort).all()
    assert merged.take(part(10, a=5.0, b=5.0)) is None, "c is the one of before"
    assert merged.take(part(11, c=6.0)).position.tolist() == [5.0, 5.0, 6.0]


def test_a_whole_arm_is_as_old_as_its_oldest_joint(merged: MergedJoints) -> None:
    merged.take(part(100, b=0.0))
    merged.take(part(90, a=0.0))
    assert merged.take(part(120, c=0.0)).stamp_ns == 90 * MS


def test_a_part_that_a_newer_one_overtook_changes_nothing(merged: MergedJoints) -> None:
    merged.take(part(100, a=1.0))
    with pytest.raises(InputError, match="the position of a was overtaken by one that is 0.01 s newer"):
        merged.take(part(90, a=9.0, b=9.0))
    assert merged.take(part(101, b=2.0, c=3.0)).position.tolist() == [1.0, 2.0, 3.0]


def test_a_clock_that_was_set_back_is_followed(merged: MergedJoints) -> None:
    merged.take(part(5000, a=1.0, b=1.0, c=1.0))
    assert merged.take(part(0, a=2.0, b=2.0, c=2.0)).stamp_ns == 0


def test_joints_that_fall_silent_or_never_spoke_are_named_with_their_age(merged: MergedJoints) -> None:
    assert merged.silent(10**12) == "", "nobody has said anything yet"
    merged.take(part(1000, a=0.0, b=0.0))
    assert merged.silent(1001 * MS) == "", "the others may follow in a moment"
    merged.take(part(1300, a=0.0))
    assert merged.silent(1300 * MS) == "b (0.3 s), c (never)"
