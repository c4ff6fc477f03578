"""Adaptive traces: which frames stay in the trace window when the robot moves slowly.

A window of b consecutive frames covers b times the motion of one frame. At a tenth of the speed the traces are a tenth
as long: too short to be drawn, or not there at all. With this rule the window keeps *key frames* instead: a frame stays
only when the scene has moved enough since the last key frame, so that b entries cover about the same path at any speed.

* Causal: whether a frame is a key frame is decided when the next one arrives, and never changed afterwards.
* The newest frame is always the last entry. When it is not a key frame, the next frame takes its place.
* At full speed every frame moves enough, all are key frames, and the window is the ordinary one.
* Bounded: the window has at most b entries, and after ``max_stretch`` frames a key frame is taken whatever moved. So it
  reaches back at most ``b * max_stretch`` frames, and the traces of a robot that stopped fade after that time.
* "The scene has moved" means: the ``agreeing_points``-th largest displacement, of the points seen in both the last key
  frame and the newest one, is large enough. So a single badly tracked point does not count.
"""

from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError


@dataclass(frozen=True)
class KeyFrameRule:
    """The rule that decides when a frame stays in the trace window.

    :param min_motion: displacement since the last key frame, as a share of the image's diagonal.
    :param max_stretch: frames after which a key frame is taken even if nothing moved.
    :param agreeing_points: number of points that must have moved that far.
    :raises InputError: for a value out of range.
    """

    min_motion: float = 0.005
    max_stretch: int = 16
    agreeing_points: int = 3

    def __post_init__(self) -> None:
        if not 0.0 < self.min_motion < 1.0:
            raise InputError(f"adaptive min_motion: expected a share of the diagonal in (0, 1), got {self.min_motion}")
        if self.max_stretch < 1:
            raise InputError(f"adaptive max_stretch: expected at least 1 frame, got {self.max_stretch}")
        if self.agreeing_points < 1:
            raise InputError(f"adaptive agreeing_points: expected at least 1, got {self.agreeing_points}")

    def is_key_frame(
        self,
        key_points: np.ndarray,
        points: np.ndarray,
        seen_in_both: np.ndarray,
        frames_since_key: int,
        image_size: tuple[int, int],
    ) -> bool:
        """Whether the newest frame becomes a key frame.

        :param key_points: (N, 2) pixels, the points' places in the last key frame.
        :param points: (N, 2) pixels, the points' places now.
        :param seen_in_both: (N,) bool.
        :param frames_since_key: number of frames since the last key frame, 1 for the first one after it.
        :param image_size: (width, height) pixels.
        """
        if frames_since_key >= self.max_stretch:
            return True
        moved = np.linalg.norm(points[seen_in_both] - key_points[seen_in_both], axis=1)
        if moved.size < self.agreeing_points:
            return False
        agreed = np.partition(moved, -self.agreeing_points)[-self.agreeing_points]
        return bool(agreed >= self.min_motion * np.hypot(*image_size))
