"""The action of one control step."""

import numpy as np
import pytest

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("name", ["translation", "rotation"])
def test_one_number_that_is_not_finite_is_enough_to_refuse_it(name: str, axis: int, bad: float) -> None:
    parts = {"translation": np.zeros(3), "rotation": np.zeros(3)}
    parts[name][axis] = bad
    with pytest.raises(InputError, match=f"action {name}: expected 3 finite numbers"):
        EndEffectorAction(**parts, gripper=0.5)


@pytest.mark.parametrize("shape", [(), (2,), (4,), (1, 3)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="action rotation: expected 3 finite numbers"):
        EndEffectorAction(np.zeros(3), np.zeros(shape), 0.5)


@pytest.mark.parametrize("gripper", [-0.01, 1.01, np.nan])
def test_a_gripper_beyond_closed_and_open_is_refused(gripper: float) -> None:
    with pytest.raises(InputError, match="action gripper: expected 0 .closed. to 1 .open."):
        EndEffectorAction(np.zeros(3), np.zeros(3), gripper)


def test_closed_open_and_lists_of_numbers_are_taken() -> None:
    for gripper in (0.0, 1.0):
        action = EndEffectorAction([1, 2, 3], [0.1, 0.2, 0.3], gripper)
        assert action.translation.tolist() == [1.0, 2.0, 3.0] and action.translation.dtype == np.float64
        assert action.gripper == gripper


def test_a_hold_moves_nothing() -> None:
    action = EndEffectorAction.hold(0.25)
    assert (action.translation.tolist(), action.rotation.tolist(), action.gripper) == ([0.0] * 3, [0.0] * 3, 0.25)
