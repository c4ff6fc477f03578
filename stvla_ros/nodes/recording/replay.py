"""Node ``replay``: plays a video, a folder of pictures or a bag in place of the camera, with the recorded stamps.

It publishes the recording's time as ``/clock``, so nodes that work on it run with ``use_sim_time``.
"""

import threading
import time
from collections.abc import Iterator

import numpy as np
from rclpy.duration import Duration
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.awaited_subscribers import AwaitedSubscribers
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header, ns_to_time, stamp_ns
from stvla_ros.nodes.kit.parameters import declare_sync_tolerance
from stvla_ros.perception.geometry import check_intrinsics
from stvla_ros.recordings.bag_reader import BagTopics
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.recordings.types import RecordedFrame

# Time between two /clock messages while there is no frame: ten times finer than a camera's period.
CLOCK_PERIOD_S = 0.01
ACKNOWLEDGE_TIMEOUT_S = 2.0
LOCKSTEP = "lockstep"
PACINGS = ("realtime", LOCKSTEP)
# A frame that a node refuses never comes through; the wait for it ends after this time.
RECORDED_TIMEOUT_S = 10.0


class ReplayNode(StvlaNode):
    """Ends the process with exit code 0 after the last frame, and with 1 when the recording breaks off."""

    def __init__(self) -> None:
        super().__init__("replay")
        self._source = self.parameter("source", "", "video file, folder of pictures or bag (folder, .mcap, .db3)")
        self._topics = BagTopics(
            image=self.parameter("image_topic", "", "topic in the bag; empty: the only colour picture"),
            camera_info=self.parameter("camera_info_topic", "", "topic in the bag; empty: the one beside the image"),
            depth=self.parameter("depth_topic", "", "topic in the bag; empty: sensor_depth beside image_topic"),
        )
        self._frame_rate = self.parameter(
            "frame_rate",
            0.0,
            "rate of a folder of pictures without stamps, Hz; 0: they have stamps",
            low=0.0,
            high=10_000.0,
        )
        self._tolerance_ns = declare_sync_tolerance(self)
        self._pacing = self.parameter(
            "pacing", "realtime", "as recorded, or each frame as soon as the one before is recorded", choices=PACINGS
        )
        self._rate = self.parameter("rate", 1.0, "speed: 2 plays twice as fast as recorded", low=0.01, high=100.0)
        self._intrinsics = self.parameter(
            "intrinsics", [0.0] * 4, "fx, fy, cx, cy in pixels instead of the recorded ones; zeros: as recorded"
        )
        self._frame_id = self.parameter(
            "frame_id", "camera_optical_frame", "frame of the pictures when the recording names none"
        )
        self._min_subscribers = self.parameter(
            "min_subscribers", 1, "subscribers of `image` to wait for before the first frame", low=0, high=1000
        )
        self._listeners = AwaitedSubscribers(self)
        self._start_delay_s = self.parameter(
            "start_delay", 0.5, "seconds between the last awaited subscriber and the first frame", low=0.0, high=3600.0
        )
        self._end_delay_s = self.parameter(
            "end_delay", 1.0, "seconds that the clock runs on after the last frame", low=0.0, high=3600.0
        )
        self.exit_code: int | None = None
        self._stop = threading.Event()
        self._warned = False
        # Lockstep: stamp of the newest frame that the recorder has taken.
        self._taken = 0
        self._news = threading.Condition()

    # --- lifecycle ------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        if not self._source:
            raise InputError("parameter source: expected a video file, a folder of pictures or a bag, got nothing")
        if len(self._intrinsics) != 4:
            raise InputError(f"parameter intrinsics: expected fx, fy, cx, cy, got {len(self._intrinsics)} numbers")
        self._override: np.ndarray | None = None
        if any(self._intrinsics):
            fx, fy, cx, cy = self._intrinsics
            self._override = check_intrinsics(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
        frames = open_recording(
            self._source,
            self._topics,
            self._frame_rate or None,
            lambda problem: self.reject("picture", problem),
            self._tolerance_ns,
        )
        self._frames = self._in_order(frames)
        self._image = self.create_publisher(Image, "image", RELIABLE_QOS)
        self._camera_info = self.create_publisher(CameraInfo, "camera_info", RELIABLE_QOS)
        self._depth = self.create_publisher(Image, "sensor_depth", RELIABLE_QOS)
        self._clock_publisher = self.create_publisher(Clock, "/clock", RELIABLE_QOS)
        self._taken = 0

    def activate(self) -> None:
        self._stop.clear()
        self.subscribe(Header, "recorded", self._on_recorded, watched=False)
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)
        self._thread.start()
        self.on_stop_inputs(self._stop_playing)

    def _on_recorded(self, header: Header) -> None:
        with self._news:
            self._taken = max(self._taken, stamp_ns(header))
            self._news.notify_all()

    def _stop_playing(self) -> None:
        self._stop.set()
        with self._news:
            self._news.notify_all()
        self._thread.join(timeout=5.0)

    # --- playing --------------------------------------------------------------------------------------------------

    def _play(self) -> None:
        try:
            first = next(self._frames)
            if not self._await_subscribers(first.stamp_ns):
                return
            schedule = _Schedule(first.stamp_ns, self._rate)
            self._publish(first, schedule)
            last = first.stamp_ns
            for frame in self._frames:
                if not self._await_turn(last, frame.stamp_ns, schedule):
                    return
                self._publish(frame, schedule)
                last = frame.stamp_ns
            self._await_turn(last, last, schedule)
            self._tick_until(last + round(self._end_delay_s * self._rate * 1e9), schedule)
            self._image.wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_TIMEOUT_S))
            self.exit_code = 0
        except InputError as error:
            self.get_logger().error(str(error))
        finally:
            if self.exit_code is None and not self._stop.is_set():
                self.exit_code = 1
            self.get_logger().info(f"{self._source}: {self.stage.values()['published']} frames played")

    def _in_order(self, frames: Iterator[RecordedFrame]) -> Iterator[RecordedFrame]:
        """Leave out frames whose stamps do not increase: time runs forwards only."""
        newest = -1
        for frame in frames:
            self.stage.received()
            if frame.stamp_ns > newest:
                newest = frame.stamp_ns
                yield frame
            else:
                self.reject("stamp", f"{self._source}: stamp {frame.stamp_ns} does not follow {newest}; frame left out")

    def _await_subscribers(self, first_stamp: int) -> bool:
        """Hold the clock before the first frame until all awaited subscribers are there, and then let it run up to that
        frame. False: stopped meanwhile.

        While a clock stands, drivers hold their arms. They would refuse the answer to a first frame that comes with the
        clock's first step.
        """
        ready_since: float | None = None
        told, clock = False, 0
        while not self._stop.is_set():
            left = self._start_delay_s
            if missing := self._missing_subscribers():
                ready_since = None
                if not told:
                    told = True
                    self.get_logger().info(f"waiting for {', '.join(missing)}")
            else:
                ready_since = ready_since or time.monotonic()
                left = max(self._start_delay_s - (time.monotonic() - ready_since), 0.0)
            clock = max(clock, first_stamp - round(left * self._rate * 1e9))
            self._publish_clock(clock)
            if not missing and not left:
                return True
            self._stop.wait(CLOCK_PERIOD_S)
        return False

    def _missing_subscribers(self) -> list[str]:
        missing = self._listeners.missing()
        if self._image.get_subscription_count() < self._min_subscribers:
            missing.append(f"{self._min_subscribers} subscribers of {self._image.topic_name}")
        return missing

    def _await_turn(self, previous: int, stamp: int, schedule: "_Schedule") -> bool:
        """Wait until the frame with this stamp may go out. False: stopped meanwhile.

        :param previous: stamp of the frame before.
        """
        if self._pacing != LOCKSTEP:
            return self._tick_until(stamp, schedule)
        with self._news:
            taken = self._news.wait_for(lambda: self._taken >= previous or self._stop.is_set(), RECORDED_TIMEOUT_S)
        if not taken:
            self.reject(
                "recorded",
                f"topic recorded: frame {previous} did not come through in {RECORDED_TIMEOUT_S:g} s; going on",
            )
        schedule.begin(stamp)
        return not self._stop.is_set()

    def _tick_until(self, stamp: int, schedule: "_Schedule") -> bool:
        """Let the clock run up to a stamp, and no further. False: stopped meanwhile."""
        while (remaining := schedule.seconds_until(stamp)) > 0:
            if self._stop.wait(min(remaining, CLOCK_PERIOD_S)):
                return False
            self._publish_clock(min(schedule.now(), stamp))
        schedule.reached(stamp)
        return not self._stop.is_set()

    def _publish_clock(self, now: int) -> None:
        self._clock_publisher.publish(Clock(clock=ns_to_time(now)))

    def _publish(self, frame: RecordedFrame, schedule: "_Schedule") -> None:
        started = time.monotonic()
        header = make_header(frame.stamp_ns, frame.frame_id or self._frame_id)
        self._publish_clock(frame.stamp_ns)
        camera_info = self._make_camera_info(frame, header)
        if camera_info is not None:
            self._camera_info.publish(camera_info)
        if frame.depth is not None:
            encoding = "16UC1" if frame.depth.dtype == np.uint16 else "32FC1"
            self._depth.publish(array_to_image(frame.depth, encoding, header))
        self._image.publish(array_to_image(frame.rgb, "rgb8", header))
        self.stage.published(schedule.late_s, time.monotonic() - started)

    def _make_camera_info(self, frame: RecordedFrame, header: Header) -> CameraInfo | None:
        height, width = frame.rgb.shape[:2]
        if self._override is not None:
            return make_camera_info(self._override, width, height, header)
        camera = frame.camera
        if camera is None:
            if not self._warned:
                self._warned = True
                self.get_logger().warning(
                    f"{self._source}: no calibration recorded, so no camera_info; parameter intrinsics can give it"
                )
            return None
        message = make_camera_info(camera.intrinsics, camera.width, camera.height, header)
        message.distortion_model = camera.distortion_model
        message.d = camera.distortion.tolist()
        message.r = camera.rectification.reshape(9)
        message.p = camera.projection.reshape(12)
        return message

    def extra_diagnostics(self) -> dict[str, str]:
        return {"source": self._source}


class _Schedule:
    """The time at which a stamp is due. If the recording is read too slowly, the following frames are late, too; they
    are not hurried.
    """

    def __init__(self, first_stamp: int, rate: float) -> None:
        self._stamp = first_stamp
        self._due = time.monotonic()
        self._rate = rate
        self.late_s = 0.0

    def seconds_until(self, stamp: int) -> float:
        return self._due + (stamp - self._stamp) * 1e-9 / self._rate - time.monotonic()

    def now(self) -> int:
        return self._stamp + int((time.monotonic() - self._due) * self._rate * 1e9)

    def begin(self, stamp: int) -> None:
        """A stamp is due now, whatever was before."""
        self._stamp, self._due, self.late_s = stamp, time.monotonic(), 0.0

    def reached(self, stamp: int) -> None:
        """A stamp is due now or was due earlier: from here on, time counts from it."""
        self.late_s = max(0.0, -self.seconds_until(stamp))
        due = self._due + (stamp - self._stamp) * 1e-9 / self._rate
        # Small lateness, up to the clock's step, is made up for, so that it does not add up.
        self._due = due if self.late_s < CLOCK_PERIOD_S else time.monotonic()
        self._stamp = stamp


def main() -> None:
    run(ReplayNode)


if __name__ == "__main__":
    main()
