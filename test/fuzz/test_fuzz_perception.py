"""Whatever pictures and traces come, the perception's nodes refuse what is bad, and live on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from any_message import colour_images, depth_images, messages, stamps, wire
from camera_frames import INTRINSICS, scene
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from node_bench import Bench, bench
from sensor_msgs.msg import CameraInfo, JointState
from slide_robot import CAMERA, URDF, joints
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from stvla_ros.msg import TraceArray
from stvla_ros.nodes.fused import PerceptionNode
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header, stamp_ns
from stvla_ros.nodes.perception.compositor import CompositorNode
from stvla_ros.nodes.perception.depth import DepthNode
from stvla_ros.nodes.perception.tracker import TrackerNode
from stvla_ros.nodes.server.vla_server import VlaServerNode

cameras = messages(CameraInfo) | messages(
    CameraInfo,
    k=st.sampled_from([[150.0, 0, 79.5, 0, 150.0, 59.5, 0, 0, 1], [1e308, 0, -1e308, 0, 5e-324, 0, 0, 0, 1]]),
)


GOOD_FRAME = {
    "camera_info": make_camera_info(INTRINSICS, 160, 120, make_header(0, "")),
    "image": array_to_image(scene(1)[0][0], "rgb8", make_header(0, "")),
    "depth": array_to_image(scene(1)[1].astype(np.float32) / 1000, "32FC1", make_header(0, "")),
}
# Of the frame's own stamp.
slides = st.sampled_from([0.0, 0.1, -0.5, 1e9, 1e300, 1e-320]).map(lambda slide: joints(0, slide))


@st.composite
def trace_arrays(draw: st.DrawFn) -> TraceArray:
    """Mostly of lengths that belong together."""
    message = draw(messages(TraceArray))
    if draw(st.booleans()):
        return message
    frames, points = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    message.num_frames, message.num_points = frames, points
    message.frame_stamps = [draw(stamps) for _ in range(frames)]
    random = np.random.default_rng(draw(st.integers(0, 63)))
    message.point_ids = random.integers(0, 2**32, points).tolist()
    values = random.uniform(-20, 80, frames * points * 2).astype(np.float32)
    if draw(st.booleans()):
        values[random.random(values.size) < 0.2] = draw(st.sampled_from([np.nan, np.inf, 3e38, -3e38, 1e30, 1e-40]))
    message.points, message.visible = values.tolist(), (random.random(frames * points) < 0.7).tolist()
    if draw(st.booleans()):
        message.image_width, message.image_height = draw(st.sampled_from([(64, 64), (1, 1), (2**32 - 1, 3), (0, 9)]))
    return message


TOPICS = {
    "image": colour_images(),
    "sensor_depth": depth_images(),
    "depth": depth_images(),
    "traced_depth": depth_images(),
    "traces": trace_arrays(),
    "camera_info": cameras,
}


@st.composite
def frames(draw: st.DrawFn, *topics: str) -> list[tuple[str, Any]]:
    """One message of each topic, mostly with one stamp, in any order."""
    found = [(topic, draw(TOPICS[topic])) for topic in draw(st.permutations(topics))]
    if draw(st.integers(0, 9)) < 9:
        stamp = draw(stamps)
        for _, message in found:
            message.header.stamp = stamp
    return [(topic, wire(message)) for topic, message in found]


@pytest.fixture
def tracker() -> Iterator[Bench]:
    with bench(TrackerNode, "buffer:=4", "warm_up_frames:=0") as made:
        yield made


@examples(quick=15)
@given(st.lists(frames("image"), min_size=1, max_size=4))
def test_fuzz_tracker(tracker, given_frames):
    tracker.call("~/reset")
    for (topic, message), *_ in given_frames:
        tracker.receive(topic, message)
    tracker.forget()


@pytest.fixture
def robot_tracker() -> Iterator[Bench]:
    with bench(TrackerNode, "tracker:=kinematic", "buffer:=4", "warm_up_frames:=0", "join_window:=3") as made:
        made.receive("robot_description", String(data=URDF))
        made.receive("/tf_static", CAMERA)
        yield made


@examples(quick=15)
@given(
    st.lists(
        st.tuples(
            frames("camera_info", "image", "depth"),
            slides | messages(JointState).map(wire),
            st.none() | messages(TFMessage).map(wire),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_fuzz_tracker_of_the_robot(robot_tracker, given_frames):
    robot_tracker.call("~/reset")
    for frame, states, transforms, fine in given_frames:
        header = make_header(stamp_ns(frame[0][1].header), "camera")
        for topic, message in GOOD_FRAME.items() if fine else frame:
            message.header = header
            robot_tracker.receive(topic, message)
        if transforms is not None:
            robot_tracker.receive("/tf_static", transforms)
        if states.header.stamp.sec == 0:
            states.header = header
        robot_tracker.receive("joint_states", states)
    robot_tracker.forget()


@pytest.fixture
def depth() -> Iterator[Bench]:
    with bench(DepthNode, "join_window:=5") as made:
        yield made


@examples(quick=15)
@given(frames("image", "sensor_depth"))
def test_fuzz_depth(depth, frame):
    for topic, message in frame:
        depth.receive(topic, message)
    depth.forget()


@pytest.fixture(params=["A", "B", "C"])
def compositor(request) -> Iterator[Bench]:
    with bench(CompositorNode, "join_window:=5", f"variant:={request.param}", "size:=24") as made:
        yield made


@examples(quick=15)
@given(frames("camera_info", "image", "depth", "traces"))
def test_fuzz_compositor(compositor, frame):
    for topic, message in frame:
        compositor.receive(topic, message)
    for message in compositor.sent("traced_depth"):
        assert np.isfinite(np.frombuffer(message.data, np.float32)).all()
    compositor.forget()


@pytest.fixture
def perception() -> Iterator[Bench]:
    servers: list[VlaServerNode] = []

    def make() -> PerceptionNode:
        servers.append(VlaServerNode(subscribe_to_perception=False))
        return PerceptionNode(servers[0])

    with bench(make, "join_window:=5", "buffer:=4", "warm_up_frames:=0", "size:=24") as made:
        yield made
        servers[0].destroy_node()


@examples(quick=15)
@given(st.lists(frames("camera_info", "image", "sensor_depth"), min_size=1, max_size=3))
def test_fuzz_fused(perception, given_frames):
    perception.call("~/reset")
    for frame in given_frames:
        for topic, message in frame:
            perception.receive(topic, message)
    perception.forget()
