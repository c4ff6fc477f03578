"""Streaming pyramidal Lucas-Kanade (OpenCV): the tracker that runs everywhere.

Budget for a 640x480 frame with 100 points, 4 pyramid levels, a 21x21 window, one core
-------------------------------------------------------------------------------------
* A Lucas-Kanade call builds the pyramids of both pictures (OpenCV's Python binding takes no ready-made ones): 0.35 ms,
  less where only a part matters. A point costs 33 kFLOP a level, 10 us in all: 1.4 ms for 100 points.
* There for all points, back for those that moved, again for the lost and for new ones: 4 ms. All else: 2 ms.

How it works
------------
1. Each point is followed from the last frame into this one, then back. It is *found* when it comes back to within
   ``max_return_error`` of where it started and its patch looks like the one in the last frame (``min_similarity``). A
   still point that jumps although its place looks as before was dragged along by an edge passing by, and does not
   count as found.
2. A lost point is looked for where it may be: where it was, where its moving neighbours went, and where all that
   moves went as one rigid body, whichever looks most like it. From there it is followed again and, failing that, its
   last look is searched for nearby. So a still point survives the arm's passing in front of it, and a point on the
   arm does not stay behind on the table. When it is not found either, the point is invisible, goes along with its
   neighbours if it moved, and is dropped after ``patience`` frames.
   Points without texture look alike wherever they are on their surface, so the found points around them decide: when
   all of them moved, they move along, otherwise they stay.
3. New points. What matters for traces is the *moving* arm, which covers little of the picture. So corners are looked
   for where the picture changed since the last frame; each is followed backwards into the last frame and forth again,
   and only those that are found and *really moved* are taken, for a change alone also marks the background that the
   arm uncovered. They may use up to ``moving_share`` of all points; the others are spread over a grid of cells, one
   in each.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.frame_buffer import FrameBuffer
from stvla_ros.perception.trackers.base import Tracker
from stvla_ros.perception.trackers.matching import match
from stvla_ros.perception.trackers.neighbours import carried, carried_along
from stvla_ros.perception.trackers.patches import (
    MIN_TEXTURE,
    PATCH,
    cut_patches,
    find_corners,
    search_patches,
    similarity,
)
from stvla_ros.perception.types import Traces

REFERENCE_DIAGONAL = 800.0  # px, of 640x480; lengths here are meant for that size and scale with the picture
# The following were chosen by bench/tracker_accuracy.py. Lengths in pixels; similarities as in patches.py.
FADING = 0.9  # of a point's motion a frame: it counts as moving for some frames after it stopped
LEAVE_HOME = 3.0  # a still point has begun to move when it is so far from where it stood
DRAG = 0.3  # a still point that jumps so far is suspected of having been dragged along
STARTED = 0.7  # similarity that a still point needs to be taken for one that began to move
HABIT = 0.3  # similarity by which a lost point's habit, standing still or moving, is favoured
SEARCH, REAPPEARED = 5, 0.8  # how far around a guess a lost point's patch is searched, and how alike it must be
STILL_SEARCH, STILL_REAPPEARED = 2, 0.9  # for still points: their place is known; what covers it must not pass


@dataclass(frozen=True)
class LucasKanadeParameters:
    """:param num_points: points followed at a time.
    :param moving_share: share of them that is kept for moving parts of the picture.
    :param window: side of the matched window, odd, pixels.
    :param levels: pyramid levels above the full picture; the largest step is about ``window / 2 * 2**levels`` pixels.
    :param max_return_error: pixels that a point may miss its start by on the way back, at 640x480.
    :param min_similarity: least normalised cross-correlation of a point's patches in successive frames.
    :param patience: frames for which a point may be unseen before it is dropped.
    :param min_change: grey levels by which the picture must change somewhere to be looked at for moving points.
    :param min_step: pixels at 640x480 that a new moving point must have moved since the last frame.
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

    def __post_init__(self) -> None:
        def check(name: str, good: bool, expected: str) -> None:
            if not good:
                raise InputError(f"lucas_kanade {name}: expected {expected}, got {getattr(self, name)!r}")

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


class LucasKanade(Tracker):
    """See the module's text."""

    Parameters = LucasKanadeParameters

    def __init__(self, buffer: FrameBuffer, parameters: LucasKanadeParameters) -> None:
        super().__init__(buffer, parameters)
        self._forget()

    def _forget(self) -> None:
        self._grey: np.ndarray | None = None
        self._ids = np.zeros(0, np.uint32)
        self._points = np.zeros((0, 2), np.float32)
        self._unseen = np.zeros(0, np.int32)  # frames since the point was last seen
        self._home = np.zeros((0, 2), np.float32)  # where it last stood still
        self._moved = np.zeros(0, np.float32)  # recent motion, px a frame, fading
        self._patches = np.zeros((0, PATCH * PATCH), np.float32)  # how each point looked when last seen
        self._asked = np.zeros(0, bool)  # handed in by query()

    def _track(self, rgb: np.ndarray, stamp_ns: int) -> Traces:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if self._grey is not None:
            self._follow(grey)
            self._drop_lost(grey)
            self._seed_moving(grey)
        self._seed_still(grey)
        self._grey = grey
        self.buffer.append(stamp_ns, self._ids, self._points, self._unseen == 0, (grey.shape[1], grey.shape[0]))
        return self.buffer.traces()

    def _query(self, ids: np.ndarray, points: np.ndarray) -> None:
        self._add(self._grey, points, np.zeros(len(points)), ids, asked=True)

    def _scale(self, grey: np.ndarray) -> float:
        return float(np.hypot(*grey.shape)) / REFERENCE_DIAGONAL

    def _match(
        self,
        start: np.ndarray,
        end: np.ndarray,
        points: np.ndarray,
        guess: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        p = self.parameters
        return match(
            start,
            end,
            points,
            guess,
            window=p.window,
            levels=p.levels,
            min_similarity=p.min_similarity,
            max_return_error=p.max_return_error * self._scale(start),
        )

    def _follow(self, grey: np.ndarray) -> None:
        """Steps 1 and 2 of the module's text."""
        scale = self._scale(grey)
        before = self._points.copy()
        found = np.zeros(len(before), bool)
        seen = np.flatnonzero(self._unseen == 0)
        if len(seen):
            there, good, patches = self._match(self._grey, grey, before[seen])
            good &= ~self._dragged(grey, seen, there, patches) & ~self._is_flat()[seen]
            found[seen[good]] = True
            self._points[seen[good]] = there[good]
            self._patches[seen[good]] = patches[good]
        lost = np.flatnonzero(~found)
        if len(lost):
            guess, looks = self._guess(grey, before, found, lost)
            self._points[lost] = guess
            textured = ~self._is_flat()[lost]
            fresh = np.flatnonzero((self._unseen[lost] == 0) & textured)
            if len(fresh):
                there, good, patches = self._match(self._grey, grey, before[lost[fresh]], guess[fresh])
                index = lost[fresh[good]]
                found[index], self._points[index], self._patches[index] = True, there[good], patches[good]
            found[lost[~textured & (looks >= REAPPEARED)]] = True
            still = ~self._is_moving(scale)[lost]
            for radius, least, kind in ((STILL_SEARCH, STILL_REAPPEARED, still), (SEARCH, REAPPEARED, ~still)):
                rows = np.flatnonzero(~found[lost] & textured & kind)
                if len(rows):
                    places, looks = search_patches(grey, self._patches[lost[rows]], guess[rows], radius)
                    rows, places = rows[looks >= least], places[looks >= least]
                    found[lost[rows]], self._points[lost[rows]] = True, places
        self._note_motion(before, found, scale)
        self._unseen = np.where(found, 0, self._unseen + 1)

    def _note_motion(self, before: np.ndarray, found: np.ndarray, scale: float) -> None:
        """A point moves when it has left its home; an edge passing by shakes still points, but not far."""
        away = np.linalg.norm(self._points - self._home, axis=1) >= LEAVE_HOME * scale
        step = np.where(away, np.linalg.norm(self._points - before, axis=1), 0.0)
        was_moving = self._is_moving(scale)
        self._moved = np.where(found, np.maximum(step, FADING * self._moved), self._moved).astype(np.float32)
        settled = was_moving & ~self._is_moving(scale)
        self._home[settled] = self._points[settled]

    def _is_moving(self, scale: float) -> np.ndarray:
        return self._moved >= self.parameters.min_step * scale

    def _is_flat(self) -> np.ndarray:
        return self._patches.std(axis=1) < MIN_TEXTURE

    def _dragged(self, grey: np.ndarray, seen: np.ndarray, there: np.ndarray, patches: np.ndarray) -> np.ndarray:
        """(N,) bool: still points whose own place looks as it did, or the new one does not: an edge took them along."""
        scale, place = self._scale(grey), self._points[seen]
        jumped = np.linalg.norm(there - place, axis=1) >= DRAG * scale
        look_here = similarity(self._patches[seen], cut_patches(grey, place))
        look_there = similarity(self._patches[seen], patches)
        unlike = (look_here >= np.maximum(REAPPEARED, look_there)) | (look_there < STARTED)
        return jumped & ~self._is_moving(scale)[seen] & unlike

    def _guess(
        self,
        grey: np.ndarray,
        before: np.ndarray,
        found: np.ndarray,
        lost: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where lost points may be: (L, 2), and how much they look like themselves there (L,)."""
        scale = self._scale(grey)
        flat, min_step = self._is_flat()[lost], self.parameters.min_step * scale
        others = before[found], self._points[found], min_step
        still = np.where(flat, ~carried(before[lost], *others), ~self._is_moving(scale)[lost])
        places = carried_along(before[lost], *others)
        places[0, still & ~flat] = self._home[lost[still & ~flat]]
        places = np.clip(places, 0, (grey.shape[1] - 1, grey.shape[0] - 1)).astype(np.float32)
        patches = np.tile(self._patches[lost], (len(places), 1))
        looks = similarity(patches, cut_patches(grey, places.reshape(-1, 2))).reshape(places.shape[:2])
        # Something passes in front of a still point more often than the point begins to move, and the other way round.
        favour = np.zeros_like(looks)
        favour[0] = np.where(still, HABIT, -HABIT)
        favour[1:, still] -= np.where(looks[1:, still] < STARTED, 2.0, 0.0)
        best = (looks + favour).argmax(axis=0)
        rows = np.arange(len(lost))
        return places[best, rows], looks[best, rows]

    def _drop_lost(self, grey: np.ndarray) -> None:
        keep = (self._unseen <= self.parameters.patience) | self._asked
        # Two points that have run together are one; the older one stays.
        width = grey.shape[1]
        cells = np.round(self._points / 2.0).astype(np.int64) @ (1, width)
        first = np.zeros(len(keep), bool)
        order = np.lexsort((self._ids, self._unseen))
        first[order[np.unique(cells[order], return_index=True)[1]]] = True
        self._keep(keep & (first | self._asked))

    def _keep(self, keep: np.ndarray) -> None:
        for name in ("_ids", "_points", "_home", "_unseen", "_moved", "_patches", "_asked"):
            setattr(self, name, getattr(self, name)[keep])

    def _seed_moving(self, grey: np.ndarray) -> None:
        """Step 3 of the module's text: points on what moves."""
        p = self.parameters
        scale = self._scale(grey)
        change = cv2.absdiff(grey, self._grey)
        mask = (cv2.blur(change, (5, 5)) >= p.min_change / 2).astype(np.uint8) * 255
        if not mask.any():
            return
        x, y = np.clip(np.rint(self._points), 0, (grey.shape[1] - 1, grey.shape[0] - 1)).astype(int).T
        useful = (self._unseen == 0) & (self._is_moving(scale) | (mask[y, x] > 0))
        wanted = int(p.num_points * p.moving_share) - int((useful & ~self._asked).sum())
        if wanted <= 0:
            return
        radius = max(1, round(p.spacing * scale))
        for x, y in np.round(self._points[self._unseen == 0]).astype(int):
            cv2.circle(mask, (int(x), int(y)), radius, 0, -1)
        corners = find_corners(grey, mask, 2 * wanted, radius)
        if not len(corners):
            return
        before, good, _ = self._match(grey, self._grey, corners)
        good &= np.linalg.norm(before - corners, axis=1) >= p.min_step * scale
        chosen = corners[good][:wanted]
        self._make_room(len(chosen), useful)
        self._add(grey, chosen, np.linalg.norm(before - corners, axis=1)[good][:wanted])

    def _make_room(self, count: int, useful: np.ndarray) -> None:
        """When all places are taken, give up points where nothing moves: the longest unseen, then the youngest."""
        surplus = int((~self._asked).sum()) + count - self.parameters.num_points
        if surplus <= 0:
            return
        idle = np.flatnonzero(~useful & ~self._asked)
        order = np.lexsort((-self._ids[idle].astype(np.int64), -self._unseen[idle]))
        keep = np.ones(len(self._ids), bool)
        keep[idle[order[:surplus]]] = False
        self._keep(keep)

    def _seed_still(self, grey: np.ndarray) -> None:
        """Step 3 of the module's text: one point in each empty cell of a grid over the whole picture."""
        free = self.parameters.num_points - int((~self._asked).sum())
        if self._grey is not None:
            free -= int(self.parameters.num_points * self.parameters.moving_share)
            free += int(self._is_moving(self._scale(grey)).sum())
        if free <= 0:
            return
        height, width = grey.shape
        cell = max(1, int(np.sqrt(height * width / max(1, self.parameters.num_points))))
        columns, rows = -(-width // cell), -(-height // cell)
        occupied = np.zeros((rows, columns), bool)
        where = np.clip(self._points.astype(int) // cell, 0, (columns - 1, rows - 1))
        occupied[where[:, 1], where[:, 0]] = True
        if occupied.all():
            return
        mask = cv2.resize((~occupied).astype(np.uint8) * 255, None, fx=cell, fy=cell, interpolation=cv2.INTER_NEAREST)
        corners = find_corners(grey, mask[:height, :width], free, cell * 0.75)
        self._add(grey, corners, np.zeros(len(corners)))

    def _add(
        self,
        grey: np.ndarray,
        points: np.ndarray,
        moved: np.ndarray,
        ids: np.ndarray | None = None,
        asked: bool = False,
    ) -> None:
        self._ids = np.concatenate([self._ids, self._new_ids(len(points)) if ids is None else ids])
        self._asked = np.concatenate([self._asked, np.full(len(points), asked)])
        self._points = np.concatenate([self._points, points.astype(np.float32)])
        self._home = np.concatenate([self._home, points.astype(np.float32)])
        self._unseen = np.concatenate([self._unseen, np.zeros(len(points), np.int32)])
        self._moved = np.concatenate([self._moved, moved.astype(np.float32)])
        self._patches = np.concatenate([self._patches, cut_patches(grey, points)])
