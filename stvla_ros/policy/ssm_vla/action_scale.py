"""Actions as the flow head knows them: the data's 1 % and 99 % quantiles are -1 and 1, a closed gripper is -1, an open
one 1.
"""

import numpy as np
from numpy.typing import ArrayLike

from stvla_ros.policy.action_statistics import ActionStatistics, checked_actions

_GRIPPER = 6
_OPEN_FROM = 0.5


def scaled(actions: ArrayLike, statistics: ActionStatistics) -> np.ndarray:
    """
    :param actions: (..., 7) metres, radians, opening.
    :param statistics: statistics of the training set.
    :returns: (..., 7) float64 from -1 to 1.
    :raises InputError: for another shape, or a NaN or infinity.
    """
    found = statistics.normalize(actions)
    found[..., _GRIPPER] = np.where(np.asarray(actions)[..., _GRIPPER] >= _OPEN_FROM, 1.0, -1.0)
    return found


def unscaled(sampled: ArrayLike, statistics: ActionStatistics) -> np.ndarray:
    """
    :param sampled: (..., 7) numbers of the sampler; what is beyond -1 and 1 counts as -1 and 1.
    :param statistics: statistics of the data set whose actions are like this robot's.
    :returns: (..., 7) float64: x y z metres, roll pitch yaw radians about fixed axes, gripper 0 or 1.
    :raises InputError: for another shape, or a NaN or infinity.
    """
    clipped = np.clip(checked_actions("sampled actions", sampled), -1.0, 1.0)
    clipped[..., _GRIPPER] = clipped[..., _GRIPPER] >= 0.0
    return statistics.unnormalize(clipped)
