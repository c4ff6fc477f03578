"""The space that an arm fills, and the distances of its parts from each other and from boxes: convex hulls, and their
distances by coal.

Distances are only computed where they matter: parts that their bounding balls show to be far apart are skipped.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import coal
import numpy as np
from scipy.spatial import ConvexHull

from stvla_ros.control.safety.kinematics import Skeleton
from stvla_ros.control.safety.limits import Box
from stvla_ros.errors import InputError

# Tolerance of coal's distances, metres.
TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Placed:
    """An arm in k states.

    :param poses: (k, b, 4, 4) poses of its bodies.
    :param centres: (k, s, 3) centres of the balls around all hulls and boxes, in the base's frame.
    """

    poses: np.ndarray
    centres: np.ndarray


@dataclass(frozen=True, eq=False)
class Moves:
    """The arm's motion between m states and those that follow them.

    :param follows: (m,) indices of the states that another state follows.
    :param turned: (m, b) sum of the squared changes of the entries of each body's orientation.
    :param ways: (m, h) upper bound of the motion of any corner of a moving hull, metres; see :meth:`Body.moves`.
    """

    follows: np.ndarray
    turned: np.ndarray
    ways: np.ndarray


class Body:
    """The hulls of an arm and the boxes that stand around it. h hulls move with the arm; a pair is two hulls, or a hull
    and a box, that could touch.

    :param boxes: boxes by name, in the base's frame.
    :param guard_radius: radius around the frames of links of unknown form, metres.
    :raises InputError: for a moving body without a hull: it would not be guarded at all.
    """

    def __init__(self, skeleton: Skeleton, boxes: Mapping[str, Box], guard_radius: float) -> None:
        bare = set(range(1, len(skeleton.parents))) - {hull.body for hull in skeleton.hulls}
        if bare or len(skeleton.parents) < 2:
            raise InputError(f"arm: expected a hull of each moving body, got none of {sorted(bare) or 'any'}")
        guard = _box_corners(Box((-guard_radius,) * 3, (guard_radius,) * 3))
        hulls = sorted(skeleton.hulls, key=lambda hull: hull.body == 0)
        corners = [
            (hull.corners[:, None] + guard).reshape(-1, 3) if hull.guessed else hull.corners for hull in hulls
        ] + [_box_corners(box) for box in boxes.values()]
        shapes = [ConvexHull(each) for each in corners]
        corners = [each.points[each.vertices] for each in shapes]
        # Arrays over all hulls, the moving ones first, and then over the boxes.
        self.names = (*(hull.name for hull in hulls), *boxes)
        self.moving = sum(hull.body > 0 for hull in hulls)
        self._bodies = np.array([hull.body for hull in hulls] + [0] * len(boxes))
        self._corners, self._shapes = corners, [_convex(each) for each in corners]
        self._centres = np.array([(each.min(axis=0) + each.max(axis=0)) / 2.0 for each in corners])
        self._halves = np.array([(each.max(axis=0) - each.min(axis=0)) / 2.0 for each in corners])
        self.radii = np.array(
            [np.linalg.norm(each - centre, axis=1).max() for each, centre in zip(corners, self._centres)]
        )
        pairs = [
            (first, second)
            for first, second in itertools.combinations(range(len(hulls)), 2)
            if _apart(skeleton.parents, hulls[first].body, hulls[second].body)
        ]
        self.own_pairs = len(pairs)
        pairs += itertools.product(range(self.moving), range(len(hulls), len(corners)))
        self.pairs = np.array(pairs, dtype=int).reshape(-1, 2)
        # Number of distances that were computed so far.
        self.asked = 0
        self._request, self._result = coal.DistanceRequest(), coal.DistanceResult()

    def keep(self, pairs: np.ndarray) -> None:
        """Check only these pairs. :param pairs: (p,) bool, pairs that are kept."""
        self.own_pairs = int(pairs[: self.own_pairs].sum())
        self.pairs = self.pairs[pairs]

    def names_of(self, pair: int) -> tuple[str, str]:
        first, second = self.pairs[pair]
        return self.names[first], self.names[second]

    def place(self, poses: np.ndarray) -> Placed:
        """:param poses: (k, b, 4, 4) poses of the bodies."""
        centres = np.einsum("ksij,sj->ksi", poses[:, self._bodies, :3, :3], self._centres)
        return Placed(poses, centres + poses[:, :, :3, 3][:, self._bodies])

    def corners(self, poses: np.ndarray, hulls: Sequence[int] | None = None) -> np.ndarray:
        """
        :param poses: (k, b, 4, 4) poses of the bodies.
        :param hulls: indices of hulls; None for the moving ones.
        :returns: (k, m, 3) all their corners, in the base's frame.
        """
        found = []
        for hull in range(self.moving) if hulls is None else hulls:
            pose = poses[:, self._bodies[hull]]
            found.append(self._corners[hull] @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3])
        return np.concatenate(found, axis=1)

    def bounds(self, placed: Placed) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds, (k, h, 3) each, of the coordinates of each moving hull in the base's frame. No corner
        is beyond them. They may be a little wide, because they belong to a box around the hull.
        """
        centres = placed.centres[:, : self.moving]
        turns = np.abs(placed.poses[:, self._bodies[: self.moving], :3, :3])
        reach = np.einsum("ksij,sj->ksi", turns, self._halves[: self.moving])
        return centres - reach, centres + reach

    def moves(self, placed: Placed, follows: np.ndarray, exact_above: float) -> Moves:
        """
        :param follows: (m,) indices of the states that are directly followed by another one on a path.
        :param exact_above: length in metres; for shorter motions a bound is enough.
        """
        moves = np.diff(placed.poses[:, :, :3], axis=0)
        turned = np.einsum("kbij,kbij->kb", moves[..., :3], moves[..., :3])[follows]
        centres = np.diff(placed.centres[:, : self.moving], axis=0)[follows]
        # As in _way, with the ball around the hull.
        ways = np.sqrt(np.einsum("mhi,mhi->mh", centres, centres))
        ways += np.sqrt(turned / 2.0)[:, self._bodies[: self.moving]] * self.radii[: self.moving]
        for hull in np.flatnonzero((ways > exact_above).any(axis=0)):
            rows = np.flatnonzero(ways[:, hull] > exact_above)
            move = moves[follows[rows], self._bodies[hull]]
            moved = self._corners[hull] @ move[..., :3].transpose(0, 2, 1) + move[:, None, :, 3]
            ways[rows, hull] = np.sqrt(np.einsum("rci,rci->rc", moved, moved).max(axis=1))
        return Moves(follows, turned, ways)

    def depths(self, poses: np.ndarray) -> np.ndarray:
        """(p,) penetration of each pair in one state, metres; 0 if it is apart.

        :param poses: (b, 4, 4) poses of the bodies.
        """
        first, second = self.pairs.T
        centres = self.place(poses[None]).centres[0]
        apart = np.linalg.norm(centres[first] - centres[second], axis=-1)
        found = np.zeros(len(self.pairs))
        for pair in np.flatnonzero(apart < self.radii[first] + self.radii[second]):
            turns, places, _ = self.relative(poses[None], int(pair))
            found[pair] = max(0.0, -self.distance(int(pair), turns[0], places[0]))
        return found

    def clearances(self, poses: np.ndarray, pairs: np.ndarray | None = None, near: float = np.inf) -> np.ndarray:
        """(k, p) signed distances, metres; negative if two penetrate.

        :param pairs: indices of p pairs; None for all.
        :param near: distance in metres; smaller distances are exact, for larger ones a lower bound of at least this
            size is enough.
        """
        pairs = np.arange(len(self.pairs)) if pairs is None else pairs
        found = np.empty((len(poses), len(pairs)))
        for column, pair in enumerate(pairs.tolist()):
            turns, places, centres = self.relative(poses, pair)
            first, second = self.pairs[pair]
            bounds = np.linalg.norm(centres - self._centres[first], axis=1) - self.radii[first] - self.radii[second]
            found[:, column] = bounds
            for state in np.flatnonzero(bounds < near).tolist():
                found[state, column] = self.distance(pair, turns[state], places[state])
        return found

    def touching(self, poses: np.ndarray) -> np.ndarray:
        """(p,) whether each pair touches in all states. :param poses: (k, b, 4, 4) poses of the bodies."""
        left = np.arange(len(self.pairs))
        # Most pairs are apart in one of the first few states.
        for states in np.split(poses, [1, 4, 16]):
            left = left[(self.clearances(states, left, near=TOLERANCE) <= 0.0).all(axis=0)]
        return np.isin(np.arange(len(self.pairs)), left)

    def relative(self, poses: np.ndarray, pair: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(k, 3, 3), (k, 3): the pair's second body in the first one's frame; (k, 3): its hull's centre there."""
        first, second = self.pairs[pair]
        from_first, from_second = poses[:, self._bodies[first]], poses[:, self._bodies[second]]
        back = from_first[:, :3, :3].transpose(0, 2, 1)
        turns = back @ from_second[:, :3, :3]
        places = (back @ (from_second[:, :3, 3] - from_first[:, :3, 3])[..., None])[..., 0]
        return turns, places, turns @ self._centres[second] + places

    def distance(self, pair: int, turn: np.ndarray, place: np.ndarray) -> float:
        """Distance of a pair, metres; negative if they penetrate. :param turn, place: one row of :meth:`relative`."""
        first, second = self.pairs[pair]
        self.asked += 1
        self._result.clear()
        placed = coal.Transform3s(turn, place)
        return coal.distance(self._shapes[first], _HERE, self._shapes[second], placed, self._request, self._result)


_HERE = coal.Transform3s()


def _apart(parents: Sequence[int], first: int, second: int) -> bool:
    """Whether two bodies are different and not joined to each other."""
    return first != second and parents[first] != second and parents[second] != first


def _box_corners(box: Box) -> np.ndarray:
    return np.array(list(itertools.product(*zip(box.low, box.high))))


def _convex(corners: np.ndarray) -> coal.Convex:
    points, facets = coal.StdVec_Vec3s(), coal.StdVec_Triangle()
    for corner in corners:
        points.append(corner)
    for facet in ConvexHull(corners).simplices:
        facets.append(coal.Triangle(*map(int, facet)))
    return coal.Convex(points, facets)
