"""Tells a camera that sends the same picture again and again under new stamps from one that sees nothing move.

A sensor's noise changes every picture; a driver that repeats its last buffer does not.
"""

import numpy as np

# Every so many rows are compared: 1 MB of a 640x480 picture would take longer than it is worth at the camera's rate.
_STRIDE = 4


class FrozenPicture:
    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._since = 0

    def update(self, rgb: np.ndarray, stamp: int) -> float:
        """
        :param rgb: (H, W, 3) uint8.
        :param stamp: nanoseconds.
        :returns: seconds by the stamps for which the picture has been the same to the bit.
        """
        rows = rgb[::_STRIDE]
        if self._last is None or stamp < self._since or not np.array_equal(rows, self._last):
            self._last, self._since = rows.copy(), stamp
        return (stamp - self._since) * 1e-9
