"""Camera frames of a bag."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.calibration import CameraCalibration, from_message
from stvla_ros.perception.frame_pairs import DEPTHS, PICTURES, FramePairs
from stvla_ros.recordings.bag import COMPRESSED_TYPE, Bag, BagTopic
from stvla_ros.recordings.bag_files import open_bag
from stvla_ros.recordings.bag_topics import BagTopics, choose_camera
from stvla_ros.recordings.compressed import decode_colour, decode_depth
from stvla_ros.recordings.pixels import DEPTH_ENCODINGS, message_to_rgb, unpack_message
from stvla_ros.recordings.types import OnBadFrame, RecordedFrame

# How many pictures may wait for their depth maps: over a second of a usual camera.
PAIRING_WINDOW = 40


def read_bag(
    path: Path,
    topics: BagTopics = BagTopics(),
    on_bad_frame: OnBadFrame | None = None,
    tolerance_ns: int | None = None,
) -> Iterator[RecordedFrame]:
    """Pictures in the order of recording, each with the calibration known by then, and with its depth by the rule of
    ``FramePairs``.

    Stamps are the headers'; a message without a stamp gets the time of recording.

    :param on_bad_frame: function that is called with one line for each message that cannot be decoded and is left out,
        and for depths of which none belongs to a picture. None: a message that cannot be decoded is an error.
    :param tolerance_ns: largest difference of the stamps of a picture and its depth, see ``FramePairs``.
    :raises InputError: for anything but a bag, and for a bag that is damaged, lacks such topics, or has several topics
        with pictures (they are named).
    """
    # All reading happens in this block: a bag brings its own definitions of types, so any field may be missing.
    with open_bag(path) as bag:
        yield from _Join(path, bag, topics, on_bad_frame, tolerance_ns).frames()


class _Join:
    """Joins the pictures, calibration and depth of one bag."""

    def __init__(
        self, path: Path, bag: Bag, topics: BagTopics, on_bad_frame: OnBadFrame | None, tolerance_ns: int | None
    ) -> None:
        self._path = path
        self._bag = bag
        self._on_bad_frame = on_bad_frame
        self._pairs = FramePairs(PAIRING_WINDOW, tolerance_ns)
        chosen = choose_camera(bag, topics)
        self._image, self._camera_info, self._depth = chosen.image, chosen.camera_info, chosen.depth
        if chosen.remark and on_bad_frame:
            on_bad_frame(f"bag {path}: {chosen.remark}")
        self._camera: CameraCalibration | None = None
        self._paired = False

    def frames(self) -> Iterator[RecordedFrame]:
        if self._camera_info:
            # The first picture may have been recorded before its calibration.
            for message in self._messages([self._camera_info]):
                self._camera = self._calibration(message[2])
                break
        waiting: deque[tuple[int, Any]] = deque()
        depths: dict[int, Any] = {}
        wanted = [c for c in (self._image, self._camera_info, self._depth) if c]
        for topic, recorded_ns, message in self._messages(wanted):
            stamp = _stamp_ns(message, recorded_ns)
            if topic == self._image:
                waiting.append((stamp, message))
                made = self._pairs.add(PICTURES, stamp, stamp) if self._depth else []
            elif topic == self._camera_info:
                self._camera = self._calibration(message)
                made = []
            else:
                made = self._pairs.add(DEPTHS, stamp, message)
            depths |= dict(made)
            self._paired |= bool(made)
            while waiting and (not self._depth or waiting[0][0] in depths or len(waiting) > PAIRING_WINDOW):
                if self._depth and waiting[0][0] not in depths:
                    self._tell_lone()
                yield from self._frame(*waiting.popleft(), depths)
        self._tell_lone()
        while waiting:
            yield from self._frame(*waiting.popleft(), depths)

    def _messages(self, topics: list[BagTopic]) -> Iterator[tuple[BagTopic, int, Any]]:
        for topic, recorded_ns, data in self._bag.messages(topics):
            yield topic, recorded_ns, self._bag.deserialize(data, topic.msgtype)

    def _frame(self, stamp: int, message: Any, depths: dict[int, Any]) -> Iterator[RecordedFrame]:
        depth_message = depths.pop(stamp, None)
        topic = self._image.topic
        try:
            rgb = _to_rgb(message, self._image.msgtype)
            if depth_message is not None:
                topic = self._depth.topic
                depth_message = _to_depth(depth_message, self._depth.msgtype)
        except InputError as error:
            problem = f"bag {self._path}, topic {topic}, stamp {stamp}: {error}"
            if self._on_bad_frame is None:
                raise InputError(problem) from None
            self._on_bad_frame(problem)
            return
        yield RecordedFrame(stamp, rgb, message.header.frame_id, self._camera, depth_message)

    def _tell_lone(self) -> None:
        """Report once that there are depths, but none that belongs to a picture."""
        if not self._paired and self._on_bad_frame and (lone := self._pairs.lone()):
            self._paired = True
            self._on_bad_frame(f"bag {self._path}, topics {self._image.topic} and {self._depth.topic}: {lone}")

    def _calibration(self, message: Any) -> CameraCalibration | None:
        if not message.k[0] > 0:  # drivers of uncalibrated cameras publish zeros
            return None
        return from_message(message)


def _stamp_ns(message: Any, recorded_ns: int) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec or recorded_ns


def _to_rgb(message: Any, msgtype: str) -> np.ndarray:
    return decode_colour(message) if msgtype == COMPRESSED_TYPE else message_to_rgb(message)


def _to_depth(message: Any, msgtype: str) -> np.ndarray:
    if msgtype == COMPRESSED_TYPE:
        return decode_depth(message)
    if message.encoding not in DEPTH_ENCODINGS:
        raise InputError(f"image: expected depth as 16UC1 (mm) or 32FC1 (m), got {message.encoding}")
    return unpack_message(message)
