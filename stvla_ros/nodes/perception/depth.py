"""Node ``depth``: metric depth registered to the image, from a depth sensor's topic or from a network."""

import time

from sensor_msgs.msg import Image

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.joins import subscribe_to_frames
from stvla_ros.nodes.kit.messages import (
    array_to_image,
    check_sensor_depth,
    image_to_depth,
    image_to_rgb,
    naming_topic,
    stamp_ns,
)
from stvla_ros.nodes.kit.parameters import (
    declare_camera,
    declare_join_window,
    declare_queue_size,
)
from stvla_ros.nodes.perception.parameters import declare_depth
from stvla_ros.perception.depth.registry import make_depth_estimator
from stvla_ros.perception.stream_checks import DepthWatch


class DepthNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("depth")
        self._backend, self._backend_parameters = declare_depth(self)
        self._camera = declare_camera(self, with_depth=True)
        self._queue_size = declare_queue_size(self)
        self._join_window = declare_join_window(self)

    def configure(self) -> None:
        self._estimator = make_depth_estimator(self._backend, **self._backend_parameters)
        self._depth = self.create_publisher(Image, "depth", RELIABLE_QOS)
        self._watch = DepthWatch()
        self._worker = self.start_worker("depth", self._process, self._queue_size)

    def activate(self) -> None:
        with_sensor_depth = self._estimator.needs_sensor
        subscribe_to_frames(self, with_sensor_depth, self._camera, self._join_window, self._worker.submit)

    def _process(self, messages: tuple[Image, ...]) -> None:
        started = time.monotonic()
        image = messages[0]
        stamp = stamp_ns(image.header)
        try:
            rgb = image_to_rgb(image, "image")
            sensor_depth = image_to_depth(messages[1], "sensor_depth") if len(messages) > 1 else None
            check_sensor_depth(self._watch, sensor_depth, stamp, rgb)
            depth = self._estimator.estimate(rgb, sensor_depth)
        except InputError as error:
            self.reject("input", naming_topic(error))
            return
        # The image's header, not the sensor's: the map is registered to the image, whichever frame the sensor names.
        self._depth.publish(array_to_image(depth, "32FC1", image.header))
        self.stage.published(self.latency_s(stamp), time.monotonic() - started)


def main() -> None:
    run(DepthNode)


if __name__ == "__main__":
    main()
