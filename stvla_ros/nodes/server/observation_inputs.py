"""Where the action server's observations come from: the topics of the policy's view, or the process' perception."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from stvla_ros.errors import InputError
from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.joins import Join, StampOrder
from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb, message_to_traces, stamp_ns, usable_intrinsics
from stvla_ros.nodes.kit.parameters import declare_join_window, declare_sensor_qos
from stvla_ros.perception.compositor import CompositorConfig, check_traces, resize_depth
from stvla_ros.perception.depth.base import without_invalid
from stvla_ros.perception.frozen_picture import FrozenPicture
from stvla_ros.perception.point_depths import PointDepths
from stvla_ros.perception.spatial_traces import SpatialTraces
from stvla_ros.perception.types import TracedDepth, Traces, TracesInDepth
from stvla_ros.policy.base import MAIN_CAMERA, Picture, PolicyInput
from stvla_ros.policy.observer import View

# What the first picture waits for the first intrinsics, where somebody publishes them.
CAMERA_INFO_WAIT_S = 2.0


class ObservationInputs:
    """Joins picture, depth and intrinsics to a :class:`PolicyInput` and hands it on.

    :param node: declares its parameters, subscribes, and reports bad input.
    :param take: called with each observation, its instruction still empty; from the thread that brought it.
    :param view: which picture and depth.
    :param on_restart: callback for a camera whose stamps jumped back, called before its first picture is taken.
    """

    def __init__(
        self, node: StvlaNode, take: Callable[[PolicyInput], None], view: View, on_restart: Callable[[], None]
    ) -> None:
        self._node = node
        self._take = take
        self._view = view
        self._on_restart = on_restart
        self._order = StampOrder()
        self._sensor_qos = declare_sensor_qos(node)
        self._join_window = declare_join_window(node)
        self._frozen_s = node.parameter(
            "frozen_picture_timeout",
            0.0,
            "seconds for which a picture may stay the same to the bit while its stamps advance; 0 for ever",
            low=0.0,
            high=3600.0,
        )
        self._frozen = FrozenPicture()
        self._point_depths = PointDepths(CompositorConfig.size, CompositorConfig.depth_window)
        self._intrinsics: np.ndarray | None = None
        self._lock = threading.Lock()
        self._knows_camera = False
        self._first_at: float | None = None
        self._waiting: PolicyInput | None = None

    @property
    def newest_stamp(self) -> int | None:
        """The newest stamp of a picture that arrived, whether its depth is there or not; None before the first."""
        return self._order.newest

    def saw(self, stamp: int) -> None:
        """Note that a picture arrived; from the executor's thread."""
        if self._order.is_restart(stamp):
            self._on_restart()

    def subscribe(self) -> None:
        """Take observations from topics while the node is active."""
        picture = self._view.picture
        # Our own nodes publish all but the camera's topics reliably.
        qos = self._sensor_qos if picture == "image" else RELIABLE_QOS
        topics = [(Image, picture, qos), (Image, self._view.depth, RELIABLE_QOS)]
        if self._view.traces:
            topics.append((TraceArray, "traces", RELIABLE_QOS))
        Join(self._node, topics, self._on_messages, self._join_window, on_first=self.saw)
        self._node.subscribe(CameraInfo, "camera_info", self.set_camera_info, self._sensor_qos)

    def set_camera_info(self, message: CameraInfo) -> None:
        """Take the intrinsics; bad ones are reported, and the policy then gets none."""
        intrinsics = usable_intrinsics(self._node, message)
        with self._lock:
            self._intrinsics, self._knows_camera = intrinsics, True
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            picture = replace(waiting.picture, intrinsics=intrinsics)
            self._take(replace(waiting, pictures={MAIN_CAMERA: picture}))

    def take_traced(self, rgb: np.ndarray, result: TracedDepth, perception: SpatialTraces) -> None:
        """Take one frame from the perception in the same process, in whose thread this is called.

        :param rgb: (H, W, 3) uint8, the frame.
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
        """As the perception in the same process says it, from the depths of the frames that came here."""
        check_traces(traces)
        if depth.shape != traces.image_size[::-1]:
            raise InputError(
                f"topic depth: expected the size of the traces' picture, {traces.image_size[0]}x"
                f"{traces.image_size[1]}, got {depth.shape[1]}x{depth.shape[0]}"
            )
        self._point_depths.remember(traces, resize_depth(depth, CompositorConfig.size))
        return TracesInDepth(traces, self._point_depths.of(traces))

    def _hand_on(self, stamp: int, picture: Picture) -> None:
        if self._frozen_s and (same_s := self._frozen.update(picture.rgb, stamp)) > self._frozen_s:
            # Acting on it would be acting blindly.
            self._node.reject("frozen picture", f"topic image: the same picture for {same_s:.1f} s under new stamps")
            return
        with self._lock:
            observation = PolicyInput(stamp, {MAIN_CAMERA: replace(picture, intrinsics=self._intrinsics)}, "")
            if self._awaits_camera():
                self._waiting = observation
                return
        self._take(observation)

    def _awaits_camera(self) -> bool:
        """Whether the camera's first intrinsics are on their way, which may come after its first picture: the same
        picture would be answered differently without them.
        """
        if self._knows_camera:
            return False
        self._first_at = self._first_at or time.monotonic()
        if time.monotonic() - self._first_at > CAMERA_INFO_WAIT_S:
            return False
        return self._node.count_publishers(self._node.resolve_topic_name("camera_info")) > 0
