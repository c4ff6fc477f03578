"""How the arm has moved until a keyframe."""

import numpy as np
import pytest

from stvla_ros.policy.keyframes import evenly, injected_noise, motions


def test_a_turn_is_of_the_rotation_and_does_not_jump() -> None:
    states = np.zeros((2, 7), np.float32)
    # The gripper looks down, as the WidowX's does: roll and yaw are of one axis, and only their sum is known.
    states[0, 3:6], states[1, 3:6] = (0.0, np.pi / 2, 3.1), (0.0, np.pi / 2, -3.1)
    states[:, :3], states[:, 6] = [[0, 0, 0], [0.1, 0.2, 0.3]], [1.0, 0.0]
    found = motions(states, np.array([[1], [1]]), np.array([[True], [False]]))
    assert found[0, 0] == pytest.approx([0.1, 0.2, 0.3, 2 * np.pi - 6.2, -1.0], abs=1e-4)
    assert np.isnan(found[1]).all()


def test_a_pose_that_is_not_told_has_no_motion() -> None:
    states = np.zeros((4, 7), np.float32)
    states[2, 6] = np.nan
    found = motions(states, np.array([[1], [2], [3], [3]]), np.array([[True], [True], [True], [False]]))
    assert np.isfinite(found).all(axis=(1, 2)).tolist() == [True, False, False, False]


def test_noise_is_summed_until_the_keyframe() -> None:
    actions, executed = np.zeros((5, 7), np.float32), np.zeros((5, 7), np.float32)
    executed[:, 0] = [1, 2, 4, 8, 16]
    executed[:, 3:] = 100.0  # turns and the gripper do not count
    keyframes, valid = np.array([[1, 3], [2, 4], [3, 2], [4, 3], [4, 4]]), np.ones((5, 2), bool)
    valid[2:, 1] = valid[4] = False
    found = injected_noise(actions, executed, keyframes, valid)
    assert found[:, :, 0].tolist()[:2] == [[1, 7], [2, 14]] and found[2:4, 0, 0].tolist() == [4, 8]
    assert np.isnan(found[2:, 1]).all() and np.isnan(found[4]).all() and not found[:2, :, 1:].any()


def test_noise_past_an_unknown_action_is_unknown() -> None:
    actions, executed = np.zeros((4, 7), np.float32), np.ones((4, 7), np.float32)
    actions[1, 2] = np.nan
    found = injected_noise(actions, executed, np.array([[1], [2], [3], [3]]), np.array([[True]] * 3 + [[False]]))
    assert np.isfinite(found[:, 0, 0]).tolist() == [True, False, True, False]


def test_rows_are_chosen_evenly() -> None:
    assert evenly(np.arange(10, 21), 3).tolist() == [10, 15, 20] and evenly(np.arange(3), 9).tolist() == [0, 1, 2]
