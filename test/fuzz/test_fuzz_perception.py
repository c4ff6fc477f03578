"""Whatever pictures and traces come, the perception's nodes refuse what is bad, and live on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from any_message import colour_images, depth_images, messages, stamps, wire
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from node_bench import Bench, bench
from sensor_msgs.msg import CameraInfo

from stvla_ros.msg import TraceArray
from stvla_ros.nodes.fused import PerceptionNode
from stvla_ros.nodes.perception.compositor import CompositorNode
from stvla_ros.nodes.perception.depth import DepthNode
from stvla_ros.nodes.perception.tracker import TrackerNode
from stvla_ros.nodes.server.vla_server import VlaServerNode

cameras = messages(CameraInfo) | messages(
    CameraInfo,
    k=st.sampled_from([[150.0, 0, 79.5, 0, 150.0, 59.5, 0, 0, 1], [1e308, 0, -1e308, 0, 5e-324, 0, 0, 0, 1]]),
)


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
