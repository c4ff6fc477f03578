"""Tracks points on the robot by its joints and the camera's pose, and all others by Lucas-Kanade.

1. The link's pose gives the place of a spot on it: to a fraction of a pixel, without texture, in the dark, and at any
  speed. Each point, whether Lucas-Kanade would follow it or ``query`` asked for it, is lifted into space by the depth
  at its pixel. If it lies within ``surface`` of a link's hull, it belongs to that link from then on. The tips of the
  fingers and the middle between them are always followed. 2. A point of the robot is visible where the depth in the
  picture is not nearer than the point by more than ``depth_margin``. If the point was found on a surface, the depth
  must not be farther either: that would be another surface. 3. All other points are followed by their appearance. The
  robot's points are among the neighbours that tell where lost ones went. No such point lies where the depth shows a
  link: there it is covered. 4. Objects that the closed fingers hold have the palm's motion. A point without texture, or
  a lost one, belongs to the palm when it is near the fingers' tips and the depth shows a surface where that motion
  takes it. This ends when the fingers open, or when the surface is gone. A point with texture is searched for near that
  place, since objects turn and slip.
2. A point of the robot is seen where the depth in the picture is not nearer than the point by more than
   ``depth_margin``, and neither farther, for one that was found on a surface: another surface is there then.
3. All other points are followed by their looks, the robot's being known among the neighbours that say where lost ones
   went. None of them is where the depth shows a link: there it is covered.
4. What the closed fingers hold has the palm's motion. A point without texture, or a lost one, belongs to the palm when
   it is near the fingers' tips and the depth shows a surface where that motion takes it; until the fingers open, or the
   surface is not there. One with texture is looked for near that place, since things turn and slip.

Without depth only the fingers' tips are known, and no point counts as hidden.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.geometry import back_project, project
from stvla_ros.perception.robot_view import RobotView, in_link
from stvla_ros.perception.trackers.lucas_kanade import LucasKanade
from stvla_ros.perception.trackers.lucas_kanade_parameters import LucasKanadeParameters
from stvla_ros.perception.trackers.on_robot import OnRobot
from stvla_ros.perception.trackers.patches import lengths
from stvla_ros.perception.trackers.shrinking import in_full, in_shrunk
from stvla_ros.perception.types import Traces

OUTSIDE = -1e5  # px, for points that cannot be in any picture
MARK_MARGIN = 0.02  # metres; the tips' middles lie inside the fingers
# Chosen by bench/tracker_accuracy.py. Pixels are those of 640x480.
REACH = 0.1  # metres from the fingers' tips within which they can hold something
CARRIED = 3.0  # px that the gripper must have moved a point before the point can count as held
MISSED, MISSED_SHARE = 2.0, 0.15  # px, and share of its way, by which a held point may miss its expected place
SAME_DEPTH = 0.004  # metres by which a spot's depth may differ from the expected one
SLIP = 12.0  # px that a thing may slip between the fingers in a frame
OPENED = 0.002  # metres: fingers that are so much wider apart hold nothing any more


@dataclass(frozen=True)
class KinematicParameters(LucasKanadeParameters):
    """:param surface: largest distance outside of a link's hull at which a point counts as on the link, metres.
    :param depth_margin: largest difference of depths on one surface, metres.
    """

    surface: float = 0.004
    depth_margin: float = 0.01

    tracker: ClassVar[str] = "kinematic"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("surface", "depth_margin"):
            if not 0.0 < getattr(self, name) <= 0.1:
                raise InputError(f"kinematic {name}: expected more than 0, at most 0.1 m, got {getattr(self, name)!r}")


class Kinematic(LucasKanade):
    """The tracker that the module's docstring describes."""

    Parameters = KinematicParameters
    needs_robot = True
    parameters: KinematicParameters
    _FOLLOWED = OnRobot
    _followed: OnRobot

    def _forget(self) -> None:
        super()._forget()
        self._robot: RobotView | None = None
        self._depth: np.ndarray | None = None
        self._last: tuple[RobotView, np.ndarray] | None = None  # the frame before, where it has a depth
        self._gap = self._gap_before = 0.0  # between the fingers, metres
        self._marked = False
        self._size = (0, 0)

    def _see(self, robot: RobotView, depth: np.ndarray | None) -> None:
        self._last = None if self._robot is None or self._depth is None else (self._robot, self._depth)
        self._robot, self._depth = robot, depth

    def _track(self, rgb: np.ndarray, stamp_ns: int) -> Traces:
        self._size = (rgb.shape[1], rgb.shape[0])
        return super()._track(rgb, stamp_ns)

    @property
    def _view(self) -> RobotView:
        assert self._robot is not None
        return self._robot

    # --- what is known without looking ---

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        own = self._followed
        on = own.links != ""
        own.points[on], _ = self._places(own.links[on], own.in_link[on])
        return on, self._hidden()

    def _places(self, links: np.ndarray, in_links: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of spots on links in this frame: (N, 2) float32 pixels, far outside if behind the camera; (N,)
        metres.
        """
        spots = np.zeros((len(links), 3))
        for link in np.unique(links).tolist():
            pose, own = self._view.camera_from_link[link], links == link
            spots[own] = in_links[own] @ pose[:3, :3].T + pose[:3, 3]
        places = np.nan_to_num(project(spots, self._view.intrinsics), nan=OUTSIDE)
        return in_shrunk(np.clip(places, OUTSIDE, -OUTSIDE).astype(np.float32), self._share), spots[:, 2]

    def _hidden(self) -> np.ndarray:
        """(N,) bool: points of the robot that this frame does not show."""
        own = self._followed
        hidden = np.zeros(len(own), bool)
        on = np.flatnonzero(own.links != "")
        places, depths = self._places(own.links[on], own.in_link[on])
        places, (width, height) = in_full(places, self._share), self._size
        inside = ((places >= 0) & (places <= (width - 1, height - 1))).all(axis=1)
        hidden[on[~inside]] = True
        if self._depth is None:
            return hidden
        on, places, depths = on[inside], places[inside], depths[inside]
        column, row = np.rint(places).astype(int).T
        # The neighbourhood counts as well: on an outline the nearest pixel may show the background.
        around = np.stack(
            [
                self._depth[np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)]
                for dx, dy in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
            ]
        )
        known = np.isfinite(around) & (around > 0)
        solid = own.solid[on]
        margin = np.where(solid, self.parameters.depth_margin, MARK_MARGIN)
        fits = (around >= depths - margin) & ((around <= depths + margin) | ~solid)
        hidden[on] = ~(fits | ~known).any(axis=0)
        return hidden

    def _taken(self, places: np.ndarray) -> np.ndarray:
        return self._shown(places, 0.0)[0] >= 0

    def _shown(self, points: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """The surfaces at pixels (N, 2) of this frame: part of the robot (N,), -1 for none, and position (N, 3)."""
        if self._depth is None or not len(points):
            return np.full(len(points), -1), np.zeros((len(points), 3))
        points = in_full(points, self._share)
        spots = back_project(points, at(self._depth, points), self._view.intrinsics)
        return self._view.carriers(spots, margin), spots

    # --- what the gripper holds ---

    def _follow(self, grey: np.ndarray) -> None:
        own = self._followed
        before, unseen = own.points.copy(), own.unseen.copy()
        if self._view.shape.palm:
            self._let_go()
        super()._follow(grey)
        if self._depth is None:
            return
        self._slip(grey, before)
        if self._last is None:
            return
        self._leave(before, unseen)
        if self._view.shape.palm and self._gap <= self._view.shape.widest - OPENED:
            self._take_along(before, unseen)

    def _let_go(self) -> None:
        """Held points are followed by their appearance again when the fingers open, or when the points are not at their
        expected places.
        """
        own = self._followed
        self._gap = self._view.finger_gap
        self._gap_before = self._gap if self._last is None else self._last[0].finger_gap
        held = np.flatnonzero(own.held)
        # At an outline, a point that is slightly off misses the object. So an object is released as a whole.
        if len(held) and (self._gap > self._gap_before + OPENED or self._gone(held).mean() > 0.5):
            own.links[held], own.held[held] = "", False

    def _gone(self, which: np.ndarray) -> np.ndarray:
        """For points of the robot: whether the surface at their expected places lies farther away."""
        places, depths = self._places(self._followed.links[which], self._followed.in_link[which])
        return self._depths(places) > depths + self.parameters.depth_margin

    def _depths(self, places: np.ndarray) -> np.ndarray:
        """(N,) metres of this frame at pixels (N, 2); NaN where it is not known."""
        if self._depth is None:
            return np.full(len(places), np.nan)
        return at(self._depth, in_full(places, self._share))

    def _slip(self, grey: np.ndarray, before: np.ndarray) -> None:
        """An object may turn and slip between the fingers: its points with texture are searched for near the places
        that the palm's motion gives.
        """
        own = self._followed
        held = np.flatnonzero(own.held & own.seen & ~own.looks.flat)
        if not len(held):
            return
        carried = own.points[held].copy()
        there, good, looks = self._match(self._grey, grey, before[held], carried)
        good &= (lengths(there - carried) <= SLIP * self._scale(grey)) & ~self._taken(there)
        held, there = held[good], there[good]
        if not len(held):
            return
        _, depths = self._places(own.links[held], own.in_link[held])
        shown = self._depths(there)
        depths = np.where(np.abs(shown - depths) <= self.parameters.depth_margin, shown, depths)
        spots = back_project(in_full(there, self._share), depths, self._view.intrinsics)
        own.find(held, there, looks[good])
        own.in_link[held] = in_link(self._view.camera_from_link[self._view.shape.palm], spots)

    def _leave(self, before: np.ndarray, unseen: np.ndarray) -> None:
        """Points without texture stay where they are while the depth there is unchanged; their neighbours would
        otherwise drag them.

        :param before: (N, 2) places of all points in the last frame.
        :param unseen: number of frames for which they had not been seen then.
        """
        assert self._last is not None
        own = self._followed
        free = np.flatnonzero((own.links == "") & (unseen == 0) & own.looks.flat)
        changed = np.abs(self._depths(before[free]) - at(self._last[1], in_full(before[free], self._share)))
        stay = free[(changed <= SAME_DEPTH) & ~self._taken(before[free])]
        own.points[stay], own.unseen[stay], own.cut[stay] = before[stay], 0, False

    def _take_along(self, before: np.ndarray, unseen: np.ndarray) -> None:
        """Mark points near closed fingers as held if the picture shows them where the gripper's motion takes them. For
        the parameters see ``_leave``.
        """
        assert self._last is not None
        own, shape, (then, depth_then) = self._followed, self._view.shape, self._last
        free = np.flatnonzero((own.links == "") & (unseen == 0))
        pixels = in_full(before[free], self._share)
        old_depths = at(depth_then, pixels)
        in_palm = in_link(then.camera_from_link[shape.palm], back_project(pixels, old_depths, then.intrinsics))
        near = np.linalg.norm(in_palm - shape.grasp, axis=1) < REACH  # False for NaN
        free, in_palm, old_depths = free[near], in_palm[near], old_depths[near]
        if not len(free) or abs(self._gap - self._gap_before) > OPENED:  # the fingers are closing still
            return
        stood_off = np.abs(self._depths(before[free]) - old_depths)
        stands = (stood_off <= SAME_DEPTH) & ~self._taken(before[free])
        places, depths = self._places(np.full(len(free), shape.palm), in_palm)
        way, missed = lengths(places - before[free]), lengths(places - own.points[free])
        scale = self._scale(self._grey)
        off = np.abs(self._depths(places) - depths)  # NaN where it cannot be
        alike = missed < np.maximum(MISSED * scale, MISSED_SHARE * way)
        # On a large object, both a point that moved along and one that stood still show the object: the better depth
        # decides.
        along = (way >= CARRIED * scale) & (off <= SAME_DEPTH) & ((off < stood_off) | ~stands | alike)
        # A point with texture that was found at another place is there.
        along &= own.looks.flat[free] | (own.unseen[free] > 0) | alike
        free = free[along]
        own.attach(free, shape.palm, in_palm[along])
        own.points[free], own.held[free], own.solid[free] = places[along], True, True
        own.unseen[free], own.cut[free] = 0, False

    # --- new points ---

    def _seed_still(self, grey: np.ndarray) -> None:
        if not self._marked:
            self._marked = True
            self._add_marks(grey)
        super()._seed_still(grey)

    def _add_marks(self, grey: np.ndarray) -> None:
        links, marks = np.array(self._view.shape.mark_links, "U64"), self._view.shape.marks
        if len(links):
            places, _ = self._places(links, marks)
            self._add(grey, places, np.zeros(len(links)), asked=True)
            own = self._followed
            new = np.arange(len(own) - len(links), len(own))
            own.attach(new, links, marks)
            own.solid[new] = False
            own.unseen[new] = np.where(self._hidden()[new], 1, 0)

    def _add(
        self,
        grey: np.ndarray,
        points: np.ndarray,
        moved: np.ndarray,
        ids: np.ndarray | None = None,
        asked: bool = False,
    ) -> None:
        super()._add(grey, points, moved, ids, asked)
        own, first = self._followed, len(self._followed) - len(points)
        parts, spots = self._shown(points, self.parameters.surface)
        for part in np.unique(parts[parts >= 0]).tolist():
            link, rows = self._view.shape.planes[part][0], np.flatnonzero(parts == part)
            own.attach(first + rows, link, in_link(self._view.camera_from_link[link], spots[rows]))


def at(depth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(N,) metres at pixels (N, 2); NaN outside the picture and where it is unknown."""
    height, width = depth.shape
    inside = ((places >= 0) & (places <= (width - 1, height - 1))).all(axis=1)
    column, row = np.rint(np.clip(places, 0, (width - 1, height - 1))).astype(int).T
    found = depth[row, column].astype(np.float64)
    return np.where(inside & (found > 0), found, np.nan)
