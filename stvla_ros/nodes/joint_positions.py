"""Joint positions out of a JointState, by name."""

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import JointState

from stvla_ros.errors import InputError


def joint_positions(message: JointState, names: Sequence[str], topic: str) -> np.ndarray:
    """(n,) positions of the joints, rad or m; a NaN stays one.

    :raises InputError: when one of them is not in the message.
    """
    by_name = dict(zip(message.name, message.position))
    for name in names:
        if name not in by_name:
            raise InputError(
                f"topic {topic}: expected the position of {name}, got those of {', '.join(by_name) or 'none'}"
            )
    return np.array([by_name[name] for name in names], dtype=np.float64)
