"""Executable ``fused``: the perception stages and the action server in one process, arrays handed over in memory.

Node ``perception`` runs :class:`SpatialTraces` on each frame, gives the result straight to the ``vla_server`` node
beside it, and publishes the topics of the separate nodes only while somebody subscribes to them.
"""

import time
from typing import TYPE_CHECKING

from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.errors import InputError
from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.camera_info import subscribe_to_camera_info
from stvla_ros.nodes.kit.episodes import Episodes
from stvla_ros.nodes.kit.joins import StampOrder, subscribe_to_frames
from stvla_ros.nodes.kit.messages import (
    array_to_image,
    check_sensor_depth,
    image_to_depth,
    image_to_rgb,
    naming_topic,
    stamp_ns,
    traces_to_message,
)
from stvla_ros.nodes.kit.parameters import (
    declare_camera,
    declare_join_window,
    declare_queue_size,
)
from stvla_ros.nodes.perception.camera_transform import CameraTransform
from stvla_ros.nodes.perception.parameters import declare_camera_parent, declare_camera_pose, declare_spatial_traces
from stvla_ros.nodes.perception.trace_outputs import TraceOutputs
from stvla_ros.nodes.server.vla_server import VlaServerNode
from stvla_ros.perception.spatial_traces import SpatialTraces
from stvla_ros.perception.stream_checks import DepthWatch

if TYPE_CHECKING:
    from stvla_ros.nodes.perception.robot_poses import RobotPose


class PerceptionNode(StvlaNode):
    """:param server: action server of this process, which gets every traced frame in memory."""

    def __init__(self, server: VlaServerNode) -> None:
        super().__init__("perception")
        self._server = server
        self._config = declare_spatial_traces(self)
        self._camera_pose, self._camera_parent = declare_camera_pose(self), declare_camera_parent(self)
        self._camera = declare_camera(self, with_depth=True)
        self._queue_size = declare_queue_size(self)
        self._join_window = declare_join_window(self)
        self._order = StampOrder()
        self._episodes = Episodes(self)

    def configure(self) -> None:
        self._spatial_traces = SpatialTraces(self._config)
        self._outputs = TraceOutputs(self, self._spatial_traces.compositor.vertex_depths)
        self._transform: CameraTransform | None = None
        if self._camera_pose is not None and self._camera_parent:
            self._transform = CameraTransform(self, self._camera_parent, self._camera_pose)
        self._traces = self.create_publisher(TraceArray, "traces", RELIABLE_QOS)
        self._depth = self.create_publisher(Image, "depth", RELIABLE_QOS)
        self._depth_watch = DepthWatch()
        self._worker = self.start_worker("perception", self._process, self._queue_size)
        self.offer_reset(self._worker, self._spatial_traces.reset)

    def activate(self) -> None:
        with_sensor_depth = self._spatial_traces.depth_estimator.needs_sensor
        self._episodes.subscribe()
        if self._spatial_traces.needs_robot:
            # Imported here: Pinocchio, which no other tracker needs.
            from stvla_ros.nodes.perception.robot_poses import RobotPoses

            self._robot = RobotPoses(self, self._join_window, self._submit_with_robot, self._camera_pose)
            self._robot.subscribe(self._camera.qos, camera_info=False)
        subscribe_to_frames(self, with_sensor_depth, self._camera, self._join_window, self._submit)
        subscribe_to_camera_info(self, self._set_camera_info, self._camera.qos)
        if self._transform is not None:
            self._transform.subscribe()

    def _set_camera_info(self, message: CameraInfo) -> None:
        self._outputs.camera_info.take(message)
        if self._transform is not None:
            self._transform.seen(message.header.frame_id)
        self._server.inputs.set_camera_info(message)
        if self._spatial_traces.needs_robot:
            self._robot.set_camera_info(message)

    def _submit(self, messages: tuple[Image, ...]) -> None:
        stamp = stamp_ns(messages[0].header)
        if reason := self._episodes.refusal(stamp):
            self.stage.dropped(reason)
            return
        self._server.inputs.saw(stamp)
        if self._spatial_traces.needs_robot:
            self._robot.add(messages[0], messages)
        else:
            self._worker.submit((messages, None))

    def _submit_with_robot(self, messages: tuple[Image, ...], pose: "RobotPose") -> None:
        # An episode may have begun while the frame waited.
        if reason := self._episodes.refusal(stamp_ns(messages[0].header)):
            self.stage.dropped(reason)
            return
        self._worker.submit((messages, pose))

    def _process(self, frame: tuple[tuple[Image, ...], "RobotPose | None"]) -> None:
        started = time.monotonic()
        messages, pose = frame
        header = messages[0].header
        stamp = stamp_ns(header)
        try:
            rgb = image_to_rgb(messages[0], "image")
            sensor_depth = image_to_depth(messages[1], "sensor_depth") if len(messages) > 1 else None
            check_sensor_depth(self._depth_watch, sensor_depth, stamp, rgb)
            if self._order.is_restart(stamp):
                self.get_logger().warning("topic image: stamps jumped back; the frame buffer starts anew")
                self._spatial_traces.reset()
            robot = None if pose is None else pose.view()
            result = self._spatial_traces.step(rgb, stamp, sensor_depth, robot)
        except InputError as error:
            self.reject("input", naming_topic(error))
            return
        self._server.inputs.take_traced(rgb, result, self._spatial_traces)
        self.stage.published(self.latency_s(stamp), time.monotonic() - started)
        if self._outputs.traced_depth.get_subscription_count():
            self._outputs.traced_depth.publish(array_to_image(result.traced_depth, "32FC1", header))
        if self._traces.get_subscription_count():
            self._traces.publish(traces_to_message(result.traces, header))
        if self._depth.get_subscription_count():
            self._depth.publish(array_to_image(result.depth, "32FC1", header))
        self._outputs.publish_for_people(rgb, result.traces, header)


def main() -> None:
    server: list[VlaServerNode] = []

    def make_server() -> VlaServerNode:
        server.append(VlaServerNode(subscribe_to_perception=False))
        return server[0]

    run([make_server, lambda: PerceptionNode(server[0])])


if __name__ == "__main__":
    main()
