"""Angles between orientations, against the turns that they were made by."""

import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.rotations import angle_between

axes = st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1)


def turn(axis, angle: float) -> np.ndarray:
    return Rotation.from_rotvec(angle * np.array(axis) / np.linalg.norm(axis)).as_matrix()


@examples(quick=200)
@given(axis=axes, angle=st.floats(0.0, 3.1), other=axes, first=st.floats(0.0, 3.1))
def test_the_angle_is_that_of_the_turn_from_the_one_to_the_other(axis, angle, other, first) -> None:
    before = turn(other, first)
    # An error of the matrices grows by 1 / cos(angle / 2), which is 50 at 3.1 rad.
    assert angle_between(turn(axis, angle) @ before, before) == pytest.approx(angle, abs=1e-12)


def test_half_a_turn_is_the_most_whatever_the_rounding() -> None:
    assert angle_between(np.diag([1.0, -1.0, -1.0]), np.eye(3)) == pytest.approx(math.pi)
    assert angle_between(np.diag([1.0, -1.0, -1.0]) * (1.0 + 1e-12), np.eye(3)) == pytest.approx(math.pi)


def test_an_orientation_that_is_no_number_has_no_angle() -> None:
    assert math.isnan(angle_between(np.full((3, 3), np.nan), np.eye(3)))
