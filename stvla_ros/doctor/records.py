"""Everything that the doctor heard, as plain data: doctor/listener.py makes it, the checks judge it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Publisher:
    """
    :param node: full name of the publisher's node.
    :param type: type of its messages, like ``sensor_msgs/msg/Image``.
    :param reliable: whether lost messages are sent again.
    :param qos_problem: reason why its quality of service does not fit our subscriptions; empty when it does.
    """

    node: str
    type: str
    reliable: bool = True
    qos_problem: str = ""


@dataclass(frozen=True, eq=False)
class Stream:
    """The messages of one topic.

    :param topic: full name of the topic.
    :param type: type that its messages must have.
    :param publishers: publishers of this topic, of any type.
    :param others: further topics with this type and a publisher.
    :param listened_s: duration of the listening, seconds.
    :param arrivals_s: (n,) float64, arrival of each message, ``time.monotonic()``.
    :param stamps_ns: (n,) int64, stamps in the headers, nanoseconds.
    :param ages_s: (n,) float64, the node's clock minus the stamp, seconds.
    :param frame_ids: frame ids that occurred.
    """

    topic: str
    type: str
    publishers: tuple[Publisher, ...]
    others: tuple[str, ...]
    listened_s: float
    arrivals_s: np.ndarray
    stamps_ns: np.ndarray
    ages_s: np.ndarray
    frame_ids: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        return len(self.arrivals_s)

    def only(self, kept: np.ndarray) -> "Stream":
        """:param kept: (n,) bool, messages that are kept."""
        return replace(self, arrivals_s=self.arrivals_s[kept], stamps_ns=self.stamps_ns[kept], ages_s=self.ages_s[kept])


@dataclass(frozen=True, eq=False)
class Pictures:
    """
    :param sizes: sizes (width, height) that occurred.
    :param encodings: encodings that occurred.
    :param problem: fault of the first picture that could not be read; empty when all could.
    :param stuck: reason why the pictures do not come from one working camera; empty when they do.
    :param valid_shares: (m,) share of pixels with a distance, for each depth map that was looked at. Empty for colour.
    :param medians_m: (m,) median of the distances in each of these, metres; NaN if no pixel has one.
    :param still_s: time for which no new depth map came, seconds by the stamps.
    """

    stream: Stream
    sizes: frozenset[tuple[int, int]] = frozenset()
    encodings: frozenset[str] = frozenset()
    problem: str = ""
    valid_shares: np.ndarray = field(default_factory=lambda: np.zeros(0))
    medians_m: np.ndarray = field(default_factory=lambda: np.zeros(0))
    stuck: str = ""
    still_s: float = 0.0


@dataclass(frozen=True, eq=False)
class CameraInfos:
    """
    :param matrix: (3, 3) float64 pinhole matrix of the last message, pixels; None when there was none.
    :param distortion: coefficients of its distortion.
    :param size: (width, height) of the pictures that it is for, pixels.
    :param model: name of the distortion model.
    :param latched: whether it was sent once, and left on the topic.
    """

    stream: Stream
    matrix: np.ndarray | None = None
    distortion: tuple[float, ...] = ()
    size: tuple[int, int] = (0, 0)
    model: str = "plumb_bob"
    latched: bool = False


@dataclass(frozen=True, eq=False)
class JointStates:
    """
    :param joints: names of the joints that the driver needs, in this order.
    :param positions: (n, joints) float64, rad or m; NaN where the message has a NaN or lacks the joint.
    :param present: (n, joints) bool, whether the message names the joint.
    :param names: names of all joints in all messages.
    """

    stream: Stream
    joints: tuple[str, ...]
    positions: np.ndarray
    present: np.ndarray
    names: frozenset[str]


@dataclass(frozen=True, eq=False)
class Poses:
    """
    :param translations: (n, 3) float64, metres.
    :param quaternions: (n, 4) float64, x y z w.
    """

    stream: Stream
    translations: np.ndarray
    quaternions: np.ndarray


@dataclass(frozen=True)
class Wanted:
    """The topics to listen to.

    :param image_topic, camera_info_topic: names, relative to the namespace.
    :param depth_topic: name; empty for none.
    :param joint_states_topic: name; empty for none.
    :param joints: names of the joints that are needed.
    :param pose_topic: name; empty for none.
    :param robot_description: name of the URDF's topic; empty if it is not asked for.
    :param seconds: duration of the listening.
    :param use_sim_time: whether ages are measured by ``/clock``.
    :param namespace: namespace of the robot, absolute; empty for the root.
    """

    image_topic: str
    camera_info_topic: str
    depth_topic: str = ""
    joint_states_topic: str = ""
    joints: tuple[str, ...] = ()
    pose_topic: str = ""
    robot_description: str = ""
    seconds: float = 5.0
    use_sim_time: bool = False
    namespace: str = ""


@dataclass(frozen=True, eq=False)
class Heard:
    """
    :param robot_description: text of the received URDF; empty if none came.
    :param services: types of the services, by full name.
    :param clock_publishers: publishers of ``/clock``.
    :param clock_ages_s: smallest age of each node's messages on ``/diagnostics``, seconds.
    """

    image: Pictures
    camera_info: CameraInfos
    depth: Pictures | None
    joint_states: JointStates | None
    poses: Poses | None
    robot_description: str
    services: Mapping[str, str]
    clock_publishers: int
    clock_ages_s: Mapping[str, float] = field(default_factory=dict)
