"""Checks whether two parts of an arm, or a part and a box, touch on a path through states.

A distance that was computed once also gives a bound for the states around it, and for everything between two ticks: the
distance less the motion in between.
"""

import numpy as np

from stvla_ros.control.safety.body import TOLERANCE, Body, Moves, Placed

# Number of distances that are used one by one for the states around them, before all open ones are computed.
_ROUNDS = 10
# A path this short is not halved any more, metres: half of it may be missing from a distance.
_SHORT_WAY = 2e-4

# The pose of a pair's second body in the first one's frame ((3, 3), (3,)), and their distance.
_Stands = tuple[np.ndarray, np.ndarray, float]


def first_contact(
    body: Body, placed: Placed, moves: Moves, allowed: np.ndarray, bent: np.ndarray
) -> tuple[int | None, np.ndarray]:
    """Whether two parts of a pair would touch on a path through states, or between any two of them.

    :param allowed: (p,) penetration that each pair may have, metres.
    :param bent: (m,) distance that any point may leave the straight path of each move, metres.
    :returns: the index of a pair that would touch on straight paths, None if none would; and (m,) the moves on which
        one might touch because they are bent.
    """
    unsure = np.zeros(len(moves.follows), dtype=bool)
    if not len(body.pairs):
        return None, unsure
    # Boxes and the base do not move.
    moved = np.zeros((len(moves.ways), len(body.names)))
    moved[:, : body.moving] = moves.ways + 2.0 * bent[:, None]
    first, second = body.pairs.T
    between_centres = placed.centres[:, first] - placed.centres[:, second]
    apart = np.sqrt(np.einsum("kpi,kpi->kp", between_centres, between_centres))
    before, after = moves.follows, moves.follows + 1
    least = apart - body.radii[first] - body.radii[second]
    # Between two states with known distances, the smallest distance is at least half of their sum less the motion.
    between = moved[:, first] + moved[:, second]
    wanted = -2.0 * (allowed + TOLERANCE)
    open_pairs = np.flatnonzero(((least[before] + least[after] - between) < wanted).any(axis=0))
    for pair in open_pairs.tolist():
        touches, might = _touches(body, pair, placed.poses, before, after, least[:, pair], wanted[pair], bent)
        if touches:
            return pair, unsure
        unsure |= might
    return None, unsure


def _touches(
    body: Body,
    pair: int,
    poses: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    least: np.ndarray,
    wanted: float,
    bent: np.ndarray,
) -> tuple[bool, np.ndarray]:
    """As :func:`first_contact`. :param least: (k,) lower bounds of the distance in each state."""
    turns, places, centres = body.relative(poses, pair)
    radius = body.radii[body.pairs[pair][1]]
    # The motion of the second body as seen by the first: a common motion of both does not matter.
    straight = _way(turns, centres, radius, before, after)
    between = straight + 2.0 * bent * int((body.pairs[pair] < body.moving).sum())
    might = np.zeros(len(before), dtype=bool)
    exact, missing = np.zeros((2, len(poses)), dtype=bool)
    for tried in range(2 * len(poses) + 1):
        short = least[before] + least[after] - between < wanted
        if not short.any():
            return False, might
        for way in np.flatnonzero(short & exact[before] & exact[after]):
            start, end = [(turns[state], places[state], float(least[state])) for state in (before[way], after[way])]
            if _touches_between(body, pair, start, end, float(straight[way]), wanted):
                return True, might
            might[way], between[way] = True, -np.inf
        short &= between > -np.inf
        # States whose distance is bounded but not known, beside a path that is not cleared yet.
        missing[:] = False
        missing[before[short]] = missing[after[short]] = True
        missing &= ~exact
        if not missing.any():
            continue
        if tried < _ROUNDS:
            states = [int(np.where(missing, least, np.inf).argmin())]
        else:
            states = np.flatnonzero(missing).tolist()
        for state in states:
            found = body.distance(pair, turns[state], places[state])
            if tried < _ROUNDS:
                away = _way(turns, centres, radius, state, slice(None))
                least = np.maximum(least, found - away)
            least[state], exact[state] = found, True
    raise AssertionError("each round computes a distance")


def _touches_between(body: Body, pair: int, start: _Stands, end: _Stands, way: float, wanted: float) -> bool:
    """Halves the path until it is short: two bodies that are as near as the path is long need not meet."""
    if start[2] + end[2] - way >= wanted:
        return False
    if 2.0 * min(start[2], end[2]) < wanted:
        return True
    if way < _SHORT_WAY:
        return False
    turn, place = (start[0] + end[0]) / 2.0, (start[1] + end[1]) / 2.0
    half = (turn, place, body.distance(pair, turn, place))
    halves = ((start, half), (half, end))
    return any(_touches_between(body, pair, first, second, way / 2.0, wanted) for first, second in halves)


def _way(turns: np.ndarray, centres: np.ndarray, radius: float, start, end) -> np.ndarray:
    """An upper bound of the motion of any point of a ball between two placements, metres."""
    turn = turns[end] - turns[start]
    # For a rotation by an angle a, the difference of the matrices has the norm 2 sqrt(2) sin(a/2), and a point moves by
    # 2 r sin(a/2).
    turned = np.sqrt(np.einsum("kij,kij->k", turn, turn) / 2.0) * radius
    return np.linalg.norm(centres[end] - centres[start], axis=-1) + turned
