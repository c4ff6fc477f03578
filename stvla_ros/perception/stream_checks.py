"""Checks of a camera's streams: faults because of which the policy must not act. Used by the nodes and the doctor.

Each check returns a line for people, without the topic's name in front; an empty one if there is no fault.
"""

import zlib
from collections import deque
from dataclasses import dataclass

import numpy as np

from stvla_ros.perception.frame_pairs import shown_span

# Shorter faults are accidents: a hand before the sensor, a queue that was long for a moment.
HOLD_S = 1.0
# With fewer pixels, few traces get a depth; and the sensor is dead or covered.
LITTLE_DEPTH, NO_DEPTH = 0.3, 0.02
# Usual distances in metres before an arm's camera. Outside of them, the unit is probably another one.
NEAREST_M, FARTHEST_M = 0.05, 20.0
# A saturated sensor gives the same distance everywhere. So may a flat wall that it faces from nearby.
_SATURATED_SHARE, _SATURATED_M = 0.98, 5.0
# The safety gate refuses commands to observations that are farther ahead of its clock (control/safety/gate.py).
FUTURE_S = 0.1
# An age that no queue and no network can cause.
_OTHER_CLOCK_S = 60.0
_EVERY_PIXEL = 4


@dataclass(frozen=True)
class DepthLook:
    """Key figures of a depth map.

    :param share: share of the pixels that have a distance.
    :param median_m: median of the distances, metres; NaN if there are none.
    :param same: share of the distances that are equal to the median.
    """

    share: float
    median_m: float
    same: float


def look_at_depth(depth: np.ndarray) -> DepthLook:
    """:param depth: (H, W) uint16 millimetres or float32 metres; every fourth pixel of every fourth row is read."""
    part = depth[::_EVERY_PIXEL, ::_EVERY_PIXEL]
    known = part[np.isfinite(part) & (part > 0)]
    if not known.size:
        return DepthLook(0.0, float("nan"), 0.0)
    median = np.sort(known)[known.size // 2]
    scale = 1e-3 if depth.dtype == np.uint16 else 1.0
    return DepthLook(known.size / part.size, float(median) * scale, float((known == median).mean()))


def unlikely_distance(median_m: float, topic: str = "") -> str:
    """The reason why a median distance is not that of a table: another unit, or a saturated sensor."""
    if not (median_m < NEAREST_M or median_m > FARTHEST_M):
        return ""
    said = f"{topic}a median distance of {median_m:.4g} m is not that of a table"
    if median_m > FARTHEST_M and NEAREST_M <= median_m * 1e-3 <= FARTHEST_M:
        return f"{said}; as millimetres it would be: 32FC1 is in metres, 16UC1 in millimetres (REP-118)"
    return f"{said}: another unit (16UC1 is in millimetres, 32FC1 in metres: REP-118), or a saturated sensor"


def saturated_distance(look: DepthLook) -> str:
    """The reason why a depth map is that of a saturated sensor."""
    if look.same < _SATURATED_SHARE or look.median_m < _SATURATED_M:
        return ""
    return f"{look.same:.0%} of the distances are exactly {look.median_m:.4g} m: the sensor is saturated"


# Successive new maps from which a depth counts as that of a sensor with noise.
_ALIVE = 5
# Something moved when so many pixels differ by so many grey levels. A simulated arm at rest still sags: single edges
# change their colour, and no distance changes by a whole millimetre.
_MOVED_SHARE, _MOVED_LEVELS = 0.005, 20


class DepthWatch:
    """Watches one depth topic over time."""

    def __init__(self) -> None:
        self._bad_since: int | None = None
        self._depths = FrozenPicture()
        self._picture_then = np.zeros((0, 0, 3), np.uint8)
        self._successive_new = 0
        self._alive = False

    def update(self, depth: np.ndarray, stamp: int, rgb: np.ndarray | None = None) -> str:
        """
        :param depth: (H, W) uint16 millimetres or float32 metres.
        :param stamp: nanoseconds.
        :param rgb: (H, W, 3) uint8, the picture that the depth belongs to; None: it is not looked for depth that stands
            still while the picture changes.
        :returns: the fault in words. A wrong unit is reported at once; what may be an accident, after ``HOLD_S``.
        """
        if rgb is not None and (said := self._frozen(depth, rgb, stamp)):
            return said
        look = look_at_depth(depth)
        if said := unlikely_distance(look.median_m):
            return said
        said = f"{look.share:.1%} of the pixels have a distance" if look.share < NO_DEPTH else saturated_distance(look)
        if not said:
            self._bad_since = None
            return ""
        if self._bad_since is None or stamp < self._bad_since:
            self._bad_since = stamp
        bad_s = (stamp - self._bad_since) * 1e-9
        return f"{said}, for {bad_s:.1f} s" if bad_s > HOLD_S else ""

    def _frozen(self, depth: np.ndarray, rgb: np.ndarray, stamp: int) -> str:
        """A depth that never changed may be a constant that somebody publishes on purpose. Of a sensor that was alive,
        no map is equal to an earlier one once something has moved in the picture.
        """
        still_s = self._depths.update(depth, stamp)
        self._successive_new = self._successive_new + 1 if self._depths.is_new else 0
        self._alive |= self._successive_new >= _ALIVE
        picture = rgb[::_EVERY_PIXEL, ::_EVERY_PIXEL]
        if self._depths.is_new or picture.shape != self._picture_then.shape:
            self._picture_then = picture.copy()
        if not self._alive or still_s <= HOLD_S:
            return ""
        changed = (np.abs(picture.astype(np.int16) - self._picture_then) > _MOVED_LEVELS).any(axis=2)
        if changed.mean() < _MOVED_SHARE:
            return ""
        return f"no new depth for {still_s:.1f} s under new stamps, though the pictures change: the sensor hangs"


# Number of remembered pictures: a driver that hangs sends its last buffers in turn.
_REMEMBERED = 4
# Only every so many rows are compared: comparing 1 MB of a 640x480 picture at the camera's rate would cost too much.
_STRIDE = 4


class FrozenPicture:
    """Detects a camera that sends the same picture, or the same few in turn, again and again under new stamps. A camera
    that sees nothing move is no such case: a sensor's noise changes every picture, but a driver that repeats its
    buffers does not.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[object, int]] = deque(maxlen=_REMEMBERED)
        self._since = 0
        self.is_new = False
        """Whether the last picture was none of those before it."""

    def update(self, rgb: np.ndarray, stamp: int) -> float:
        """
        :param rgb: (H, W, 3) uint8.
        :param stamp: nanoseconds.
        :returns: seconds, by the stamps, since the last new picture.
        """
        picture = (rgb.shape, zlib.crc32(rgb[::_STRIDE].tobytes()))
        if stamp < self._since:
            self._seen.clear()
        self.is_new = picture not in self._seen
        if self.is_new:
            self._seen.append(picture)
            self._since = stamp
        return (stamp - self._since) * 1e-9


# Two cameras are assumed when this many of the last pictures go back to one before the last.
_LOOKED_AT, _RETURNS = 12, 4
# Mean difference of two normalised pictures: about 1.1 for two scenes, far less for one scene in motion.
_OTHER_SCENE, _SAME_SCENE = 0.35, 0.25
_THUMBNAIL = 24
# Grey levels: a picture with less contrast shows nothing that could be compared.
_FLAT = 2.0


class AlternatingPictures:
    """Detects the pictures of several cameras on one topic: they go back and forth between two scenes."""

    def __init__(self) -> None:
        self._thumbnails: deque[np.ndarray | None] = deque(maxlen=4)
        self._returned: deque[bool] = deque(maxlen=_LOOKED_AT)

    def update(self, rgb: np.ndarray) -> str:
        """:param rgb: (H, W, 3) uint8."""
        picture = _thumbnail(rgb)
        newest = self._thumbnails[-1] if self._thumbnails else None
        step = _apart(picture, newest)
        earlier = [_apart(picture, each) for each in list(self._thumbnails)[:-1]]
        back = step > _OTHER_SCENE and bool(earlier) and min(earlier) < _SAME_SCENE * min(step, 1.0)
        self._thumbnails.append(picture)
        self._returned.append(back)
        if sum(self._returned) < _RETURNS:
            return ""
        return "pictures go back and forth between two scenes: two cameras publish here"


def _thumbnail(rgb: np.ndarray) -> np.ndarray:
    """A small picture without brightness and contrast, which a camera may change from picture to picture; its size
    depends on the picture's.
    """
    rows, columns = (max(side // _THUMBNAIL, 1) for side in rgb.shape[:2])
    part = rgb[rows // 2 :: rows, columns // 2 :: columns].astype(np.float32).mean(axis=2)
    return (part - part.mean()) / max(float(part.std()), _FLAT)


def _apart(one: np.ndarray, other: np.ndarray | None) -> float:
    if other is None:
        return 0.0
    return float(np.abs(one - other).mean()) if one.shape == other.shape else float("inf")


class ClockWatch:
    """Detects stamps that come from another clock than this machine's.

    :param oldest_s: age in seconds beyond which no observation is acted on; 0 accepts any age, and stamps in the
        future.
    """

    def __init__(self, oldest_s: float) -> None:
        self._oldest_s = oldest_s
        self._bad_since: float | None = None

    def update(self, stamp: int, age_s: float, now_s: float) -> str:
        """
        :param stamp: stamp of an observation, nanoseconds.
        :param age_s: age of the observation by this machine's clock, seconds.
        :param now_s: time of a monotonic clock, seconds.
        :returns: the fault in words: a missing stamp is reported at once, other faults after ``HOLD_S``.
        """
        if not stamp:
            return "the stamp is zero: have the camera's driver stamp its pictures"
        if not self._oldest_s or -FUTURE_S <= age_s <= self._oldest_s:
            self._bad_since = None
            return ""
        if self._bad_since is None:
            self._bad_since = now_s
        return wrong_age(age_s, self._oldest_s) if now_s - self._bad_since > HOLD_S else ""


def wrong_age(age_s: float, oldest_s: float) -> str:
    """The reason why an observation is not acted on: it is too old, or in the future."""
    span = shown_span(round(age_s * 1e9))
    if age_s < 0:
        return f"observations come from the future by {span}: the camera's clock is not this machine's"
    if age_s > _OTHER_CLOCK_S:
        return f"observations are {span} old: the camera's clock is not this machine's"
    return f"observations are {span} old when they come, nothing older than {oldest_s:g} s is acted on"
