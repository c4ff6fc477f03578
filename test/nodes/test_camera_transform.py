"""The camera's pose on tf_static: where it is put when the camera's driver has frames of its own, and when not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from node_bench import Bench, bench
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from stvla_ros.nodes.kit.messages import make_header, pose_to_transform, transform_to_pose
from stvla_ros.nodes.perception import camera_transform
from stvla_ros.nodes.perception.compositor import CompositorNode
from stvla_ros.perception.geometry import parse_pose

POSE = "0.1 0.3 0.6 0 3.1 0.2"
OPTICAL, LINK, BASE = "camera_color_optical_frame", "camera_link", "wx250s/base_link"


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(camera_transform, "time", made)
    return made


@pytest.fixture
def compositor(clock: Clock) -> Iterator[Bench]:
    with bench(CompositorNode, f"camera_pose:='{POSE}'", f"camera_parent:={BASE}") as made:
        yield made


def transform(parent: str, child: str, pose: str) -> TransformStamped:
    moved = pose_to_transform(parse_pose("pose", pose))
    return TransformStamped(header=make_header(1, parent), child_frame_id=child, transform=moved)


def look(compositor: Bench, clock: Clock, seconds: float = 2.0) -> list[tuple[str, str, np.ndarray]]:
    """What was published by then."""
    compositor.receive("camera_info", CameraInfo(header=make_header(1, OPTICAL), width=4, height=4))
    for _ in range(2):
        clock.now += seconds / 2
        for timer in compositor.timers:
            timer()
    said: list[Any] = [each for message in compositor.sent("/tf_static") for each in message.transforms]
    return [(each.header.frame_id, each.child_frame_id, transform_to_pose(each.transform, "tf")) for each in said]


def test_a_camera_without_frames_of_its_own_is_put_where_it_was_said_to_be(compositor: Bench, clock: Clock) -> None:
    ((parent, child, pose),) = look(compositor, clock)
    assert (parent, child) == (BASE, OPTICAL)
    np.testing.assert_allclose(pose, parse_pose("pose", POSE), atol=1e-9)
    assert len(look(compositor, clock)) == 1, "said once; it is latched"


def test_the_root_of_a_cameras_frames_is_put_so_that_its_optical_frame_is_there(
    compositor: Bench, clock: Clock
) -> None:
    frames = [transform(LINK, "camera_color_frame", "0 0.015 0 0 0 0.01")]
    frames.append(transform("camera_color_frame", OPTICAL, "0 0 0 -1.5708 0 -1.5708"))
    compositor.receive("/tf_static", TFMessage(transforms=frames))
    ((parent, child, pose),) = look(compositor, clock)
    assert (parent, child) == (BASE, LINK)
    steps = [transform_to_pose(each.transform, "tf") for each in frames]
    np.testing.assert_allclose(pose @ steps[0] @ steps[1], parse_pose("pose", POSE), atol=1e-9)


def test_nothing_is_said_before_the_cameras_own_frames_had_time_to_come(compositor: Bench, clock: Clock) -> None:
    assert look(compositor, clock, 0.5) == []


def test_a_camera_that_somebody_put_there_already_is_left_alone(compositor: Bench, clock: Clock) -> None:
    compositor.receive("/tf_static", TFMessage(transforms=[transform(BASE, OPTICAL, "0 0 1 0 0 0")]))
    assert look(compositor, clock) == []
    assert f"{OPTICAL} is in {BASE} already" in compositor.node.stage.recent_error()


def test_frames_in_a_circle_end_the_search(compositor: Bench, clock: Clock) -> None:
    circle = [transform(LINK, OPTICAL, "0 0 0 0 0 0"), transform(OPTICAL, LINK, "0 0 0 0 0 0")]
    compositor.receive("/tf_static", TFMessage(transforms=circle))
    look(compositor, clock)
