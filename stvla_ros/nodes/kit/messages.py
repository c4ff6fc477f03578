"""Converts between ROS messages and the core's types.

Arrays are passed as ``array.array``: rclpy checks other sequences element by element. What knows of rotations is loaded
with the first of them: it takes as long as all else that a perception node loads.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Transform, Vector3
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from unique_identifier_msgs.msg import UUID

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.errors import InputError
from stvla_ros.msg import ActionChunk, EndEffectorCommand, TraceArray
from stvla_ros.nodes.kit import compat
from stvla_ros.nodes.kit.compat import cv_bridge
from stvla_ros.perception.stream_checks import DepthWatch
from stvla_ros.perception.types import Traces
from stvla_ros.recordings.compressed import decode_colour, decode_depth
from stvla_ros.recordings.pixels import DEPTH_ENCODINGS, message_to_rgb

_BRIDGE = cv_bridge.CvBridge()

# Encodings that cv_bridge converts. It does not know all of the cameras' encodings.
_OF_BRIDGE = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16")
# First and last time that a message can hold.
_LEAST_NS, _MOST_NS = -(2**31) * 1_000_000_000, 2**31 * 1_000_000_000 - 1
# Names of topics, by the perception stages' names for their inputs.
_STAGE_INPUTS = ("image", "sensor_depth", "depth", "traces", "joint_states")


# --- times ------------------------------------------------------------------------------------------------------------


def ns_to_time(nanoseconds: int) -> Time:
    """The nearest time that a message can hold."""
    return Time(**_seconds_and_rest(nanoseconds))


def ns_to_duration(nanoseconds: int) -> Duration:
    """The nearest duration that a message can hold."""
    return Duration(**_seconds_and_rest(nanoseconds))


def seconds_to_duration(seconds: float) -> Duration:
    """The nearest duration that a message can hold."""
    return ns_to_duration(round(seconds * 1e9))


def stamp_to_ns(stamp: Time | Duration) -> int:
    """Nanoseconds of a time or a duration."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def stamp_ns(header: Header) -> int:
    """Nanoseconds of a header's stamp."""
    return stamp_to_ns(header.stamp)


def make_header(stamp: int, frame_id: str) -> Header:
    """:param stamp: nanoseconds."""
    return Header(stamp=ns_to_time(stamp), frame_id=frame_id)


def _seconds_and_rest(nanoseconds: int) -> dict[str, int]:
    # rclpy would send only 32 bits of a larger number: a completely different time.
    seconds, rest = divmod(min(max(nanoseconds, _LEAST_NS), _MOST_NS), 1_000_000_000)
    return {"sec": seconds, "nanosec": rest}


# --- pictures and cameras ---------------------------------------------------------------------------------------------


def image_to_rgb(message: Image | CompressedImage, topic: str) -> np.ndarray:
    """(H, W, 3) uint8 rgb; a view of the message if its encoding is already rgb8.

    :raises InputError: for an encoding that is no colour picture, a zero size, or too little data.
    """
    if isinstance(message, CompressedImage):
        return _decoded(decode_colour, message, topic)
    if message.encoding not in _OF_BRIDGE:
        return _decoded(message_to_rgb, message, topic)
    return _to_array(message, topic, "rgb8", "rgb8, bgr8, rgba8, bgra8 or mono8")


def image_to_depth(message: Image | CompressedImage, topic: str) -> np.ndarray:
    """(H, W) uint16 millimetres or float32 metres, as the message has it (REP-118).

    :raises InputError: for another encoding, a zero size, or too little data.
    """
    if isinstance(message, CompressedImage):
        return _decoded(decode_depth, message, topic)
    if message.encoding not in DEPTH_ENCODINGS:
        raise InputError(
            f"topic {topic}: expected encoding 16UC1 (millimetres) or 32FC1 (metres), got {message.encoding!r}"
        )
    return _to_array(message, topic, "passthrough", "16UC1 or 32FC1")


def _decoded(decode: Callable[[Any], np.ndarray], message: Image | CompressedImage, topic: str) -> np.ndarray:
    try:
        return decode(message)
    except InputError as error:
        raise InputError(f"topic {topic}: {str(error).removeprefix('image: ')}") from None


def check_sensor_depth(watch: DepthWatch, depth: np.ndarray | None, stamp: int, rgb: np.ndarray) -> None:
    """:raises InputError: for a sensor that is dead, frozen, saturated, or uses another unit."""
    if depth is not None and (said := watch.update(depth, stamp, rgb)):
        raise InputError(f"topic sensor_depth: {said}")


def array_to_image(picture: np.ndarray, encoding: str, header: Header) -> Image:
    """:param picture: (H, W) or (H, W, channels) array of the encoding's type."""
    return _BRIDGE.cv2_to_imgmsg(np.ascontiguousarray(picture), encoding=encoding, header=header)


def make_camera_info(intrinsics: np.ndarray, width: int, height: int, header: Header) -> CameraInfo:
    """The message of an ideal pinhole camera.

    :param intrinsics: (3, 3) pinhole matrix in pixels.
    """
    message = CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = intrinsics.reshape(9)
    message.r = np.eye(3).reshape(9)
    message.p = np.hstack([intrinsics, np.zeros((3, 1))]).reshape(12)
    return message


def _to_array(message: Image, topic: str, encoding: str, expected: str) -> np.ndarray:
    if not message.width or not message.height:
        raise InputError(f"topic {topic}: expected a picture, got {message.width}x{message.height} pixels")
    try:
        picture = _BRIDGE.imgmsg_to_cv2(message, desired_encoding=encoding)
        # The distribution's cv_bridge takes a row length that is too short for a narrower picture.
        if picture.shape[:2] != (message.height, message.width):
            raise ValueError("row length too short")
        return picture
    except (cv_bridge.CvBridgeError, ValueError, TypeError) as error:
        raise InputError(
            f"topic {topic}: expected {expected}, {message.width}x{message.height} with all of its data; "
            f"got encoding {message.encoding!r}, step {message.step}, {len(message.data)} bytes ({error})"
        ) from None


# --- traces -----------------------------------------------------------------------------------------------------------


def traces_to_message(traces: Traces, header: Header) -> TraceArray:
    """The message of these traces, with NaN where a point was not seen."""
    num_frames, num_points = traces.visible.shape
    message = TraceArray(header=header, num_frames=num_frames, num_points=num_points)
    message.image_width, message.image_height = traces.image_size
    message.frame_stamps = [ns_to_time(int(stamp)) for stamp in traces.frame_stamps]
    message.point_ids = array("I", traces.ids.astype(np.uint32).tobytes())
    message.points = array("f", np.ascontiguousarray(traces.points, np.float32).tobytes())
    message.visible = traces.visible.reshape(-1).tolist()
    return message


def message_to_traces(message: TraceArray, topic: str) -> Traces:
    """:raises InputError: when the lengths of the fields do not belong together or a number is not finite."""
    frames, points = message.num_frames, message.num_points
    lengths = (len(message.frame_stamps), len(message.point_ids), len(message.points), len(message.visible))
    expected = (frames, points, frames * points * 2, frames * points)
    if frames < 1 or lengths != expected:
        raise InputError(
            f"topic {topic}: expected frame_stamps, point_ids, points, visible of lengths {expected}, got {lengths}"
        )
    # NaN is allowed where a point was not seen; elsewhere a coordinate must be a number.
    xy = np.frombuffer(message.points, np.float32).reshape(frames, points, 2)
    visible = np.array(message.visible, bool).reshape(frames, points)
    if not np.isfinite(xy[visible]).all():
        raise InputError(f"topic {topic}: expected finite coordinates for visible points")
    return Traces(
        points=xy,
        visible=visible,
        ids=np.frombuffer(message.point_ids, np.uint32),
        frame_stamps=np.array([stamp_to_ns(stamp) for stamp in message.frame_stamps], np.int64),
        image_size=(message.image_width, message.image_height),
    )


# --- actions and arms -------------------------------------------------------------------------------------------------


def action_to_command(action: EndEffectorAction, header: Header, identity: CommandIdentity) -> EndEffectorCommand:
    return EndEffectorCommand(
        header=header,
        translation=Vector3(x=action.translation[0], y=action.translation[1], z=action.translation[2]),
        rotation=Vector3(x=action.rotation[0], y=action.rotation[1], z=action.rotation[2]),
        gripper=float(action.gripper),
        robot=identity.robot,
        goal_id=make_uuid(identity.goal_id),
        goal_stamp=ns_to_time(identity.goal_stamp),
    )


def identity_of(message: EndEffectorCommand) -> CommandIdentity:
    return CommandIdentity(message.robot, bytes(message.goal_id.uuid), stamp_to_ns(message.goal_stamp))


def make_uuid(identifier: bytes) -> UUID:
    """:param identifier: 16 bytes."""
    return UUID(uuid=np.frombuffer(identifier, np.uint8))


def command_to_action(message: EndEffectorCommand, topic: str) -> EndEffectorAction:
    """:raises InputError: for NaN, infinity or a gripper outside 0..1."""
    t, r = message.translation, message.rotation
    try:
        return EndEffectorAction(np.array([t.x, t.y, t.z]), np.array([r.x, r.y, r.z]), message.gripper)
    except InputError as error:
        raise InputError(f"topic {topic}: {error}") from None


def make_chunk(
    actions: Sequence[EndEffectorAction], policy: str, period_s: float, header: Header, identity: CommandIdentity
) -> ActionChunk:
    """:param identity: identity of the goal that the policy was asked for; without one, the chunk is a proposal that
    belongs to no goal.
    """
    commands = [action_to_command(action, header, identity) for action in actions]
    return ActionChunk(header=header, policy=policy, period=seconds_to_duration(period_s), actions=commands)


def pose_to_transform(pose: np.ndarray) -> Transform:
    """:param pose: (4, 4) rigid transform, metres."""
    message = Transform()
    message.translation.x, message.translation.y, message.translation.z = pose[:3, 3].tolist()
    x, y, z, w = compat.tf_transformations.quaternion_from_matrix(pose)
    message.rotation.x, message.rotation.y, message.rotation.z, message.rotation.w = map(float, (x, y, z, w))
    return message


def transform_to_pose(message: Transform, topic: str) -> np.ndarray:
    """(4, 4) rigid transform, metres. :raises InputError: for a message that is no rigid transform."""
    q, t = message.rotation, message.translation
    numbers = np.array([q.x, q.y, q.z, q.w, t.x, t.y, t.z])
    if not np.isfinite(numbers).all() or not 0.999 < np.hypot(np.hypot(q.x, q.y), np.hypot(q.z, q.w)) < 1.001:
        raise InputError(f"topic {topic}: expected finite transforms with quaternions of length 1")
    pose = np.asarray(compat.tf_transformations.quaternion_matrix(numbers[:4]), dtype=np.float64)
    pose[:3, 3] = numbers[4:]
    return pose


# --- errors -----------------------------------------------------------------------------------------------------------


def naming_topic(error: InputError) -> str:
    """The error's line with the topic in it: the perception stages know no topics."""
    text = str(error)
    if text.startswith("topic "):
        return text
    return f"topic {text}" if text.startswith(_STAGE_INPUTS) else f"topic image: {text}"
