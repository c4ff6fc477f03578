"""Streaming pyramidal Lucas-Kanade (OpenCV): the tracker that runs everywhere.

Budget for a 640x480 frame with 100 points, 4 pyramid levels, a 21x21 window, one core
-------------------------------------------------------------------------------------
* A Lucas-Kanade call builds the pyramids of both pictures (OpenCV's Python binding takes no ready-made ones): 0.35 ms,
  less where only a part matters. A point costs 33 kFLOP a level, 10 us in all: 1.4 ms for 100 points.
* There for all points, back for those that moved, again for the lost and for new ones: 4 ms. All else: 2 ms. Most of
  that was calls of NumPy for a hundred numbers each; so the numbers for comparing a patch are kept with it.
* A larger picture than 1280x720 is tracked in at half its size (``shrinking.py``), so that it does not cost more.

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

from typing import ClassVar

import cv2
import numpy as np

from stvla_ros.perception.frame_buffer import FrameBuffer
from stvla_ros.perception.trackers.base import Tracker
from stvla_ros.perception.trackers.followed import Followed
from stvla_ros.perception.trackers.lucas_kanade_parameters import LucasKanadeParameters
from stvla_ros.perception.trackers.matching import match
from stvla_ros.perception.trackers.neighbours import carried, carried_along
from stvla_ros.perception.trackers.patches import (
    Patches,
    cut_patches,
    lengths,
    search_patches,
    similarity,
    within,
)
from stvla_ros.perception.trackers.seeding import changed, empty_cells, find_corners
from stvla_ros.perception.trackers.shrinking import in_full, in_shrunk, share_of, shrunk
from stvla_ros.perception.types import Traces

REFERENCE_DIAGONAL = 800.0  # px, of 640x480; lengths here are for that size, and scale with the picture
# The following were chosen by bench/tracker_accuracy.py. Lengths in pixels; similarities as in patches.py.
FADING = 0.9  # of a point's motion a frame: it counts as moving for some frames after it stopped
LEAVE_HOME = 3.0  # a still point has begun to move when it is so far from where it stood
DRAG = 0.3  # a still point that jumps so far is suspected of having been dragged along
STARTED = 0.7  # similarity that a still point needs to be taken for one that began to move
HABIT = 0.3  # similarity by which a lost point's habit, standing still or moving, is favoured
SEARCH, REAPPEARED = 5, 0.8  # how far around a guess a lost point's patch is searched, and how alike it must be
STILL_SEARCH, STILL_REAPPEARED = 2, 0.9  # for still points: their place is known; what covers it must not pass


class LucasKanade(Tracker):
    """The tracker that the module's docstring describes."""

    Parameters = LucasKanadeParameters
    _FOLLOWED: ClassVar[type[Followed]] = Followed

    def __init__(self, buffer: FrameBuffer, parameters: LucasKanadeParameters) -> None:
        super().__init__(buffer, parameters)
        self._forget()

    def _forget(self) -> None:
        self._grey: np.ndarray | None = None  # the last frame, which points are in pixels of
        self._share = 1  # how many of the picture's own pixels one of these is wide
        self._followed = self._FOLLOWED.none()

    def _track(self, rgb: np.ndarray, stamp_ns: int) -> Traces:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        self._share = share_of(grey.shape)
        if self._share > 1:
            grey = shrunk(grey, self._share)
        if self._grey is not None:
            self._follow(grey)
            self._followed.drop_lost(self.parameters.patience, grey.shape[1])
            self._seed_moving(grey)
        self._seed_still(grey)
        self._grey = grey
        own, size = self._followed, (rgb.shape[1], rgb.shape[0])
        self.buffer.append(stamp_ns, own.ids, in_full(own.points, self._share), own.seen, size)
        return self.buffer.traces()

    def _query(self, ids: np.ndarray, points: np.ndarray) -> None:
        points = within(in_shrunk(points, self._share), self._grey)
        self._add(self._grey, points, np.zeros(len(points)), ids, asked=True)

    def _scale(self, grey: np.ndarray) -> float:
        return float(np.hypot(*grey.shape)) / REFERENCE_DIAGONAL

    def _match(
        self,
        start: np.ndarray,
        end: np.ndarray,
        points: np.ndarray,
        guess: np.ndarray | None = None,
        before: Patches | None = None,
    ) -> tuple[np.ndarray, np.ndarray, Patches]:
        p = self.parameters
        return match(
            start,
            end,
            points,
            guess,
            before,
            window=p.window,
            levels=p.levels,
            min_similarity=p.min_similarity,
            max_return_error=p.max_return_error * self._scale(start),
        )

    def _follow(self, grey: np.ndarray) -> None:
        """Steps 1 and 2 of the module's docstring."""
        scale, own = self._scale(grey), self._followed
        before = own.points.copy()
        known, hidden = self._known()
        found = known.copy()
        seen = np.flatnonzero(own.seen & ~known)
        look_before = own.look_before(seen, self._grey)
        own.cut[:] = False
        if len(seen):
            there, good, looks = self._match(self._grey, grey, before[seen], before=look_before)
            good &= ~own.looks.flat[seen]
            good[good] = ~self._dragged(grey, seen[good], there[good], looks[good])
            good &= ~self._taken(there)
            found[seen[good]] = True
            own.find(seen[good], there[good], looks[good])
        lost = np.flatnonzero(~found)
        if len(lost):
            self._find_lost(grey, before, found, lost, look_before[np.flatnonzero(~found[seen])])
        self._note_motion(before, found, scale)
        own.unseen = np.where(found & ~hidden, 0, own.unseen + 1)

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """Update the points whose place is known without looking at the picture.

        :return: (N,) bool, these points; and (N,) bool, those of them that are hidden.
        """
        none = np.zeros(len(self._followed), bool)
        return none, none

    def _taken(self, places: np.ndarray) -> np.ndarray:
        """(N,) bool: whether the place (N, 2) is known to show something other than a followed point."""
        return np.zeros(len(places), bool)

    def _find_lost(
        self, grey: np.ndarray, before: np.ndarray, found: np.ndarray, lost: np.ndarray, look_before: Patches
    ) -> None:
        """:param look_before: patches of those lost points that were seen in the last frame, from there."""
        own = self._followed
        guess, alike = self._guess(grey, before, found, lost)
        own.points[lost] = guess
        textured = ~own.looks.flat[lost]
        seen = own.seen[lost]
        fresh = np.flatnonzero(seen & textured)
        if len(fresh):
            look_before = look_before[textured[seen]]
            there, good, looks = self._match(self._grey, grey, before[lost[fresh]], guess[fresh], look_before)
            good &= ~self._taken(there)
            index = lost[fresh[good]]
            found[index] = True
            own.find(index, there[good], looks[good])
        found[lost[~textured & (alike >= REAPPEARED) & ~self._taken(guess)]] = True
        still = ~self._is_moving(self._scale(grey))[lost]
        for radius, least, kind in ((STILL_SEARCH, STILL_REAPPEARED, still), (SEARCH, REAPPEARED, ~still)):
            rows = np.flatnonzero(~found[lost] & textured & kind)
            if len(rows):
                places, alike = search_patches(grey, own.looks[lost[rows]], guess[rows], radius)
                good = (alike >= least) & ~self._taken(places)
                rows, places = rows[good], places[good]
                found[lost[rows]], own.points[lost[rows]] = True, places

    def _note_motion(self, before: np.ndarray, found: np.ndarray, scale: float) -> None:
        """A point counts as moving once it has left its home; a passing edge shakes still points, but not far."""
        own = self._followed
        away = lengths(own.points - own.home) >= LEAVE_HOME * scale
        step = np.where(away, lengths(own.points - before), 0.0)
        was_moving = self._is_moving(scale)
        own.moved = np.where(found, np.maximum(step, FADING * own.moved), own.moved).astype(np.float32)
        settled = was_moving & ~self._is_moving(scale)
        own.home[settled] = own.points[settled]

    def _is_moving(self, scale: float) -> np.ndarray:
        return self._followed.moved >= self.parameters.min_step * scale

    def _dragged(self, grey: np.ndarray, seen: np.ndarray, there: np.ndarray, patches: Patches) -> np.ndarray:
        """(N,) bool: still points that a passing edge has dragged along. Their old place looks as before, or the new
        one does not look like them.
        """
        scale, place = self._scale(grey), self._followed.points[seen]
        dragged = lengths(there - place) >= DRAG * scale
        dragged &= ~self._is_moving(scale)[seen]
        if len(rows := np.flatnonzero(dragged)):
            before = self._followed.looks[seen[rows]]
            look_here = similarity(before, Patches.around(grey, place[rows]))
            look_there = similarity(before, patches[rows])
            dragged[rows] = (look_here >= np.maximum(REAPPEARED, look_there)) | (look_there < STARTED)
        return dragged

    def _guess(
        self,
        grey: np.ndarray,
        before: np.ndarray,
        found: np.ndarray,
        lost: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Likely places of lost points: (L, 2), and their similarity there (L,)."""
        scale = self._scale(grey)
        before_patches = self._followed.looks[lost]
        flat, min_step = before_patches.flat, self.parameters.min_step * scale
        others = before[found], self._followed.points[found], min_step
        still = ~self._is_moving(scale)[lost]
        if flat.any():
            still[flat] = ~carried(before[lost[flat]], *others)
        places = carried_along(before[lost], *others)
        places[0, still & ~flat] = self._followed.home[lost[still & ~flat]]
        places = within(places, grey).astype(np.float32)
        there = cut_patches(grey, places.reshape(-1, 2)).reshape(*places.shape[:2], -1)
        looks = similarity(before_patches, Patches.of(there))
        # For a still point, an occlusion is likelier than the start of a motion, and the other way round for a moving
        # one.
        favour = np.zeros_like(looks)
        favour[0] = np.where(still, HABIT, -HABIT)
        favour[1:, still] -= np.where(looks[1:, still] < STARTED, 2.0, 0.0)
        best = (looks + favour).argmax(axis=0)
        rows = np.arange(len(lost))
        return places[best, rows], looks[best, rows]

    def _seed_moving(self, grey: np.ndarray) -> None:
        """Step 3 of the module's docstring: new points on moving things."""
        p = self.parameters
        scale = self._scale(grey)
        mask = changed(grey, self._grey, p.min_change)
        if not mask.any():
            return
        x, y = within(np.rint(self._followed.points), grey).astype(int).T
        useful = self._followed.seen & (self._is_moving(scale) | (mask[y, x] > 0))
        wanted = int(p.num_points * p.moving_share) - int((useful & ~self._followed.asked).sum())
        if wanted <= 0:
            return
        radius = max(1, round(p.spacing * scale))
        for place in np.round(self._followed.points[self._followed.seen]).astype(int).tolist():
            cv2.circle(mask, place, radius, 0, -1)
        corners = find_corners(grey, mask, 2 * wanted, radius)
        if not len(corners):
            return
        before, good, _ = self._match(grey, self._grey, corners)
        good &= lengths(before - corners) >= p.min_step * scale
        chosen = corners[good][:wanted]
        self._followed.make_room(len(chosen), p.num_points, useful)
        self._add(grey, chosen, lengths(before - corners)[good][:wanted])

    def _seed_still(self, grey: np.ndarray) -> None:
        """Step 3 of the module's docstring: one new point in each empty cell of a grid over the whole picture."""
        free = self.parameters.num_points - int((~self._followed.asked).sum())
        if self._grey is not None:
            free -= int(self.parameters.num_points * self.parameters.moving_share)
            free += int(self._is_moving(self._scale(grey)).sum())
        if free <= 0:
            return
        if (empty := empty_cells(grey.shape, self._followed.points, self.parameters.num_points)) is not None:
            corners = find_corners(grey, empty[0], free, empty[1] * 0.75)
            self._add(grey, corners, np.zeros(len(corners)))

    def _add(
        self,
        grey: np.ndarray,
        points: np.ndarray,
        moved: np.ndarray,
        ids: np.ndarray | None = None,
        asked: bool = False,
    ) -> None:
        ids, looks = self._new_ids(len(points)) if ids is None else ids, Patches.around(grey, points)
        self._followed.add(self._FOLLOWED.new(ids, points, moved, looks, asked))
