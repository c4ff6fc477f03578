"""Messages of joint states: the arm's, a stranger's, and those that cannot be."""

import numpy as np
import pytest

from stvla_ros.control.safety.joint_measurements import ForeignJoints, read_joints
from stvla_ros.errors import InputError

ARM, FINGER = ("waist", "elbow"), ("finger",)


def test_the_arms_joints_are_found_in_any_order_among_others() -> None:
    said = read_joints(["finger", "rail", "elbow", "waist"], [0.3, 9.0, 0.2, 0.1], [3, 9, 2, 1], ARM, FINGER)
    assert said.position.tolist() == [0.1, 0.2, 0.3] and said.effort.tolist() == [1.0, 2.0, 3.0]


def test_without_efforts_there_are_none() -> None:
    assert np.isnan(read_joints(["waist", "elbow"], [0.1, 0.2], [], ARM).effort).all()


@pytest.mark.parametrize("names", [[], ["rail"], ["finger"]])
def test_a_strangers_message_is_told_from_a_faulty_one(names: list[str]) -> None:
    with pytest.raises(ForeignJoints, match="expected the positions of waist, elbow, got those of"):
        read_joints(names, [0.0] * len(names), [], ARM, FINGER)


@pytest.mark.parametrize(
    ("names", "positions", "efforts", "said"),
    [
        (["waist"], [0.1], [], "elbow once, got it not at all"),
        (["waist", "elbow"], [0.1, 0.2], [], "finger once, got it not at all"),
        (["waist", "elbow", "waist", "finger"], [0.1, 0.2, 0.7, 0.0], [], "waist once, got it 2 times"),
        (["waist", "elbow", "finger"], [0.1, 0.2], [], "3 positions, one for each name, got 2"),
        (["waist", "elbow", "finger"], [], [1, 2, 3], "3 positions, one for each name, got 0"),
        (["waist", "elbow", "finger"], [0.1, 0.2, 0.3, 0.4], [], "3 positions, one for each name, got 4"),
        (["waist", "elbow", "finger"], [0.1, 0.2, 0.3], [1], "3 efforts, one for each name, or none, got 1"),
    ],
)
def test_a_message_that_cannot_be_says_why(names: list, positions: list, efforts: list, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_joints(names, positions, efforts, ARM, FINGER)
    assert not isinstance(error.value, ForeignJoints)
