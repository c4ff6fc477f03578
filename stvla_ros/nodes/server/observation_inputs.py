"""The sources of the action server's observations: the topics of the policy's view, or the perception in the same
process.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.errors import InputError
from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.camera_info import CameraInfoInput, subscribe_to_camera_info
from stvla_ros.nodes.kit.joins import Join, StampOrder
from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb, message_to_traces, stamp_ns
from stvla_ros.nodes.kit.parameters import declare_camera, declare_join_window
from stvla_ros.perception.compositor import CompositorConfig, check_traces, resize_depth
from stvla_ros.perception.depth.base import without_invalid
from stvla_ros.perception.point_depths import PointDepths
from stvla_ros.perception.spatial_traces import SpatialTraces
from stvla_ros.perception.stream_checks import AlternatingPictures, ClockWatch, FrozenPicture
from stvla_ros.perception.types import TracedDepth, Traces, TracesInDepth
from stvla_ros.policy.base import MAIN_CAMERA, Picture, PolicyInput
from stvla_ros.policy.observer import View

# Time for which the first picture waits for the first intrinsics, if somebody publishes them.
CAMERA_INFO_WAIT_S = 2.0


class ObservationInputs:
    """Joins picture, depth and intrinsics to a :class:`PolicyInput` and passes it on.

    :param node: node that declares the parameters, subscribes, and reports bad input.
    :param take: function that is called with each observation, without an instruction yet, in the thread that brought
        it.
    :param view: topics of the picture and the depth.
    :param oldest_s: age in seconds beyond which no observation is acted on; 0 for any age.
    :param on_restart: function that is called when a camera's stamps have jumped back, before its first picture is
        taken.
    """

    def __init__(
        self,
        node: StvlaNode,
        take: Callable[[PolicyInput], None],
        view: View,
        oldest_s: float,
        on_restart: Callable[[], None],
    ) -> None:
        self._node = node
        self._take = take
        self._view = view
        self._on_restart = on_restart
        self._order = StampOrder()
        self._camera = declare_camera(node)
        self._join_window = declare_join_window(node)
        self._frozen_s = node.parameter(
            "frozen_picture_timeout",
            0.0,
            "seconds for which a camera may send no new picture (the same to the bit, or the same few in turn) while "
            "its stamps advance; 0: for ever, and two cameras on one topic are not reported either",
            low=0.0,
            high=3600.0,
        )
        self._frozen, self._alternating = FrozenPicture(), AlternatingPictures()
        self._clock = ClockWatch(oldest_s)
        self._point_depths = PointDepths(CompositorConfig.size, CompositorConfig.depth_window)
        self._camera_info = CameraInfoInput(node, tells=True)
        self._lock = threading.Lock()
        self._told_no_camera = False
        self._first_at: float | None = None
        self._waiting: PolicyInput | None = None

    @property
    def newest_stamp(self) -> int | None:
        """The newest stamp of the arrived pictures, with or without depth; None before the first."""
        return self._order.newest

    def saw(self, stamp: int) -> None:
        """Record that a picture arrived; called in the executor's thread."""
        if self._order.is_restart(stamp):
            self._on_restart()

    def subscribe(self) -> None:
        """Subscribe to the observations' topics while the node is active."""
        picture = self._view.picture
        # Our own nodes publish all topics reliably, except the camera's.
        camera = (self._camera.pictures, picture, self._camera.qos)
        pictures = camera if picture == "image" else (Image, picture, RELIABLE_QOS)
        topics: list[tuple[Any, str, Any]] = [pictures, (Image, self._view.depth, RELIABLE_QOS)]
        if self._view.traces:
            topics.append((TraceArray, "traces", RELIABLE_QOS))
        Join(self._node, topics, self._on_messages, self._join_window, on_first=self.saw)
        subscribe_to_camera_info(self._node, self.set_camera_info, self._camera.qos)

    def set_camera_info(self, message: CameraInfo) -> None:
        """Take the intrinsics. If they do not fit the picture, this is reported, and the policy gets no picture."""
        with self._lock:
            self._camera_info.take(message)
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._offer(waiting.stamp, waiting.picture)

    def take_traced(self, rgb: np.ndarray, result: TracedDepth, perception: SpatialTraces) -> None:
        """Take one frame from the perception in the same process; called in its thread.

        :param rgb: (H, W, 3) uint8, the frame's picture.
        """
        self._node.stage.received()
        self._hand_on(result.stamp, self._view.of(rgb, result, perception))

    def _on_messages(self, image: Image, depth_image: Image, trace_array: TraceArray | None = None) -> None:
        depth_topic = self._view.depth
        try:
            rgb = image_to_rgb(image, self._view.picture)
            depth = image_to_depth(depth_image, depth_topic)
            if depth.dtype != np.float32:
                raise InputError(f"topic {depth_topic}: expected 32FC1 (metres), got {depth_image.encoding!r}")
            if depth_topic == "depth":
                depth = without_invalid(depth)  # REP-118 marks unknown by NaN, the policies by 0
            elif not np.isfinite(depth).all():
                raise InputError(f"topic {depth_topic}: expected finite float32 metres (0 where unknown)")
            traces = None if trace_array is None else self._in_depth(message_to_traces(trace_array, "traces"), depth)
        except InputError as error:
            self._node.reject("input", str(error))
            return
        self._hand_on(stamp_ns(image.header), Picture(rgb, depth, None, traces))

    def _in_depth(self, traces: Traces, depth: np.ndarray) -> TracesInDepth:
        """The same result as the perception's in one process, computed from the depths of the frames that came here."""
        check_traces(traces)
        if depth.shape != traces.image_size[::-1]:
            raise InputError(
                f"topic depth: expected the size of the traces' picture, {traces.image_size[0]}x"
                f"{traces.image_size[1]}, got {depth.shape[1]}x{depth.shape[0]}"
            )
        self._point_depths.remember(traces, resize_depth(depth, CompositorConfig.size))
        return TracesInDepth(traces, self._point_depths.of(traces))

    def _hand_on(self, stamp: int, picture: Picture) -> None:
        if problem := self._problem(stamp, picture.rgb):
            # Acting on it would be acting blindly.
            self._node.reject("camera", f"topic image: {problem}")
            return
        with self._lock:
            if self._awaits_camera():
                self._waiting = PolicyInput(stamp, {MAIN_CAMERA: picture}, "")
                return
        self._offer(stamp, picture)

    def _problem(self, stamp: int, rgb: np.ndarray) -> str:
        if said := self._clock.update(stamp, self._node.latency_s(stamp), time.monotonic()):
            return said
        if not self._frozen_s:
            return ""
        if (same_s := self._frozen.update(rgb, stamp)) > self._frozen_s:
            return f"no new picture for {same_s:.1f} s under new stamps: the camera or its driver hangs"
        return self._alternating.update(rgb)

    def _offer(self, stamp: int, picture: Picture) -> None:
        height, width = picture.rgb.shape[:2]
        try:
            intrinsics = self._camera_info.intrinsics((width, height))
        except InputError as error:
            self._node.reject("camera_info", str(error))
            return
        self._take(PolicyInput(stamp, {MAIN_CAMERA: replace(picture, intrinsics=intrinsics)}, ""))

    def _awaits_camera(self) -> bool:
        """Whether the camera's first intrinsics, which may come after its first picture, are still expected: without
        them the same picture would get a different answer.
        """
        if self._camera_info.known:
            return False
        self._first_at = self._first_at or time.monotonic()
        if time.monotonic() - self._first_at > CAMERA_INFO_WAIT_S:
            if not self._told_no_camera:
                self._told_no_camera = True
                self._node.get_logger().warning(
                    f"topic camera_info: nothing came within {CAMERA_INFO_WAIT_S:g} s of the first picture, so the "
                    "policy gets no intrinsics and assumes those of its training, probably of another camera"
                )
            return False
        return self._node.count_publishers(self._node.resolve_topic_name("camera_info")) > 0
