"""Listens for `stvla doctor` to the camera and the robot, as our nodes would, and records what it receives."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import String

from stvla_ros.doctor.records import CameraInfos, Heard, JointStates, Pictures, Poses, Publisher, Stream, Wanted
from stvla_ros.errors import InputError, reason_of
from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, set_dds_defaults
from stvla_ros.nodes.kit.camera_info import is_latched
from stvla_ros.nodes.kit.endpoints import shown_node_of
from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb, stamp_ns
from stvla_ros.nodes.kit.picture_topics import Found, find_pictures
from stvla_ros.perception.calibration import from_message
from stvla_ros.perception.stream_checks import (
    HOLD_S,
    AlternatingPictures,
    FrozenPicture,
    look_at_depth,
    saturated_distance,
)

# The nodes' SENSOR_QOS, with a longer queue: this process' own slowness must not look like losses of the camera.
_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# Time for nodes to find each other before the listening begins.
_DISCOVERY_S = 3.0
_SETTLE_S = 0.3
# Looking at all depth maps would slow the listening down.
_LOOK_PERIOD_S = 0.2


class _Recorder:
    """Records the messages of one topic.

    :param look: function that is called with each message.
    """

    def __init__(self, node: Node, kind: type, topic: str, look: Callable[[Any], None]) -> None:
        self._node, self._kind, self._look = node, kind, look
        self.topic = node.resolve_topic_name(topic)
        self.recording = False
        self._asked_for = self.topic
        self._arrivals: list[float] = []
        self._stamps: list[int] = []
        self._ages: list[float] = []
        self._frames: set[str] = set()
        self._subscription = node.create_subscription(kind, self.topic, self._take, _QOS)

    def choose_type(self) -> None:
        """For pictures: subscribe to the type that the topic has, raw or compressed."""
        found = find_pictures(self._node, self._asked_for, "auto")
        if self._kind is Image and isinstance(found, Found) and found != (self.topic, self._kind):
            self._node.destroy_subscription(self._subscription)
            self.topic, self._kind = found
            self._subscription = self._node.create_subscription(self._kind, self.topic, self._take, _QOS)

    def _take(self, message: Any) -> None:
        if not self.recording:
            return
        stamp = stamp_ns(message.header)
        self._arrivals.append(time.monotonic())
        self._stamps.append(stamp)
        self._ages.append((self._node.get_clock().now().nanoseconds - stamp) * 1e-9)
        self._frames.add(message.header.frame_id)
        self._look(message)

    @property
    def found(self) -> bool:
        if self._kind is Image:
            return bool(find_pictures(self._node, self._asked_for, "auto"))
        return self._node.count_publishers(self.topic) > 0

    def stream(self, listened_s: float) -> Stream:
        kind = _type_name(self._kind)
        others = [
            name
            for name, types in self._node.get_topic_names_and_types()
            if kind in types and name != self.topic and self._node.count_publishers(name)
        ]
        return Stream(
            self.topic,
            kind,
            tuple(_publisher(info) for info in self._node.get_publishers_info_by_topic(self.topic)),
            tuple(sorted(others)),
            listened_s,
            np.array(self._arrivals),
            np.array(self._stamps, dtype=np.int64),
            np.array(self._ages),
            frozenset(self._frames),
        )


class _PictureLook:
    """Collects facts about the pictures of a topic.

    :param depth: whether the pictures are depth maps.
    """

    def __init__(self, topic: str, depth: bool) -> None:
        self._topic, self._depth = topic, depth
        self._sizes: set[tuple[int, int]] = set()
        self._encodings: set[str] = set()
        self._problem = self._stuck = ""
        self._still_s = 0.0
        self._frozen, self._alternating = FrozenPicture(), AlternatingPictures()
        self._shares: list[float] = []
        self._medians: list[float] = []
        self._looked_at = -_LOOK_PERIOD_S

    def __call__(self, message: Image | CompressedImage) -> None:
        self._encodings.add(message.format if isinstance(message, CompressedImage) else message.encoding)
        if isinstance(message, Image):
            self._sizes.add((message.width, message.height))
        # Depth is only looked at now and then; of colour pictures, each one is checked for being new.
        if self._problem or (self._depth and time.monotonic() - self._looked_at < _LOOK_PERIOD_S):
            return
        self._looked_at = time.monotonic()
        try:
            if self._depth:
                picture = image_to_depth(message, self._topic)
                self._measure(picture, stamp_ns(message.header))
            else:
                picture = image_to_rgb(message, self._topic)
                self._compare(picture, stamp_ns(message.header))
            self._sizes.add((picture.shape[1], picture.shape[0]))
        except InputError as problem:
            self._problem = str(problem)

    def _measure(self, depth: np.ndarray, stamp: int) -> None:
        look = look_at_depth(depth)
        self._still_s = self._frozen.update(depth, stamp)
        self._shares.append(look.share)
        self._medians.append(look.median_m)
        self._stuck = saturated_distance(look)

    def _compare(self, rgb: np.ndarray, stamp: int) -> None:
        same_s = self._frozen.update(rgb, stamp)
        said = f"no new picture for {same_s:.1f} s under new stamps" if same_s > HOLD_S else ""
        self._stuck = self._alternating.update(rgb) or said or self._stuck

    def pictures(self, stream: Stream) -> Pictures:
        return Pictures(
            stream,
            frozenset(self._sizes),
            frozenset(self._encodings),
            self._problem,
            np.array(self._shares),
            np.array(self._medians),
            self._stuck,
            self._still_s,
        )


def listen(wanted: Wanted) -> Heard:
    """Run a node for a few seconds.

    :raises InputError: when ROS 2 cannot be started, or a topic cannot be subscribed to.
    """
    set_dds_defaults()
    context = rclpy.Context()
    try:
        rclpy.init(context=context)
        override = [Parameter("use_sim_time", value=True)] if wanted.use_sim_time else []
        node = rclpy.create_node(
            "stvla_doctor",
            namespace=wanted.namespace,
            context=context,
            parameter_overrides=override,
            start_parameter_services=False,
            enable_rosout=False,
        )
    except Exception as problem:  # rcl's own types
        rclpy.try_shutdown(context=context)
        raise InputError(f"ROS 2 does not start: {str(problem).splitlines()[0]}") from problem
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        return _Listening(node, wanted).run(executor)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


class _Listening:
    def __init__(self, node: Node, wanted: Wanted) -> None:
        self._node, self._wanted = node, wanted
        self._infos: list[CameraInfo] = []
        self._states: list[JointState] = []
        self._poses: list[PoseStamped] = []
        self._description = ""
        self._looks = {
            "image": _PictureLook(wanted.image_topic, depth=False),
            "depth": _PictureLook(wanted.depth_topic, depth=True),
        }
        self._recorders: dict[str, _Recorder] = {}
        self._record("image", Image, wanted.image_topic, self._looks["image"])
        self._record("camera_info", CameraInfo, wanted.camera_info_topic, self._infos.append)
        self._latched_info: CameraInfo | None = None
        self._record("depth", Image, wanted.depth_topic, self._looks["depth"])
        self._record("joint_states", JointState, wanted.joint_states_topic, self._states.append)
        self._record("poses", PoseStamped, wanted.pose_topic, self._poses.append)
        self._clock_ages_s: dict[str, float] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE_QOS)
        if wanted.robot_description:
            node.create_subscription(String, wanted.robot_description, self._on_description, LATCHED_QOS)

    def _record(self, name: str, kind: type, topic: str, look: Callable[[Any], None]) -> None:
        if not topic:
            return
        try:
            self._recorders[name] = _Recorder(self._node, kind, topic, look)
        except Exception as problem:  # rclpy's exceptions for names and types have no common type
            raise InputError(f"topic {topic} ({name}): cannot be subscribed to ({reason_of(problem)})") from None

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        age = (self._node.get_clock().now().nanoseconds - stamp_ns(message.header)) * 1e-9
        for status in message.status:
            # Of this package: its statuses have the full names of nodes, others' stamps may mean something else.
            if status.name.startswith("/"):
                self._clock_ages_s[status.name] = min(age, self._clock_ages_s.get(status.name, age))

    def _on_latched_info(self, message: CameraInfo) -> None:
        self._latched_info = message

    def _on_description(self, message: String) -> None:
        self._description = message.data

    def run(self, executor: SingleThreadedExecutor) -> Heard:
        recorders = self._recorders.values()
        _spin(executor, _DISCOVERY_S, lambda: all(recorder.found for recorder in recorders))
        for recorder in recorders:
            recorder.choose_type()
        topic = self._recorders["camera_info"].topic
        if is_latched(self._node.get_publishers_info_by_topic(topic)):
            self._node.create_subscription(CameraInfo, topic, self._on_latched_info, LATCHED_QOS)
        # A publisher is known before its messages flow, and its first messages may be older than the listening.
        _spin(executor, _SETTLE_S)
        for recorder in recorders:
            recorder.recording = True
        started = time.monotonic()
        _spin(executor, self._wanted.seconds)
        listened_s = time.monotonic() - started
        return self._heard({name: recorder.stream(listened_s) for name, recorder in self._recorders.items()})

    def _heard(self, streams: dict[str, Stream]) -> Heard:
        joint_states = depth = poses = None
        if "depth" in streams:
            depth = self._looks["depth"].pictures(streams["depth"])
        if "joint_states" in streams:
            joint_states = _joint_table(streams["joint_states"], self._states, self._wanted.joints)
        if "poses" in streams:
            poses = _pose_table(streams["poses"], self._poses)
        return Heard(
            self._looks["image"].pictures(streams["image"]),
            _last_info(streams["camera_info"], self._infos, self._latched_info),
            depth,
            joint_states,
            poses,
            self._description,
            {name: types[0] for name, types in self._node.get_service_names_and_types()},
            self._node.count_publishers("/clock"),
            self._clock_ages_s,
        )


def _spin(executor: SingleThreadedExecutor, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0.0 and not enough():
        executor.spin_once(timeout_sec=min(left, 0.1))


def _last_info(stream: Stream, messages: list[CameraInfo], kept: CameraInfo | None) -> CameraInfos:
    """:param kept: message that was sent earlier and left on the topic."""
    last = messages[-1] if messages else kept
    if last is None:
        return CameraInfos(stream)
    says = from_message(last)
    return CameraInfos(
        stream,
        says.intrinsics,
        tuple(says.distortion.tolist()),
        (says.width, says.height),
        says.distortion_model,
        latched=not messages,
    )


def _joint_table(stream: Stream, messages: list[JointState], joints: tuple[str, ...]) -> JointStates:
    positions = np.full((len(messages), len(joints)), np.nan)
    present = np.zeros(positions.shape, bool)
    names: set[str] = set()
    for row, message in enumerate(messages):
        by_name = dict(zip(message.name, message.position))
        names |= by_name.keys()
        for column, joint in enumerate(joints):
            if joint in by_name:
                positions[row, column], present[row, column] = by_name[joint], True
    return JointStates(stream, joints, positions, present, frozenset(names))


def _pose_table(stream: Stream, messages: list[PoseStamped]) -> Poses:
    at = [message.pose.position for message in messages]
    turned = [message.pose.orientation for message in messages]
    return Poses(
        stream,
        np.array([(p.x, p.y, p.z) for p in at], dtype=np.float64).reshape(-1, 3),
        np.array([(q.x, q.y, q.z, q.w) for q in turned], dtype=np.float64).reshape(-1, 4),
    )


def _publisher(info: Any) -> Publisher:
    profile = info.qos_profile
    verdict, reason = qos_check_compatible(profile, _QOS)
    problem = reason if verdict == QoSCompatibility.ERROR else ""
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    return Publisher(shown_node_of(info), info.topic_type, reliable, problem)


def _type_name(kind: type) -> str:
    package = kind.__module__.partition(".")[0]
    return f"{package}/msg/{kind.__name__}"
