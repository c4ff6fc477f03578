"""Random object placements for demonstrations, kept away from those of the evaluation.

Positions are in metres in the scene's own frame, where the benchmark defines its placements; z is up. A placement is
near an official one when the object to move is within ``CLEARANCE_M`` of it and turned by less than ``CLEARANCE_RAD``
from it. Such a placement is drawn again, wherever the other object stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.sim.environment import HALVES

# The camera looks along the table, y grows to its right.
LEFT, RIGHT = HALVES
CLEARANCE_M = 0.005
CLEARANCE_RAD = np.deg2rad(5.0)
_TRIES = 1000


@dataclass(frozen=True)
class Region:
    """The area in which a task's objects may stand.

    :param x, y: (low, high) of the object to move, metres.
    :param goal: whether the goal is drawn from the same box; otherwise it stays at its official place.
    :param apart: smallest distance between the two, metres.
    :param turn: largest rotation of the object from an official orientation about the vertical, radians.
    :param goal_turn: the same for the goal.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    goal: bool
    apart: float
    turn: float
    goal_turn: float = 0.0

    def half(self, name: str) -> "Region":
        """The part of the region in one half of the table. :param name: one of ``HALVES``."""
        low, high = self.y
        return replace(self, y=(low, self._middle) if name == LEFT else (self._middle, high))

    def half_of(self, y: float) -> str:
        """The half in which an object stands, one of ``HALVES``. :param y: its position, metres."""
        return LEFT if y < self._middle else RIGHT

    @property
    def _middle(self) -> float:
        return sum(self.y) / 2


# The boxes reach 2 to 3 cm beyond the benchmark's outermost placements (arXiv 2405.05941, in ManiSkill 3's version).
# The eggplant's reaches 1 cm: it must not lean on the sink's wall. The distances keep objects from being placed inside
# each other.
REGIONS: Mapping[str, Region] = {
    "stack_cube": Region((-0.28, -0.04), (-0.12, 0.12), True, 0.07, np.deg2rad(20), np.deg2rad(20)),
    "stack_cube_reversed": Region((-0.28, -0.04), (-0.12, 0.12), True, 0.07, np.deg2rad(20), np.deg2rad(20)),
    "carrot_on_plate": Region((-0.26, -0.06), (-0.10, 0.10), True, 0.13, np.deg2rad(30)),
    "spoon_on_towel": Region((-0.26, -0.06), (-0.10, 0.10), True, 0.13, np.deg2rad(30)),
    # Upstream's script has the can at x -0.35 to -0.12 and y -0.02 to 0.42.
    "google_robot_pick_coke_can": Region((-0.37, -0.10), (-0.04, 0.44), False, 0.0, np.deg2rad(30)),
    "eggplant_in_basket": Region((-0.125, -0.085), (0.18, 0.23), False, 0.0, np.deg2rad(22)),
}


@dataclass(frozen=True, eq=False)
class Placement:
    """Poses of the object to move and, in tasks that have one, of the goal object.

    :param positions: (1 or 2, 3) metres.
    :param quaternions: (1 or 2, 4), w first.
    """

    positions: np.ndarray
    quaternions: np.ndarray


def draw_placement(region: Region, official: list[Placement], random: np.random.Generator) -> Placement:
    """A random placement in the region, not near any official one.

    :param official: official placements, at least one; the random ones take over their heights and orientations.
    """
    for _ in range(_TRIES):
        start = official[random.integers(len(official))]
        positions, quaternions = start.positions.copy(), start.quaternions.copy()
        positions[0, :2] = random.uniform(*np.transpose([region.x, region.y]))
        if region.goal:
            positions[1, :2] = random.uniform(*np.transpose([region.x, region.y]))
        for row, limit in zip(range(len(quaternions)), (region.turn, region.goal_turn), strict=False):
            quaternions[row] = _turned(quaternions[row], random.uniform(-limit, limit))
        placement = Placement(positions, quaternions)
        apart = np.linalg.norm(positions[0, :2] - positions[1:, :2], axis=1)
        if (apart >= region.apart).all() and not any(is_near(placement, other) for other in official):
            return placement
    raise AssertionError("no free placement: the region is too small")


def is_near(placement: Placement, official: Placement, symmetry: int = 1) -> bool:
    """Whether the object to move stands as in the official placement, within the clearances.

    :param symmetry: number of equal turns of the object: it looks the same after 1/symmetry of a turn about the
        vertical.
    """
    if np.linalg.norm(placement.positions[0] - official.positions[0]) >= CLEARANCE_M:
        return False
    return any(
        _angle(_turned(placement.quaternions[0], 2 * np.pi * step / symmetry), official.quaternions[0]) < CLEARANCE_RAD
        for step in range(symmetry)
    )


def _turned(quaternion: np.ndarray, angle: float) -> np.ndarray:
    """The orientation (w first), turned about the vertical."""
    turned = Rotation.from_euler("z", angle) * Rotation.from_quat(quaternion, scalar_first=True)
    return turned.as_quat(scalar_first=True)


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        (Rotation.from_quat(a, scalar_first=True) * Rotation.from_quat(b, scalar_first=True).inv()).magnitude()
    )
