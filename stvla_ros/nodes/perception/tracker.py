"""Node ``tracker``: camera frames in, traces of moving points out (frame buffer, tracker and selection).

With a tracker that needs the robot, a frame is joined with its depth (topic ``depth``) and the robot's pose.
"""

import time
from typing import TYPE_CHECKING

from sensor_msgs.msg import Image

from stvla_ros.errors import InputError
from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.episodes import Episodes
from stvla_ros.nodes.kit.joins import Join, StampOrder, subscribe_to_pictures
from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb, naming_topic, stamp_ns, traces_to_message
from stvla_ros.nodes.kit.parameters import declare_camera, declare_join_window, declare_queue_size
from stvla_ros.nodes.perception.parameters import declare_camera_pose, declare_tracking
from stvla_ros.perception.tracking import TraceTracker

if TYPE_CHECKING:
    from stvla_ros.nodes.perception.robot_poses import RobotPose


class TrackerNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("tracker")
        self._config = declare_tracking(self)
        self._camera_pose = declare_camera_pose(self)
        self._camera = declare_camera(self)
        self._queue_size = declare_queue_size(self)
        self._join_window = declare_join_window(self)
        self._order = StampOrder()
        self._episodes = Episodes(self)

    def configure(self) -> None:
        self._tracker = TraceTracker(self._config)
        self._traces = self.create_publisher(TraceArray, "traces", RELIABLE_QOS)
        self._worker = self.start_worker("tracker", self._process, self._queue_size)
        self.offer_reset(self._worker, self._tracker.reset)

    def activate(self) -> None:
        self._episodes.subscribe()
        if self._tracker.needs_robot:
            # Imported here: Pinocchio, which no other tracker needs.
            from stvla_ros.nodes.perception.robot_poses import RobotPoses

            self._robot = RobotPoses(self, self._join_window, self._submit_with_robot, self._camera_pose)
            self._robot.subscribe(self._camera.qos)
            topics = [(self._camera.pictures, "image", self._camera.qos), (Image, "depth", RELIABLE_QOS)]
            Join(self, topics, self._add, self._join_window)
        else:
            subscribe_to_pictures(self, self._camera.pictures, self._camera.qos, self._submit)

    def _submit(self, message: Image) -> None:
        if self._is_new(message):
            self._worker.submit((message, None, None))

    def _add(self, image: Image, depth: Image) -> None:
        self._robot.add(image, (image, depth))

    def _submit_with_robot(self, frame: tuple[Image, Image], pose: "RobotPose") -> None:
        # Checked only now: an episode may have begun while the frame waited.
        if self._is_new(frame[0]):
            self._worker.submit((*frame, pose))

    def _is_new(self, image: Image) -> bool:
        if reason := self._episodes.refusal(stamp_ns(image.header)):
            self.stage.dropped(reason)
        return not reason

    def _process(self, frame: tuple[Image, Image | None, "RobotPose | None"]) -> None:
        started = time.monotonic()
        message, depth, pose = frame
        stamp = stamp_ns(message.header)
        try:
            rgb = image_to_rgb(message, "image")
            if self._order.is_restart(stamp):
                self.get_logger().warning("topic image: stamps jumped back; the frame buffer starts anew")
                self._tracker.reset()
            registered = None if depth is None else image_to_depth(depth, "depth")
            traces = self._tracker.step(rgb, stamp, registered, None if pose is None else pose.view())
        except InputError as error:
            self.reject("image", naming_topic(error))
            return
        self._traces.publish(traces_to_message(traces, message.header))
        self.stage.published(self.latency_s(stamp), time.monotonic() - started)


def main() -> None:
    run(TrackerNode)


if __name__ == "__main__":
    main()
