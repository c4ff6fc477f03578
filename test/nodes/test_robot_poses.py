"""The robot's pose put to frames, for the tracker that needs it: the real node, its inputs called."""

from collections.abc import Iterator

import numpy as np
import pytest
from node_bench import Bench, bench
from scipy.spatial.transform import Rotation
from slide_robot import CAMERA, URDF, camera_pose, joints, transforms
from std_msgs.msg import String

from stvla_ros.nodes.kit.messages import (
    array_to_image,
    make_camera_info,
    make_header,
    message_to_traces,
    stamp_ns,
)
from stvla_ros.nodes.perception.tracker import TrackerNode

INTRINSICS = np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]])
SECOND = 1_000_000_000


@pytest.fixture
def tracker() -> Iterator[Bench]:
    with bench(TrackerNode, "tracker:=kinematic", "warm_up_frames:=0", "min_extent:=0.001", "join_window:=4") as made:
        made.told = []
        made.node.reject = lambda kind, text: made.told.append(text)
        yield made


def see(made: Bench, stamp: int) -> None:
    header = make_header(stamp, "camera")
    made.receive("depth", array_to_image(np.full((120, 160), 0.5, np.float32), "32FC1", header))
    made.receive("image", array_to_image(np.zeros((120, 160, 3), np.uint8), "rgb8", header))


def know(made: Bench, *, but: str = "") -> None:
    """Tell all that does not change, except ``but``."""
    said = {
        "robot_description": String(data=URDF),
        "/tf_static": CAMERA,
        "camera_info": make_camera_info(INTRINSICS, 160, 120, make_header(0, "camera")),
    }
    for topic, message in said.items():
        if topic != but:
            made.receive(topic, message)


def palm_x(made: Bench) -> list[float]:
    """Column of the palm's mark in the frames that were published."""
    found = []
    for message in made.sent("traces"):
        traces = message_to_traces(message, "traces")
        found += [float(traces.points[-1, column, 0]) for column in np.flatnonzero(traces.ids == 2)]
    return found


def column(slide: float) -> float:
    return 150.0 * slide / 0.5 + 79.5


def test_a_frame_waits_for_joints_of_its_time_and_takes_those_as_they_are(tracker: Bench) -> None:
    know(tracker)
    for number, slide in enumerate([0.0, 0.05]):
        stamp = (number + 1) * SECOND
        see(tracker, stamp)
        assert not tracker.sent("traces")[number:], "the joints are not known yet"
        tracker.receive("joint_states", joints(stamp, slide))
    assert palm_x(tracker) == [pytest.approx(column(0.05), abs=0.5)]


def test_joints_around_a_frame_are_interpolated(tracker: Bench) -> None:
    know(tracker)
    tracker.receive("joint_states", joints(0, 0.0))
    see(tracker, SECOND)
    tracker.receive("joint_states", joints(4 * SECOND, 0.04))
    see(tracker, 3 * SECOND)
    moved = [message_to_traces(each, "traces") for each in tracker.sent("traces")][-1]
    way = moved.points[-1] - moved.points[0]
    assert np.allclose(way[:, 0], column(0.03) - column(0.01), atol=0.5) and len(way) > 0


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        ("robot_description", "topic robot_description: the tracker needs the robot's URDF, there is none"),
        ("camera_info", "topic camera_info: the tracker needs the camera's intrinsics, there are none"),
        ("/tf_static", "topic tf_static: the tracker needs the pose of camera in base, it has none"),
        ("joint_states", "topic joint_states: the tracker needs the robot's joints at each frame's time or later"),
    ],
)
def test_what_is_missing_is_told_and_the_oldest_frame_given_up(tracker: Bench, missing: str, error: str) -> None:
    know(tracker, but=missing)
    for number in range(1, 6):
        see(tracker, number * SECOND)
        if missing != "joint_states":
            tracker.receive("joint_states", joints(number * SECOND, 0.0))
    assert error in " ".join(tracker.told)
    assert not tracker.sent("traces")


def test_the_cameras_pose_may_be_given_in_place_of_tf() -> None:
    """Which then is not heard, whatever it says."""
    given = camera_pose(0.5)
    angles = " ".join(map(str, Rotation.from_matrix(given[:3, :3]).as_euler("xyz")))
    pose = f"{' '.join(map(str, given[:3, 3]))} {angles}"
    parameters = ("tracker:=kinematic", "warm_up_frames:=0", "min_extent:=0.001", f"camera_pose:='{pose}'")
    with bench(TrackerNode, *parameters) as made:
        know(made, but="/tf_static")
        for number, slide in enumerate([0.0, 0.05]):
            see(made, (number + 1) * SECOND)
            made.receive("joint_states", joints((number + 1) * SECOND, slide))
        assert palm_x(made) == [pytest.approx(column(0.05), abs=0.5)]


def test_the_cameras_pose_may_be_a_chain(tracker: Bench) -> None:
    know(tracker, but="/tf_static")
    see(tracker, SECOND)
    tracker.receive("joint_states", joints(SECOND, 0.0))
    stand = np.eye(4)
    stand[2, 3] = 0.2
    tracker.receive("/tf_static", transforms(("stand", "camera", camera_pose(0.3))))
    assert not tracker.sent("traces")
    tracker.receive("/tf_static", transforms(("base", "stand", stand)))
    assert len(tracker.sent("traces")) == 1


def test_frames_go_on_in_their_order(tracker: Bench) -> None:
    know(tracker)
    for number in range(1, 4):
        see(tracker, number * SECOND)
    tracker.receive("joint_states", joints(0, 0.0))
    tracker.receive("joint_states", joints(5 * SECOND, 0.0))
    assert [stamp_ns(each.header) for each in tracker.sent("traces")] == [SECOND, 2 * SECOND, 3 * SECOND]


def test_a_joint_that_is_never_told_is_named(tracker: Bench) -> None:
    know(tracker)
    see(tracker, SECOND)
    tracker.receive("joint_states", joints(SECOND, 0.0, without="right"))
    assert "topic joint_states: expected a position of right" in " ".join(tracker.told)


def test_a_description_that_is_no_urdf_is_told(tracker: Bench) -> None:
    tracker.receive("robot_description", String(data="no robot"))
    assert "topic robot_description: urdf" in " ".join(tracker.told)


def test_without_the_robot_no_robots_topic_is_heard() -> None:
    with bench(TrackerNode) as made:
        assert made.topics == {"image", "episode_state"}
