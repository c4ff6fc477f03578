"""Converts this package's actions to the numbers that SimplerEnv's controllers take. Pure functions."""

import numpy as np
from scipy.spatial.transform import Rotation

# Half the span of upstream's normalised gripper command on the Google robot: +1 adds 1.31 rad to the finger's target.
# The finger itself stops at 1.3 rad (closed), so the surplus becomes grasp force.
GOOGLE_FINGER_CLOSED = 1.31
# Upstream's controller treats a smaller change of the finger's target (rad) as "keep the previous target".
_SMALLEST_FINGER_STEP = 1e-3


def ee_align2_translation(
    translation: np.ndarray, rotation: np.ndarray, target_position: np.ndarray, measured_position: np.ndarray
) -> np.ndarray:
    """The translation command that moves the controller's target by ``translation`` while it turns in place.

    Upstream's ``ee_align2`` turns the old target pose about the *measured* position: its new target position is
    ``measured + command + R (target - measured)``. It should be ``target + translation``; the result is solved for the
    command.

    :param translation: (3,) metres, base frame, wanted shift of the target position.
    :param rotation: (3,) rotation vector in the base frame, radians.
    :param target_position: (3,) metres, the controller's target before this step.
    :param measured_position: (3,) metres, present position of the tool point.
    :return: (3,) metres.
    """
    lag = np.asarray(target_position) - np.asarray(measured_position)
    return np.asarray(translation) + lag - Rotation.from_rotvec(rotation).apply(lag)


def widowx_gripper(opening: float) -> float:
    """Upstream's absolute gripper command, -1 closed to +1 open, for an opening of 0 closed to 1 open."""
    return 2.0 * opening - 1.0


def google_gripper(opening: float, commanded: float, target: float) -> float:
    """Upstream's relative gripper command (+ closes) that leads to an absolute opening.

    :param opening: 0 closed to 1 open.
    :param commanded: finger angle (rad) that the drive was last told; the command adds to it.
    :param target: finger angle (rad) that the previous command was leading to. The controller keeps it when the new
        command is nearly zero, so a command to stop half-way must not be nearly zero.
    :return: in units of `GOOGLE_FINGER_CLOSED`, -1..1.
    """
    wanted = (1.0 - opening) * GOOGLE_FINGER_CLOSED
    change = wanted - commanded
    if abs(change) <= _SMALLEST_FINGER_STEP and abs(wanted - target) > _SMALLEST_FINGER_STEP:
        # The margin keeps the step above the threshold after the simulator's rounding to float32.
        change = np.copysign(1.1 * _SMALLEST_FINGER_STEP, change)
    return float(np.clip(change / GOOGLE_FINGER_CLOSED, -1.0, 1.0))


def scaled_intrinsics(matrix: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """The renderer's pinhole matrix for a picture that is ``scale_x`` and ``scale_y`` times as large.

    :param matrix: (3, 3) matrix with the first pixel's *corner* at (0, 0), as in SAPIEN.
    """
    return np.diag([scale_x, scale_y, 1.0]) @ matrix


def centred_intrinsics(matrix: np.ndarray) -> np.ndarray:
    """Convert SAPIEN's pinhole matrix (first pixel's corner at (0, 0)) to one with the first pixel's *centre* at (0, 0)
    (REP-104).
    """
    centred = np.array(matrix, dtype=np.float64)
    centred[:2, 2] -= 0.5
    return centred
