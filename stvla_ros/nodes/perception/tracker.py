"""Node ``tracker``: camera frames in, traces of moving points out (frame buffer, tracker and selection)."""

import time

from sensor_msgs.msg import Image

from stvla_ros.errors import InputError
from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.episodes import EARLIER_FRAME, Episodes
from stvla_ros.nodes.kit.joins import StampOrder
from stvla_ros.nodes.kit.messages import image_to_rgb, naming_topic, stamp_ns, traces_to_message
from stvla_ros.nodes.kit.parameters import declare_queue_size, declare_sensor_qos
from stvla_ros.nodes.perception.parameters import declare_tracking
from stvla_ros.perception.tracking import TraceTracker


class TrackerNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("tracker")
        self._config = declare_tracking(self)
        self._sensor_qos = declare_sensor_qos(self)
        self._queue_size = declare_queue_size(self)
        self._order = StampOrder()
        self._episodes = Episodes(self)

    def configure(self) -> None:
        self._tracker = TraceTracker(self._config)
        self._traces = self.create_publisher(TraceArray, "traces", RELIABLE_QOS)
        self._worker = self.start_worker("tracker", self._process, self._queue_size)
        self.offer_reset(self._worker, self._tracker.reset)

    def activate(self) -> None:
        self._episodes.subscribe()
        self.subscribe(Image, "image", self._submit, self._sensor_qos)

    def _submit(self, message: Image) -> None:
        self.stage.received()
        if self._episodes.is_earlier(stamp_ns(message.header)):
            self.stage.dropped(EARLIER_FRAME)
            return
        self._worker.submit(message)

    def _process(self, message: Image) -> None:
        started = time.monotonic()
        stamp = stamp_ns(message.header)
        try:
            rgb = image_to_rgb(message, "image")
            if self._order.is_restart(stamp):
                self.get_logger().warning("topic image: stamps jumped back; the frame buffer starts anew")
                self._tracker.reset()
            traces = self._tracker.step(rgb, stamp)
        except InputError as error:
            self.reject("image", naming_topic(error))
            return
        self._traces.publish(traces_to_message(traces, message.header))
        self.stage.published(self.latency_s(stamp), time.monotonic() - started)


def main() -> None:
    run(TrackerNode)


if __name__ == "__main__":
    main()
