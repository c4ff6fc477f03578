"""The camera's intrinsics, as a node takes them from ``camera_info``."""

import numpy as np
from sensor_msgs.msg import CameraInfo

from stvla_ros.errors import InputError
from stvla_ros.nodes.lifecycle import ManagedNode
from stvla_ros.nodes.messages import camera_info_to_intrinsics


def usable_intrinsics(node: ManagedNode, message: CameraInfo) -> np.ndarray | None:
    """
    :param node: reports intrinsics that cannot be used.
    :returns: (3, 3) float64 pinhole matrix in pixels; None when it cannot be used.
    """
    try:
        return camera_info_to_intrinsics(message, "camera_info")
    except InputError as error:
        node.reject("camera_info", str(error))
        return None
