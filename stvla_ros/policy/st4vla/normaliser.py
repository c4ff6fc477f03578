"""Converts the sampler's numbers to actions in metres and radians."""

import numpy as np
from numpy.typing import ArrayLike

from stvla_ros.policy.action_statistics import ActionStatistics, checked_actions

GRIPPER = 6
OPEN_FROM = 0.5


def unnormalize(normalized: ArrayLike, statistics: ActionStatistics) -> np.ndarray:
    """
    :param normalized: (..., 7) numbers of the sampler, the gripper about 0 (closed) or 1 (open).
    :param statistics: statistics of the data set whose actions are like this robot's.
    :returns: (..., 7) float64: x y z metres, roll pitch yaw radians about fixed axes, gripper 0 or 1.
    :raises InputError: for another shape, or a NaN or infinity.
    """
    clipped = np.clip(checked_actions("normalized actions", normalized), -1.0, 1.0)
    clipped[..., GRIPPER] = clipped[..., GRIPPER] >= OPEN_FROM
    return statistics.unnormalize(clipped)
