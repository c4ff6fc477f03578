"""Node ``compositor``: draws traces onto the metric depth of the same frame, and makes overlay and markers for
people.
"""

import time
from typing import TYPE_CHECKING

from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.errors import InputError
from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.camera_info import subscribe_to_camera_info
from stvla_ros.nodes.kit.joins import Join
from stvla_ros.nodes.kit.messages import (
    array_to_image,
    image_to_depth,
    image_to_rgb,
    message_to_traces,
    naming_topic,
    stamp_ns,
)
from stvla_ros.nodes.kit.parameters import declare_camera, declare_join_window, declare_queue_size
from stvla_ros.nodes.perception.camera_transform import CameraTransform
from stvla_ros.nodes.perception.parameters import declare_camera_parent, declare_camera_pose, declare_compositor
from stvla_ros.nodes.perception.trace_outputs import TraceOutputs
from stvla_ros.perception.compositor import Compositor

if TYPE_CHECKING:
    from stvla_ros.nodes.perception.robot_poses import RobotPose


class CompositorNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("compositor")
        self._config = declare_compositor(self)
        self._camera_pose, self._camera_parent = declare_camera_pose(self), declare_camera_parent(self)
        self._camera = declare_camera(self)
        self._queue_size = declare_queue_size(self)
        self._join_window = declare_join_window(self)

    def configure(self) -> None:
        self._compositor = Compositor(self._config)
        self._outputs = TraceOutputs(self, self._compositor.vertex_depths)
        self._transform: CameraTransform | None = None
        if self._camera_pose is not None and self._camera_parent:
            self._transform = CameraTransform(self, self._camera_parent, self._camera_pose)
        self._worker = self.start_worker("compositor", self._process, self._queue_size)

    def activate(self) -> None:
        if self._compositor.needs_robot:
            # Imported here: Pinocchio, which nothing else here needs.
            from stvla_ros.nodes.perception.robot_poses import RobotPoses

            self._robot = RobotPoses(self, self._join_window, self._submit_with_robot, self._camera_pose)
            self._robot.subscribe(self._camera.qos, camera_info=False)
        topics = [
            (self._camera.pictures, "image", self._camera.qos),
            (Image, "depth", RELIABLE_QOS),
            (TraceArray, "traces", RELIABLE_QOS),
        ]
        Join(self, topics, self._submit, self._join_window)
        subscribe_to_camera_info(self, self._set_camera_info, self._camera.qos)
        if self._transform is not None:
            self._transform.subscribe()

    def _set_camera_info(self, message: CameraInfo) -> None:
        if self._transform is not None:
            self._transform.seen(message.header.frame_id)
        self._outputs.camera_info.take(message)
        if self._compositor.needs_robot:
            self._robot.set_camera_info(message)

    def _submit(self, image: Image, depth: Image, traces: TraceArray) -> None:
        frame = image, depth, traces
        if self._compositor.needs_robot:
            self._robot.add(image, frame)
        else:
            self._worker.submit((frame, None))

    def _submit_with_robot(self, frame: tuple[Image, Image, TraceArray], pose: "RobotPose") -> None:
        self._worker.submit((frame, pose))

    def _process(self, frame: "tuple[tuple[Image, Image, TraceArray], RobotPose | None]") -> None:
        started = time.monotonic()
        (image, depth_message, trace_array), pose = frame
        header = image.header
        try:
            rgb = image_to_rgb(image, "image")
            traces = message_to_traces(trace_array, "traces")
            depth = image_to_depth(depth_message, "depth")
            traced = self._compositor.step(traces, depth, None if pose is None else pose.view())
        except InputError as error:
            self.reject("input", naming_topic(error))
            return
        self._outputs.traced_depth.publish(array_to_image(traced, "32FC1", header))
        self.stage.published(self.latency_s(stamp_ns(header)), time.monotonic() - started)
        self._outputs.publish_for_people(rgb, traces, header)


def main() -> None:
    run(CompositorNode)


if __name__ == "__main__":
    main()
