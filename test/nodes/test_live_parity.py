"""The live graph and `SpatialTraces.step` are the same thing: bit for bit, on the same frames, through real topics."""

from pathlib import Path

import numpy as np
import pytest
from camera_frames import INTRINSICS, PERIOD_NS, scene
from live_graph import live_graph
from sensor_msgs.msg import Image
from slide_robot import URDF, camera_pose, joints, transforms
from std_msgs.msg import String
from std_srvs.srv import Trigger

from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.base import LATCHED_QOS
from stvla_ros.nodes.kit.messages import image_to_depth, message_to_traces, stamp_ns
from stvla_ros.perception.compositor import CompositorConfig
from stvla_ros.perception.spatial_traces import SpatialTraces, SpatialTracesConfig
from stvla_ros.perception.tracking import TrackingConfig
from stvla_ros.robots.robot_links import RobotLinks

COUNT = 20
BEGIN = 1_700_000_000_000_000_000


@pytest.mark.parametrize("variant", ["B", "C"])
@pytest.mark.parametrize("fused", [False, True], ids=["separate", "fused"])
def test_live_traced_depth_equals_the_plain_pipeline_bit_for_bit(fused: bool, variant: str, tmp_path: Path) -> None:
    pictures, depth = scene(COUNT)
    plain = SpatialTraces(
        SpatialTracesConfig(tracking=TrackingConfig(buffer=10), compositor=CompositorConfig(variant=variant))
    )
    expected = [plain.step(rgb, BEGIN + i * PERIOD_NS, depth + np.uint16(i)) for i, rgb in enumerate(pictures)]
    assert sum(result.traces.num_points > 0 for result in expected) >= 10, "a scene without traces would prove nothing"

    queue = {"queue_size": COUNT}
    with live_graph(tmp_path) as graph:
        if fused:
            perception = {"buffer": 10, "variant": variant, **queue}
            graph.start("fused", perception=perception, vla_server={"policy": "expert"})
        else:
            graph.start("tracker", buffer=10, **queue)
            graph.start("depth", **queue)
            graph.start("compositor", variant=variant, **queue)
        traced = graph.listen(Image, "traced_depth")
        traces = graph.listen(TraceArray, "traces")
        graph.connect(image=1 if fused else 3, sensor_depth=1, camera_info=1)
        graph.prime(traced, BEGIN)
        assert graph.call(Trigger, "perception/reset" if fused else "tracker/reset", Trigger.Request()).success
        traces.clear()
        for index, rgb in enumerate(pictures):
            graph.frame(BEGIN + index * PERIOD_NS, rgb, depth + np.uint16(index), INTRINSICS)
            graph.until(lambda: len(traced) > index and len(traces) > index, f"traced depth of frame {index}")

        for result, message, trace_array in zip(expected, traced, traces, strict=True):
            assert stamp_ns(message.header) == result.stamp
            assert message.header.frame_id == "camera"
            live = image_to_depth(message, "traced_depth")
            assert live.dtype == np.float32
            assert np.array_equal(live, result.traced_depth)
            live_traces = message_to_traces(trace_array, "traces")
            assert np.array_equal(live_traces.points, result.traces.points)
            assert np.array_equal(live_traces.ids, result.traces.ids)
            assert np.array_equal(live_traces.visible, result.traces.visible)


@pytest.mark.parametrize(
    ("fused", "ignore_robot"), [(False, False), (False, True), (True, True)], ids=["separate", "ignored", "fused"]
)
def test_live_traces_of_the_robot_equal_the_plain_pipelines_bit_for_bit(
    fused: bool, ignore_robot: bool, tmp_path: Path
) -> None:
    """The joint states come after their frames, and one more between each two."""
    pictures, depth = scene(COUNT)
    tracking = TrackingConfig(tracker="kinematic", buffer=10)
    compositor = CompositorConfig(ignore_robot=ignore_robot)
    plain, links = SpatialTraces(SpatialTracesConfig(tracking=tracking, compositor=compositor)), RobotLinks(URDF)
    pose, slides = camera_pose(0.7), [0.01 * i + 0.001 / 3 for i in range(COUNT)]
    expected = []
    for i, rgb in enumerate(pictures):
        view = links.view({"slide": slides[i], "left": 0.0, "right": 0.0}, pose, INTRINSICS)
        expected.append(plain.step(rgb, BEGIN + i * PERIOD_NS, depth, view))
    assert sum((result.traces.ids < 3).any() for result in expected) >= 10, "the fingers must be among the traces"

    queue = {"queue_size": COUNT}
    with live_graph(tmp_path) as graph:
        latched = {"robot_description": String(data=URDF), "/tf_static": transforms(("base", "camera", pose))}
        publishers = [graph.node.create_publisher(type(each), topic, LATCHED_QOS) for topic, each in latched.items()]
        for publisher, message in zip(publishers, latched.values()):
            publisher.publish(message)
        if fused:
            perception = {"tracker": "kinematic", "buffer": 10, "ignore_robot": ignore_robot, **queue}
            graph.start("fused", perception=perception, vla_server={"policy": "expert"})
        else:
            graph.start("tracker", tracker="kinematic", buffer=10, **queue)
            graph.start("depth", **queue)
            graph.start("compositor", ignore_robot=ignore_robot, **queue)
        traced = graph.listen(Image, "traced_depth")
        graph.connect(image=1 if fused else 3, sensor_depth=1, camera_info=1 if fused else 2)
        wanted = 2 if ignore_robot and not fused else 1
        # The joints stand still in the time of the frames before the first.
        graph.publish("joint_states", joints(BEGIN - 1_000_000_000, 0.0))
        heard = graph._publishers["joint_states"]
        graph.until(lambda: heard.get_subscription_count() >= wanted, f"{wanted} subscribers of joint_states")
        for stamp in (BEGIN - 1_000_000_000, BEGIN - 1):
            graph.publish("joint_states", joints(stamp, 0.0))
        graph.prime(traced, BEGIN)
        assert graph.call(Trigger, "perception/reset" if fused else "tracker/reset", Trigger.Request()).success
        for index, rgb in enumerate(pictures):
            stamp = BEGIN + index * PERIOD_NS
            graph.frame(stamp, rgb, depth, INTRINSICS)
            graph.publish("joint_states", joints(stamp - PERIOD_NS // 2, 0.5))
            graph.publish("joint_states", joints(stamp, slides[index]))
            graph.until(lambda: len(traced) > index, f"traced depth of frame {index}")
        for result, message in zip(expected, traced, strict=True):
            assert stamp_ns(message.header) == result.stamp
            assert np.array_equal(image_to_depth(message, "traced_depth"), result.traced_depth)
