"""What becomes of depth, actions and poses in a demonstration's rows."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.learning.datasets.demonstration import action_row, depth_to_millimetres, state_row


def test_metres_become_rounded_millimetres_and_what_is_no_depth_becomes_unknown() -> None:
    metres = np.array([[0.0, 0.0004, 0.0006, 1.2344, 1.2346], [65.535, 65.536, -1.0, np.nan, np.inf]], np.float32)
    made = depth_to_millimetres(metres)
    assert made.dtype == np.uint16
    assert made.tolist() == [[0, 0, 1, 1234, 1235], [65535, 0, 0, 0, 0]]


def test_millimetres_stay_as_they_are() -> None:
    depth = np.array([[0, 1, 65535]], np.uint16)
    assert depth_to_millimetres(depth) is depth


def test_an_actions_rotation_becomes_angles_about_fixed_axes() -> None:
    rotation = Rotation.from_euler("xyz", [0.1, -0.2, 0.3])
    row = action_row(EndEffectorAction([0.01, 0.02, 0.03], rotation.as_rotvec(), 0.25))
    assert row.dtype == np.float32
    assert row == pytest.approx([0.01, 0.02, 0.03, 0.1, -0.2, 0.3, 0.25], abs=1e-6)


def test_a_state_is_the_tools_pose_and_the_opening() -> None:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [0.1, -0.2, 0.3]).as_matrix()
    pose[:3, 3] = [0.3, -0.1, 0.2]
    row = state_row(SimpleNamespace(base_from_gripper=pose, gripper=0.75))
    assert row == pytest.approx([0.3, -0.1, 0.2, 0.1, -0.2, 0.3, 0.75], abs=1e-6)
