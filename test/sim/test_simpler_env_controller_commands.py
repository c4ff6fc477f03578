"""Actions for SimplerEnv's controllers: properties, against the controllers' rules written out here."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from scipy.spatial.transform import Rotation

from stvla_ros.sim.simpler_env import controller_commands as commands

VECTORS = st_numpy.arrays(np.float64, 3, elements=st.floats(-0.5, 0.5))
OPENINGS = st.floats(0.0, 1.0)
ANGLES = st.floats(0.0, commands.GOOGLE_FINGER_CLOSED)


def align2_target(command, rotation, target, measured):
    """Upstream's rule: the old target, turned about the measured position, then shifted by the command."""
    return measured + command + Rotation.from_rotvec(rotation).apply(target - measured)


@given(VECTORS, VECTORS, VECTORS, VECTORS)
def test_the_target_moves_by_the_translation_whatever_the_rotation_and_the_lag(
    translation, rotation, target, measured
) -> None:
    command = commands.ee_align2_translation(translation, rotation, target, measured)
    np.testing.assert_allclose(align2_target(command, rotation, target, measured), target + translation, atol=1e-12)


@given(VECTORS, VECTORS, VECTORS)
def test_a_translation_alone_is_passed_on(translation, target, measured) -> None:
    command = commands.ee_align2_translation(translation, np.zeros(3), target, measured)
    np.testing.assert_allclose(command, translation, atol=1e-12)


def test_without_the_compensation_a_lagging_arm_would_drift() -> None:
    target, measured, rotation = np.array([0.3, 0.0, 0.1]), np.array([0.28, 0.0, 0.1]), np.array([0.0, 0.0, 0.1])
    drift = align2_target(np.zeros(3), rotation, target, measured) - target
    assert np.linalg.norm(drift) > 0.0015


def test_the_widowx_gripper_is_absolute_with_plus_one_open() -> None:
    assert [commands.widowx_gripper(opening) for opening in (0.0, 0.5, 1.0)] == [-1.0, 0.0, 1.0]


@given(OPENINGS, ANGLES, ANGLES)
def test_the_google_gripper_ends_where_the_opening_says(opening, commanded, target) -> None:
    wanted = (1.0 - opening) * commands.GOOGLE_FINGER_CLOSED
    change = np.float32(commands.google_gripper(opening, commanded, target)) * commands.GOOGLE_FINGER_CLOSED
    # Upstream's rule: a small change means the previous target.
    reached = target if abs(change) < 1e-3 else commanded + change
    assert abs(reached - wanted) < 2.2e-3


@given(OPENINGS, ANGLES, ANGLES)
def test_the_google_gripper_command_stays_in_range(opening, commanded, target) -> None:
    assert -1.0 <= commands.google_gripper(opening, commanded, target) <= 1.0


def test_plus_closes_the_google_gripper() -> None:
    assert commands.google_gripper(0.0, commanded=0.0, target=0.0) == 1.0
    assert commands.google_gripper(1.0, commands.GOOGLE_FINGER_CLOSED, commands.GOOGLE_FINGER_CLOSED) == -1.0


@given(st.floats(0.1, 4.0), st.floats(0.1, 4.0), st_numpy.arrays(np.float64, 3, elements=st.floats(0.1, 2.0)))
def test_a_point_keeps_its_relative_place_in_a_resized_picture(scale_x, scale_y, point) -> None:
    matrix = np.array([[425.0, 0.0, 320.0], [0.0, 413.0, 256.0], [0.0, 0.0, 1.0]])
    corner = matrix @ point / point[2]
    scaled = commands.scaled_intrinsics(matrix, scale_x, scale_y) @ point / point[2]
    np.testing.assert_allclose(scaled, corner * [scale_x, scale_y, 1.0], rtol=1e-12)


def test_the_optical_axis_of_a_centred_camera_hits_between_the_middle_pixels() -> None:
    matrix = commands.centred_intrinsics(np.array([[425.0, 0.0, 320.0], [0.0, 425.0, 256.0], [0.0, 0.0, 1.0]]))
    assert matrix[0, 2] == 319.5 and matrix[1, 2] == 255.5
