"""The points that a tracker follows: several arrays with one row for each point, which grow and shrink together."""

import dataclasses

import numpy as np
from typing_extensions import Self

from stvla_ros.perception.trackers.patches import PATCH, Patches


@dataclasses.dataclass(eq=False)
class Followed:
    """
    :param ids: (N,) uint32.
    :param points: (N, 2) float32 pixels of the newest frame.
    :param unseen: (N,) int32, number of frames since the point was last seen.
    :param home: (N, 2) float32 pixels of the place where it last stood still.
    :param moved: (N,) float32 recent motion, pixels a frame, fading.
    :param looks: N patches, the appearance of each point when it was last seen.
    :param cut: (N,) bool, whether that patch is from the newest frame and from the point's place in it, so that it need
        not be cut again.
    :param asked: (N,) bool, whether the point came from ``query``: such points are never given up.
    """

    ids: np.ndarray
    points: np.ndarray
    unseen: np.ndarray
    home: np.ndarray
    moved: np.ndarray
    looks: Patches
    cut: np.ndarray
    asked: np.ndarray

    @classmethod
    def none(cls) -> Self:
        looks = Patches.of(np.zeros((0, PATCH * PATCH), np.float32))
        return cls.new(np.zeros(0, np.uint32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32), looks, False)

    @classmethod
    def new(cls, ids: np.ndarray, points: np.ndarray, moved: np.ndarray, looks: Patches, asked: bool) -> Self:
        """Points that are seen in the newest frame. :param looks: patches of that frame around the points."""
        count, places = len(ids), points.astype(np.float32)
        unseen, cut = np.zeros(count, np.int32), np.ones(count, bool)
        return cls(ids, places, unseen, places.copy(), moved.astype(np.float32), looks, cut, np.full(count, asked))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def seen(self) -> np.ndarray:
        """(N,) bool, whether the point is seen in the newest frame."""
        return self.unseen == 0

    def keep(self, rows: np.ndarray) -> None:
        """Give up all other points. :param rows: (N,) bool, the points that stay."""
        if not rows.all():
            for field in dataclasses.fields(self):
                setattr(self, field.name, getattr(self, field.name)[rows])

    def add(self, others: Self) -> None:
        for field in dataclasses.fields(self):
            own, new = getattr(self, field.name), getattr(others, field.name)
            joined = own.followed_by(new) if isinstance(own, Patches) else np.concatenate([own, new])
            setattr(self, field.name, joined)

    def look_before(self, rows: np.ndarray, grey: np.ndarray) -> Patches:
        """The patches of these points in the newest frame, whose picture is given, at their places there."""
        before, uncut = self.looks[rows], np.flatnonzero(~self.cut[rows])
        if len(uncut):
            before.put(uncut, Patches.around(grey, self.points[rows[uncut]]))
        return before

    def find(self, rows: np.ndarray, places: np.ndarray, looks: Patches) -> None:
        """Set these points to the places, with the appearance there."""
        self.points[rows] = places
        self.looks.put(rows, looks)
        self.cut[rows] = True

    def drop_lost(self, patience: int, width: int) -> None:
        """Give up points that were not seen for more than ``patience`` frames; of two points that have met, give up the
        younger one.

        :param width: width of the picture, pixels.
        """
        cells = np.round(self.points / 2.0).astype(np.int64) @ (1, width)
        first = np.zeros(len(self), bool)
        order = np.lexsort((self.ids, self.unseen))
        first[order[np.unique(cells[order], return_index=True)[1]]] = True
        self.keep(self.asked | (first & (self.unseen <= patience)))

    def make_room(self, count: int, most: int, useful: np.ndarray) -> None:
        """Make room for ``count`` new points below the limit ``most``: give up points that are of no use, the longest
        unseen first, then the youngest.

        :param useful: (N,) bool, whether the point is of use.
        """
        surplus = int((~self.asked).sum()) + count - most
        if surplus <= 0:
            return
        idle = np.flatnonzero(~useful & ~self.asked)
        order = np.lexsort((-self.ids[idle].astype(np.int64), -self.unseen[idle]))
        keep = np.ones(len(self), bool)
        keep[idle[order[:surplus]]] = False
        self.keep(keep)
