"""The track state of the last b frames: the place of each live point in each of them."""

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.adaptive import KeyFrameRule
from stvla_ros.perception.types import Traces

SMALLEST_BUFFER, LARGEST_BUFFER = 2, 1000
"""Largest size of the buffer, frames."""


def check_buffer_size(size: int) -> None:
    """:raises InputError: unless ``size`` is an integer of 2 to 1000."""
    if (
        isinstance(size, bool)
        or not isinstance(size, (int, np.integer))
        or not SMALLEST_BUFFER <= size <= LARGEST_BUFFER
    ):
        raise InputError(f"buffer: expected an integer of at least 2 frames and at most {LARGEST_BUFFER}, got {size!r}")


class FrameBuffer:
    """Track state of the last ``size`` frames of one episode, oldest first, the newest frame last.

    Points that the newest frame no longer lists are forgotten; points that it lists for the first time are invisible in
    the older entries. A change of image size starts a new buffer, because pixels of the two pictures do not compare.

    :param size: number of frames b, at least 2 (the paper's: 7, 15 and 30).
    :param key_rule: rule that decides which frames stay (``adaptive.py``); None keeps every frame.
    :raises InputError: for a bad size.
    """

    def __init__(self, size: int = 30, key_rule: KeyFrameRule | None = None) -> None:
        check_buffer_size(size)
        self.size = int(size)
        self.key_rule = key_rule
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new episode starts. The next stamp may be any."""
        self._stamps = np.zeros(0, np.int64)
        self._ids = np.zeros(0, np.uint32)
        self._points = np.zeros((0, 0, 2), np.float32)
        self._visible = np.zeros((0, 0), bool)
        self._frames_since_key = 0
        self.image_size: tuple[int, int] | None = None
        self.frames_seen = 0

    def __len__(self) -> int:
        return len(self._stamps)

    def check_stamp(self, stamp_ns: int) -> None:
        """:raises InputError: when the stamp repeats or runs backwards. The buffer stays as it was."""
        if len(self) and stamp_ns <= self._stamps[-1]:
            what = "repeats" if stamp_ns == self._stamps[-1] else f"runs backwards from {int(self._stamps[-1])}"
            raise InputError(f"stamp {int(stamp_ns)} ns {what}: expected strictly increasing stamps within an episode")

    def append(
        self,
        stamp_ns: int,
        ids: np.ndarray,
        points: np.ndarray,
        visible: np.ndarray,
        image_size: tuple[int, int],
    ) -> None:
        """Add the newest frame.

        :param stamp_ns: stamp of the frame in nanoseconds, larger than the last one.
        :param ids: (N,) uint32, unique.
        :param points: (N, 2) float32, pixels.
        :param visible: (N,) bool.
        :param image_size: (width, height) pixels; a change of size starts a new buffer.
        :raises InputError: for a stamp that does not increase, repeated ids or wrong shapes; then nothing changes.
        """
        self.check_stamp(stamp_ns)
        ids = np.asarray(ids, np.uint32)
        points = np.asarray(points, np.float32)
        visible = np.asarray(visible, bool)
        if points.shape != (len(ids), 2) or visible.shape != (len(ids),):
            n = len(ids)
            raise InputError(f"points {points.shape}, visible {visible.shape}: expected ({n}, 2) and ({n},)")
        if len(set(ids.tolist())) != len(ids):
            raise InputError("ids: expected each point once, got repeated ids")
        if self.image_size is not None and tuple(image_size) != self.image_size:
            self.reset()
        self.image_size = (int(image_size[0]), int(image_size[1]))

        # Everything is kept except the oldest entry of a full window, and the former newest frame if it was no key
        # frame.
        end = len(self) if self._newest_is_key() else len(self) - 1
        start = max(0, end - (self.size - 1))
        old_points, old_visible = self._carry_over(ids, slice(start, end))
        self._points = np.concatenate([old_points, points[None]])
        self._visible = np.concatenate([old_visible, visible[None]])
        self._stamps = np.append(self._stamps[start:end], np.int64(stamp_ns))
        self._ids = ids
        self.frames_seen += 1

    def revise(self, stamps: np.ndarray, points: np.ndarray, visible: np.ndarray) -> None:
        """Replace the track state of frames in the buffer, for trackers that learn later where points were.

        :param stamps: (F,) int64 nanoseconds; stamps that are not in the buffer are skipped.
        :param points: (F, N, 2) float32 pixels of the newest frame's points, in its order.
        :param visible: (F, N) bool.
        """
        _, rows, revised = np.intersect1d(self._stamps, stamps, assume_unique=True, return_indices=True)
        self._points[rows] = points[revised]
        self._visible[rows] = visible[revised]

    @property
    def stamps(self) -> np.ndarray:
        """(T,) int64 nanoseconds, oldest first."""
        return self._stamps.copy()

    def traces(self) -> Traces:
        """All points of the newest frame with their history.

        :raises InputError: when no frame has been appended yet.
        """
        if self.image_size is None:
            raise InputError("frame buffer: expected at least one frame before traces() is called")
        return Traces(self._points.copy(), self._visible.copy(), self._ids.copy(), self._stamps.copy(), self.image_size)

    def _carry_over(self, ids: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """History of ``ids`` in the given rows; points that were not there are invisible."""
        points, visible = self._points[rows], self._visible[rows]
        carried = np.zeros((len(points), len(ids), 2), np.float32)
        carried_visible = np.zeros((len(points), len(ids)), bool)
        _, new, old = np.intersect1d(ids, self._ids, assume_unique=True, return_indices=True)
        carried[:, new] = points[:, old]
        carried_visible[:, new] = visible[:, old]
        return carried, carried_visible

    def _newest_is_key(self) -> bool:
        """Whether the newest frame stays when the next one arrives. Ask only then, since the frame may be revised
        before.
        """
        if self.key_rule is None or len(self) < 2:
            return True
        self._frames_since_key += 1
        seen = self._visible[-1] & self._visible[-2]
        is_key = self.key_rule.is_key_frame(
            self._points[-2], self._points[-1], seen, self._frames_since_key, self.image_size
        )
        if is_key:
            self._frames_since_key = 0
        return is_key
