"""Streaming pyramidal Lucas-Kanade (OpenCV): the tracker that runs everywhere.

Budget for a 640x480 frame with 100 points, 5 pyramid levels, a 21x21 window, one core
---------------------------------------------------------------------------------------
* grey picture: 0.9 MB read, 0.3 MB written                                                   0.1 ms
* pyramids with gradients: each Lucas-Kanade call builds two (OpenCV's Python binding takes no ready-made pyramids);
  per pyramid 0.3 MP * 4/3 * (filter + 2 Scharr) * about 10 operations = 12 MFLOP, 2 MB written    0.4 ms each
* per point and call 5 levels * (441 px * 3 interpolations * 8 FLOP + up to 30 iterations * 441 px * 10 FLOP)
  = 0.1 to 0.7 MFLOP; 100 points, usually 5 iterations: 20 MFLOP                              0.5 ms a call
* forward + backward call                                                                     3 ms
* candidates for new points: corner strength on 0.3 MP, 1 ms; their own backward + forward check, 2.5 ms
Together about 7 ms in a frame that looks for new points, about 4 ms in one that does not.

How it works
------------
1. Each point is followed from the last frame into this one, then back. It is *seen* when it comes back to within
   ``max_return_error`` of where it started and its patch still looks like the one in the last frame (normalised
   cross-correlation, ``min_similarity``).
2. A point that is not seen stays where it was last for ``patience`` frames and is looked for at that place: it is seen
   again when the patch there looks like the one that it had there. So a still point survives the arm's passing in front of it.
   Then it is dropped.
3. New points. What matters for traces is the *moving* arm, which covers little of the picture. So corners are looked for
   where the picture changed since the last frame; each is followed backwards into the last frame and forth again, and
   only those that pass the test of step 1 *and* really moved are taken (a change alone also marks the background that the arm
   uncovered). They may use up to ``moving_share`` of all points; the others are spread over a grid of cells, one in each.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.frame_buffer import FrameBuffer
from stvla_ros.perception.trackers.base import Tracker
from stvla_ros.perception.types import Traces

REFERENCE_DIAGONAL = 800.0  # px, of a 640x480 picture; lengths in pixels below are meant there and scale with the picture


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
    levels: int = 4
    max_return_error: float = 1.0
    min_similarity: float = 0.8
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
        self._moved = np.zeros(0, np.float32)  # recent motion, px a frame, fading
        self._patches = np.zeros((0, PATCH * PATCH), np.float32)  # how each point looked when last seen

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

    def _scale(self, grey: np.ndarray) -> float:
        return float(np.hypot(*grey.shape)) / REFERENCE_DIAGONAL

    def _match(self, start: np.ndarray, end: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Follow points from one picture into another and back.

        :return: where they end (N, 2), whether the way there and back agree and the patches look alike (N,), and the
            patches at the end.
        """
        p = self.parameters
        options = {"winSize": (p.window, p.window), "maxLevel": p.levels, "criteria": CRITERIA}
        there, found, _ = cv2.calcOpticalFlowPyrLK(start, end, points, None, **options)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(end, start, there, None, **options)
        missed = np.linalg.norm(back - points, axis=1)
        height, width = start.shape
        inside = ((there >= 0) & (there <= (width - 1, height - 1))).all(axis=1)
        patches = cut_patches(end, there)
        alike = similarity(cut_patches(start, points), patches) >= p.min_similarity
        good = (found.ravel() == 1) & (found_back.ravel() == 1) & inside & alike
        return there, good & (missed <= p.max_return_error * self._scale(start)), patches

    def _follow(self, grey: np.ndarray) -> None:
        """Steps 1 and 2 of the module's text."""
        seen = self._unseen == 0
        found = np.zeros(len(seen), bool)
        if seen.any():
            there, good, patches = self._match(self._grey, grey, self._points[seen])
            index = np.flatnonzero(seen)[good]
            step = np.linalg.norm(there[good] - self._points[index], axis=1)
            self._moved[index] = np.maximum(step, FADING * self._moved[index])
            self._points[index] = there[good]
            self._patches[index] = patches[good]
            found[index] = True
        hidden = np.flatnonzero(~seen)
        if len(hidden):
            alike = similarity(self._patches[hidden], cut_patches(grey, self._points[hidden]))
            found[hidden[alike >= REAPPEARED]] = True
        self._unseen = np.where(found, 0, self._unseen + 1)

    def _drop_lost(self, grey: np.ndarray) -> None:
        keep = self._unseen <= self.parameters.patience
        # Two points that have run together are one; the older one stays.
        height, width = grey.shape
        cells = np.round(self._points / 2.0).astype(np.int64) @ (1, width)
        first = np.zeros(len(keep), bool)
        order = np.lexsort((self._ids, self._unseen))
        first[order[np.unique(cells[order], return_index=True)[1]]] = True
        self._keep(keep & first)

    def _keep(self, keep: np.ndarray) -> None:
        for name in ("_ids", "_points", "_unseen", "_moved", "_patches"):
            setattr(self, name, getattr(self, name)[keep])

    def _seed_moving(self, grey: np.ndarray) -> None:
        """Step 3 of the module's text: points on what moves."""
        p = self.parameters
        scale = self._scale(grey)
        moving = (self._moved >= p.min_step * scale) & (self._unseen == 0)
        wanted = int(p.num_points * p.moving_share) - int(moving.sum())
        if wanted <= 0:
            return
        change = cv2.absdiff(grey, self._grey)
        mask = (cv2.blur(change, (5, 5)) >= p.min_change / 2).astype(np.uint8) * 255
        if not mask.any():
            return
        radius = max(1, round(p.spacing * scale))
        for x, y in np.round(self._points[self._unseen == 0]).astype(int):
            cv2.circle(mask, (int(x), int(y)), radius, 0, -1)
        corners = cv2.goodFeaturesToTrack(grey, 2 * wanted, 0.01, radius, mask=mask, blockSize=5)
        if corners is None:
            return
        corners = np.ascontiguousarray(corners.reshape(-1, 2))
        before, good, _ = self._match(grey, self._grey, corners)
        good &= np.linalg.norm(before - corners, axis=1) >= p.min_step * scale
        chosen = corners[good][:wanted]
        self._make_room(len(chosen), moving)
        self._add(grey, chosen, np.linalg.norm(before - corners, axis=1)[good][:wanted])

    def _make_room(self, count: int, moving: np.ndarray) -> None:
        """Give up still points, those unseen for longest and then the youngest first, when all places are taken."""
        surplus = len(self._ids) + count - self.parameters.num_points
        if surplus <= 0:
            return
        still = np.flatnonzero(~moving)
        order = np.lexsort((-self._ids[still].astype(np.int64), -self._unseen[still]))
        keep = np.ones(len(self._ids), bool)
        keep[still[order[:surplus]]] = False
        self._keep(keep)

    def _seed_still(self, grey: np.ndarray) -> None:
        """Step 3 of the module's text: one point in each empty cell of a grid over the whole picture."""
        free = self.parameters.num_points - len(self._ids)
        if self._grey is not None:
            free -= int(self.parameters.num_points * self.parameters.moving_share)
            free += int((self._moved >= self.parameters.min_step * self._scale(grey)).sum())
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
        corners = cv2.goodFeaturesToTrack(
            grey, free, 0.005, cell * 0.75, mask=np.ascontiguousarray(mask[:height, :width]), blockSize=5
        )
        if corners is not None:
            self._add(grey, corners.reshape(-1, 2), np.zeros(len(corners), np.float32))

    def _add(self, grey: np.ndarray, points: np.ndarray, moved: np.ndarray) -> None:
        self._ids = np.concatenate([self._ids, self._new_ids(len(points))])
        self._points = np.concatenate([self._points, points.astype(np.float32)])
        self._unseen = np.concatenate([self._unseen, np.zeros(len(points), np.int32)])
        self._moved = np.concatenate([self._moved, moved.astype(np.float32)])
        self._patches = np.concatenate([self._patches, cut_patches(grey, points)])


PATCH = 9  # px, side of the compared patch: smaller than the window, so that it lies on one surface
FADING = 0.9  # a point counts as moving for some frames after it stopped
REAPPEARED = 0.9  # similarity for a hidden point: stricter, because the place was not searched but assumed
CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)


def cut_patches(grey: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear ``PATCH`` x ``PATCH`` windows around sub-pixel points; outside the picture its border is repeated.

    :return: (N, PATCH * PATCH) float32.
    """
    offsets = np.arange(PATCH, dtype=np.float32) - PATCH // 2
    points = np.asarray(points, np.float32)
    x = points[:, 0, None, None] + offsets[None, None, :]
    y = points[:, 1, None, None] + offsets[None, :, None]
    shape = (len(points) * PATCH, PATCH)
    x = np.broadcast_to(x, (len(points), PATCH, PATCH)).reshape(shape)
    y = np.broadcast_to(y, (len(points), PATCH, PATCH)).reshape(shape)
    if not len(points):
        return np.zeros((0, PATCH * PATCH), np.float32)
    patches = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return patches.reshape(len(points), -1).astype(np.float32)


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation of patches, (N, M) each -> (N,) in -1..1. Two flat patches count as alike."""
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    flat = norm < a.shape[1]  # about one grey level of contrast: noise only
    return np.where(flat, 1.0, (a * b).sum(axis=1) / np.where(flat, 1.0, norm))
