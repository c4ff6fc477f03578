"""Between messages and the core's types: round trips through the wire format, and what is refused."""

from array import array
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.errors import InputError
from stvla_ros.msg import ActionChunk, EndEffectorCommand, TraceArray
from stvla_ros.nodes.kit import messages as m
from stvla_ros.perception.calibration import from_message
from stvla_ros.perception.types import Traces

IDENTITY = CommandIdentity("widowx", bytes(range(240, 256)), 1_700_000_000_000_000_001)
HEADER = m.make_header(1_700_000_000_123_456_789, "camera")


def over_the_wire(message: Any) -> Any:
    return deserialize_message(serialize_message(message), type(message))


@given(st.integers(-(2**31) * 10**9, (2**31 - 1) * 10**9 + 999_999_999))
def test_stamps_keep_every_nanosecond(stamp: int) -> None:
    header = over_the_wire(m.make_header(stamp, "f"))
    assert m.stamp_ns(header) == stamp


@st.composite
def traces(draw: st.DrawFn) -> Traces:
    frames, count = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    points = draw(hnp.arrays(np.float32, (frames, count, 2), elements=st.floats(-1e4, 1e4, width=32)))
    visible = draw(hnp.arrays(bool, (frames, count)))
    points[~visible] = np.nan
    stamps = np.cumsum(draw(hnp.arrays(np.int64, frames, elements=st.integers(1, 10**10))))
    return Traces(points, visible, np.arange(count, dtype=np.uint32) * 1_000_000_007, stamps, (640, 480))


@given(traces())
@examples(quick=50)
def test_traces_survive_the_wire_bit_for_bit(given_traces: Traces) -> None:
    back = m.message_to_traces(over_the_wire(m.traces_to_message(given_traces, HEADER)), "traces")
    assert np.array_equal(back.points, given_traces.points, equal_nan=True)
    assert np.array_equal(back.visible, given_traces.visible)
    assert np.array_equal(back.ids, given_traces.ids)
    assert np.array_equal(back.frame_stamps, given_traces.frame_stamps)
    assert back.image_size == given_traces.image_size


def trace_array() -> TraceArray:
    given_traces = Traces(
        np.ones((2, 3, 2), np.float32), np.ones((2, 3), bool), np.arange(3, dtype=np.uint32), np.array([1, 2]), (64, 48)
    )
    return m.traces_to_message(given_traces, HEADER)


def _set(name: str, value: Any) -> Any:
    return lambda message: setattr(message, name, value)


@pytest.mark.parametrize(
    "spoil",
    [
        _set("num_points", 4),
        _set("num_frames", 0),
        _set("points", array("f", [1.0] * 11)),
        _set("points", array("f", [float("nan")] + [1.0] * 11)),
        _set("points", array("f", [float("inf")] + [1.0] * 11)),
        _set("visible", [True] * 5),
        _set("point_ids", array("I", [1])),
        _set("frame_stamps", []),
    ],
)
def test_traces_that_do_not_hold_together_are_refused(spoil: Any) -> None:
    message = trace_array()
    spoil(message)
    with pytest.raises(InputError, match="topic traces: "):
        m.message_to_traces(message, "traces")


ACTIONS = st.builds(
    EndEffectorAction,
    hnp.arrays(np.float64, 3, elements=st.floats(-1, 1)),
    hnp.arrays(np.float64, 3, elements=st.floats(-4, 4)),
    st.floats(0, 1, width=32),
)


@given(st.lists(ACTIONS, min_size=1, max_size=4))
@examples(quick=50)
def test_actions_survive_the_wire_bit_for_bit(actions: list[EndEffectorAction]) -> None:
    chunk: ActionChunk = over_the_wire(m.make_chunk(actions, "expert", 0.2, HEADER, IDENTITY))
    assert chunk.policy == "expert"
    assert (chunk.period.sec, chunk.period.nanosec) == (0, 200_000_000)
    for command, action in zip(chunk.actions, actions, strict=True):
        back = m.command_to_action(command, "command")
        assert np.array_equal(back.translation, action.translation)
        assert np.array_equal(back.rotation, action.rotation)
        assert back.gripper == action.gripper
        assert command.header == HEADER
        assert m.identity_of(command) == IDENTITY


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["translation", "rotation", "gripper"])
def test_a_command_that_is_not_finite_is_refused(field: str, bad: float) -> None:
    command = EndEffectorCommand(gripper=0.5)
    if field == "gripper":
        command.gripper = bad
    else:
        getattr(command, field).y = bad
    with pytest.raises(InputError, match="topic command: "):
        m.command_to_action(command, "command")


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))))
def test_colour_pictures_survive_the_wire(picture: np.ndarray) -> None:
    message = over_the_wire(m.array_to_image(picture, "rgb8", HEADER))
    assert np.array_equal(m.image_to_rgb(message, "image"), picture)
    swapped = m.array_to_image(picture[..., ::-1], "bgr8", HEADER)
    assert np.array_equal(m.image_to_rgb(swapped, "image"), picture)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(width=32)))
def test_depth_survives_the_wire_with_nan_and_infinity(depth: np.ndarray) -> None:
    message = over_the_wire(m.array_to_image(depth, "32FC1", HEADER))
    assert np.array_equal(m.image_to_depth(message, "depth"), depth, equal_nan=True)


def image(**fields: Any) -> Image:
    message = m.array_to_image(np.zeros((4, 6, 3), np.uint8), "rgb8", HEADER)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "message",
    [
        image(encoding="32FC1"),
        image(encoding="16UC1"),
        image(encoding="nonsense"),
        image(encoding=""),
        image(width=0),
        image(height=0),
        image(width=7),
        image(height=5),
        image(step=17),
        image(step=0),
        image(data=array("B")),
        image(data=array("B", bytes(71))),
        image(width=2**32 - 1, height=2**32 - 1),
        image(height=2**31, step=2**31),
    ],
)
def test_a_broken_colour_picture_is_refused_naming_the_topic(message: Image) -> None:
    with pytest.raises(InputError, match="^topic image: expected") as error:
        m.image_to_rgb(message, "image")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["rgb8", "64FC1", "8UC1", ""])
def test_depth_of_another_encoding_is_refused_naming_the_topic(encoding: str) -> None:
    with pytest.raises(InputError, match="^topic sensor_depth: expected encoding 16UC1"):
        m.image_to_depth(image(encoding=encoding), "sensor_depth")


def test_truncated_depth_is_refused_naming_the_topic() -> None:
    message = m.array_to_image(np.zeros((4, 6), np.uint16), "16UC1", HEADER)
    message.data = message.data[:-1]
    with pytest.raises(InputError, match="^topic depth: expected"):
        m.image_to_depth(message, "depth")


def test_intrinsics_survive_the_wire() -> None:
    intrinsics = np.array([[600.5, 0.0, 319.25], [0.0, 601.5, 239.75], [0.0, 0.0, 1.0]])
    message: CameraInfo = over_the_wire(m.make_camera_info(intrinsics, 640, 480, HEADER))
    assert (message.width, message.height, message.header) == (640, 480, HEADER)
    assert np.array_equal(from_message(message).intrinsics, intrinsics)


@given(hnp.arrays(np.float64, 3, elements=st.floats(-3, 3)), hnp.arrays(np.float64, 3, elements=st.floats(-10, 10)))
def test_a_transform_is_the_pose(rotation_vector: np.ndarray, position: np.ndarray) -> None:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    pose[:3, 3] = position
    transform = m.pose_to_transform(pose)
    np.testing.assert_allclose(m.transform_to_pose(transform, "tf"), pose, atol=1e-12)
    q, t = transform.rotation, transform.translation
    np.testing.assert_allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), pose[:3, :3], atol=1e-9)
    assert [t.x, t.y, t.z] == position.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 2.0, 1e300])
def test_a_transform_that_is_none_is_refused(value: float) -> None:
    transform = m.pose_to_transform(np.eye(4))
    transform.rotation.w = value
    with pytest.raises(InputError, match="topic tf_static: expected finite transforms with quaternions of length 1"):
        m.transform_to_pose(transform, "tf_static")
