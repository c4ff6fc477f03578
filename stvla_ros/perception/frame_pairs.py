"""Decides which depth belongs to which picture: the one rule for live topics, recordings and the doctor.

A picture and a depth are a pair when each is the nearest of the other's kind, and their stamps differ by no more than a
tolerance. For cameras that give both the same stamp, these are exactly the pairs of equal stamps. message_filters'
ApproximateTimeSynchronizer has another rule: it takes the first depth within its slop, even when a nearer one, or one
with the same stamp, is about to come; and a slop of 0 pairs nothing.
"""

from bisect import bisect_left
from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np

# A stamp this much older than the newest one means no late frame but a restarted source (a new bag, a clock set back).
RESTART_NS = 1_000_000_000
# Number of intervals from which the pictures' period is computed. Lost frames lengthen some of them, and bursts of
# stamps shorten some; up to a quarter of either does no harm.
_INTERVALS, _QUANTILE = 32, 0.25
PICTURES, DEPTHS = 0, 1


class FramePairs:
    """Pairs pictures and depths that come in any order. Equal stamps pair at once, others as soon as nothing nearer can
    come. Not thread-safe.

    :param size: number of messages that may wait on each side; the oldest stamp is given up first.
    :param tolerance_ns: largest difference of two stamps, nanoseconds; 0: they must be equal; None: half the pictures'
        period.
    """

    def __init__(self, size: int, tolerance_ns: int | None = None) -> None:
        self._given = tolerance_ns
        self._sides = (_Side(size), _Side(size))

    @property
    def waiting(self) -> tuple[dict[int, Any], dict[int, Any]]:
        """Pictures and depths that have no partner yet, by stamp."""
        return self._sides[PICTURES].waiting, self._sides[DEPTHS].waiting

    @property
    def tolerance_ns(self) -> int | None:
        """The largest difference of two stamps, nanoseconds; None while the pictures' period is not known."""
        period = self._sides[PICTURES].period_ns
        return self._given if self._given is not None else period and period // 2

    def add(self, side: int, stamp: int, item: Any) -> list[tuple[Any, Any]]:
        """
        :param side: ``PICTURES`` or ``DEPTHS``.
        :param stamp: nanoseconds. If two items of a side have the same stamp, the later one is kept.
        :returns: each new pair of a picture and its depth, in the order of the pictures' stamps.
        """
        self._sides[side].take(stamp, item)
        other = self._sides[1 - side].waiting
        made = [self._pair(stamp, stamp)] if stamp in other else []
        while found := self._near():  # the remaining items may form pairs, too
            made += [self._pair(*pair) for pair in found]
        return [(picture, depth) for _, picture, depth in sorted(made, key=lambda pair: pair[0])]

    def lone(self) -> str:
        """Everything that came since the last pair, in words: ``35 pictures, 35 depths, nearest 4.0 ms apart``. Empty
        when one of the two kinds did not come.
        """
        pictures, depths = self._sides
        if not pictures.count or not depths.count:
            return ""
        return describe_lone(pictures.count, list(pictures.waiting), depths.count, list(depths.waiting))

    def one_sided(self) -> str:
        """Everything that came since the last pair, in words, when one of the two kinds did not come: ``35 pictures, no
        depth``. Empty when both or none came.
        """
        pictures, depths = (side.count for side in self._sides)
        if bool(pictures) == bool(depths):
            return ""
        return f"{pictures} pictures, no depth" if pictures else f"{depths} depths, no picture"

    def _pair(self, picture: int, depth: int) -> tuple[int, Any, Any]:
        pictures, depths = self._sides
        pictures.count = depths.count = 0
        return picture, pictures.waiting.pop(picture), depths.waiting.pop(depth)

    def _near(self) -> list[tuple[int, int]]:
        """Stamps of pictures and depths that differ and belong together."""
        tolerance = self.tolerance_ns
        pictures, depths = self._sides
        if not tolerance or not pictures.waiting or not depths.waiting:
            return []
        of_pictures, of_depths = sorted(pictures.waiting), sorted(depths.waiting)
        found = []
        for picture in of_pictures:
            depth = _nearest(of_depths, picture)
            apart = abs(depth - picture)
            if (
                apart <= tolerance
                and _nearest(of_pictures, depth) == picture
                and not depths.may_bring_nearer(picture, apart)
                and not pictures.may_bring_nearer(depth, apart)
            ):
                found.append((picture, depth))
        return found


class _Side:
    def __init__(self, size: int) -> None:
        self.waiting: dict[int, Any] = {}
        self.count = 0
        self._size = size
        self._newest: int | None = None
        self._intervals: deque[int] = deque(maxlen=_INTERVALS)

    def take(self, stamp: int, item: Any) -> None:
        if self._newest is not None and stamp < self._newest - RESTART_NS:
            # Waiting items are from before the restart, and would keep the new ones out.
            self.waiting.clear()
            self._newest = None
        if self._newest is None or stamp > self._newest:
            if self._newest is not None:
                self._intervals.append(stamp - self._newest)
            self._newest = stamp
        self.count += 1
        self.waiting[stamp] = item
        while len(self.waiting) > self._size:
            del self.waiting[min(self.waiting)]

    @property
    def period_ns(self) -> int | None:
        """Usual time between two stamps; None before the second."""
        return usual_period_ns(self._intervals)

    def may_bring_nearer(self, stamp: int, apart: int) -> bool:
        """Whether an item that is still to come may be less than ``apart`` from a stamp."""
        return self._newest is not None and self._newest + (self.period_ns or 1) < stamp + apart


def usual_period_ns(intervals: "deque[int] | list[int]") -> int | None:
    """The period of a stream that may have lost frames, from the times between its stamps, nanoseconds."""
    return sorted(intervals)[int(len(intervals) * _QUANTILE)] if intervals else None


def pair_stamps(pictures: np.ndarray, depths: np.ndarray, tolerance_ns: int | None = None) -> np.ndarray:
    """The pairs of two complete streams.

    :param pictures, depths: (n,), (m,) int64, nanoseconds.
    :returns: (n,) int64: index of each picture's depth; -1 for a picture without one.
    """
    if tolerance_ns is None:
        steps = [later - earlier for earlier, later in pairwise(pictures.tolist()) if later > earlier]
        tolerance_ns = (usual_period_ns(steps) or 0) // 2
    found = np.full(len(pictures), -1, np.int64)
    lone, lone_depths = np.argsort(pictures, kind="stable"), np.argsort(depths, kind="stable")
    while len(lone) and len(lone_depths):
        depth = _nearest_indices(depths[lone_depths], pictures[lone])
        back = _nearest_indices(pictures[lone], depths[lone_depths[depth]])
        apart = np.abs(depths[lone_depths[depth]] - pictures[lone])
        pairs = (back == np.arange(len(lone))) & (apart <= tolerance_ns)
        if not pairs.any():
            break
        found[lone[pairs]] = lone_depths[depth[pairs]]
        lone, lone_depths = lone[~pairs], np.delete(lone_depths, depth[pairs])
    return found


def describe_lone(num_pictures: int, pictures: list[int], num_depths: int, depths: list[int]) -> str:
    """One line for people about streams without a pair.

    :param pictures, depths: stamps that are still known, nanoseconds.
    """
    text = f"{num_pictures} pictures, {num_depths} depths"
    if not pictures or not depths:
        return text
    ordered = sorted(depths)
    return f"{text}, nearest {shown_span(min(abs(_nearest(ordered, stamp) - stamp) for stamp in pictures))} apart"


def shown_span(nanoseconds: int) -> str:
    """A duration as text for people."""
    seconds = abs(nanoseconds) * 1e-9
    for unit, length in (("years", 31_557_600.0), ("days", 86_400.0), ("hours", 3600.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"


def _nearest(ordered: list[int], stamp: int) -> int:
    """The nearest stamp; of two equally near ones, the earlier."""
    place = bisect_left(ordered, stamp)
    return min(ordered[max(place - 1, 0) : place + 1], key=lambda other: abs(other - stamp))


def _nearest_indices(ordered: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """As :func:`_nearest`, for arrays: indices into ``ordered``, the first one of equal stamps."""
    place = np.searchsorted(ordered, stamps, side="left")
    before, after = np.maximum(place - 1, 0), np.minimum(place, len(ordered) - 1)
    before = np.searchsorted(ordered, ordered[before], side="left")
    return np.where(np.abs(ordered[before] - stamps) <= np.abs(ordered[after] - stamps), before, after)
