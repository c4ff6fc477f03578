"""Parameters of the Lucas-Kanade tracker."""

from dataclasses import dataclass
from typing import ClassVar

from stvla_ros.errors import InputError


@dataclass(frozen=True)
class LucasKanadeParameters:
    """:param num_points: number of points followed at a time.
    :param moving_share: share of them that is kept for moving parts of the picture.
    :param window: side of the matched window, odd, pixels.
    :param levels: number of pyramid levels above the full picture; the largest step is about ``window / 2 * 2**levels``
        pixels.
    :param max_return_error: largest distance between a point and its place after following it there and back, pixels at
        640x480.
    :param min_similarity: least normalised cross-correlation of a point's patches in successive frames.
    :param patience: number of frames for which a point may be unseen before it is dropped.
    :param min_change: least change of a place in grey levels; only such places are searched for moving points.
    :param min_step: least motion of a new moving point since the last frame, pixels at 640x480.
    :param spacing: least distance of moving points, pixels at 640x480.
    """

    num_points: int = 100
    moving_share: float = 0.5
    window: int = 21
    levels: int = 3
    max_return_error: float = 2.0
    min_similarity: float = 0.6
    patience: int = 10
    min_change: float = 12.0
    min_step: float = 0.5
    spacing: float = 8.0

    tracker: ClassVar[str] = "lucas_kanade"

    def __post_init__(self) -> None:
        def check(name: str, good: bool, expected: str) -> None:
            if not good:
                raise InputError(f"{self.tracker} {name}: expected {expected}, got {getattr(self, name)!r}")

        check("num_points", 1 <= self.num_points <= 10000, "1 to 10000")
        check("moving_share", 0.0 <= self.moving_share <= 1.0, "0 to 1")
        check("window", 5 <= self.window <= 63 and self.window % 2 == 1, "an odd number, 5 to 63")
        check("levels", 0 <= self.levels <= 8, "0 to 8")
        check("max_return_error", self.max_return_error > 0.0, "more than 0 px")
        check("min_similarity", -1.0 <= self.min_similarity < 1.0, "-1 to less than 1")
        check("patience", self.patience >= 0, "at least 0 frames")
        check("min_change", self.min_change > 0.0, "more than 0 grey levels")
        check("min_step", self.min_step >= 0.0, "at least 0 px")
        check("spacing", self.spacing >= 1.0, "at least 1 px")
