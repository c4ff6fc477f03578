"""A drawn robot for tests of nodes: a palm with two fingers on a slide, and a camera that looks down on it."""

import numpy as np
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import JointState
from tf2_msgs.msg import TFMessage

from stvla_ros.nodes.kit.messages import make_header, pose_to_transform

# A slide along x with a palm and two fingers.
LINK = '<link name="{0}"><collision><geometry><box size="0.02 0.02 0.02"/></geometry></collision></link>'
JOINT = (
    '<joint name="{0}" type="prismatic"><parent link="{1}"/><child link="{2}"/><origin xyz="{3}"/><axis xyz="{4}"/>'
    '<limit lower="-1" upper="1" effort="1" velocity="1"/></joint>'
)
URDF = (
    "<robot name='slide'>"
    + "".join(LINK.format(name) for name in ("base", "palm", "left_finger", "right_finger"))
    + JOINT.format("slide", "base", "palm", "0 0 0", "1 0 0")
    + JOINT.format("left", "palm", "left_finger", "0 0.03 0", "0 1 0")
    + JOINT.format("right", "palm", "right_finger", "0 -0.03 0", "0 -1 0")
    + "</robot>"
)


def transforms(*chain: tuple[str, str, np.ndarray]) -> TFMessage:
    message = TFMessage()
    for parent, child, pose in chain:
        header = make_header(0, parent)
        message.transforms.append(
            TransformStamped(header=header, child_frame_id=child, transform=pose_to_transform(pose))
        )
    return message


def camera_pose(height: float) -> np.ndarray:
    """Above the base, looking down."""
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = height
    return pose


CAMERA = transforms(("base", "camera", camera_pose(0.5)))


def joints(stamp: int, slide: float, *, without: str = "") -> JointState:
    values = {"slide": slide, "left": 0.0, "right": 0.0}
    values.pop(without, None)
    return JointState(header=make_header(stamp, ""), name=list(values), position=list(values.values()))
