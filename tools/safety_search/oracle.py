"""Computes the places of a robot's parts independently of the gate: by Pinocchio and coal from the maker's own meshes,
or by two lines for a robot that consists of coordinates alone.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import coal
import numpy as np
import pinocchio
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.limits import Box

# Directions in which a mesh's outermost corner is kept: the hull of these corners is within the mesh's own.
_DIRECTIONS = 150
# Number of positions that tell which parts always touch.
_DRAWN = 100
# Distances beyond this are not computed, metres.
_NEAR = 0.02


class Oracle(Protocol):
    def tools(self, positions: np.ndarray) -> np.ndarray:
        """:returns: (k, 4, 4) poses of the tool at positions (k, n)."""
        ...

    def corners(self, positions: np.ndarray) -> Mapping[str, np.ndarray]:
        """:returns: (k, m, 3) corners of each moving part, by its name."""
        ...

    def self_depths(self, positions: np.ndarray) -> np.ndarray:
        """:returns: (k,) penetration of parts beyond the intended one, metres; 0 if there is none."""
        ...

    def box_depths(self, positions: np.ndarray, boxes: Mapping[str, Box]) -> np.ndarray:
        """:returns: (k,) penetration of any moving part into any of the boxes, metres; 0 outside."""
        ...


class PointOracle:
    """A tool without a form, moved along and about three axes. :param reference: (3, 3) orientation at zero."""

    def __init__(self, reference: np.ndarray) -> None:
        self._reference = reference

    def tools(self, positions: np.ndarray) -> np.ndarray:
        poses = np.tile(np.eye(4), (len(positions), 1, 1))
        poses[:, :3, :3] = Rotation.from_rotvec(positions[:, 3:]).as_matrix() @ self._reference
        poses[:, :3, 3] = positions[:, :3]
        return poses

    def corners(self, positions: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"tool": positions[:, None, :3]}

    def self_depths(self, positions: np.ndarray) -> np.ndarray:
        return np.zeros(len(positions))

    def box_depths(self, positions: np.ndarray, boxes: Mapping[str, Box]) -> np.ndarray:
        points = positions[:, :3]
        depths = [np.minimum(points - box.low, box.high - points).min(axis=1) for box in boxes.values()]
        return np.maximum(np.max(depths, axis=0, initial=0.0), 0.0) if depths else np.zeros(len(points))


class MeshOracle:
    """
    :param urdf: file of the URDF, with collision meshes beside it.
    :param joints: names of the moving joints, in the order of every position; all others stay at the positions in
        ``fixed``, or at zero.
    :param known: (k, n) positions at which the arm is meant to be: parts that touch there may do so.
    """

    def __init__(
        self, urdf: Path, joints: Sequence[str], tool: str, fixed: Mapping[str, float], known: np.ndarray
    ) -> None:
        full = pinocchio.buildModelFromUrdf(str(urdf))
        meshes = pinocchio.buildGeomFromUrdf(
            full, str(urdf), pinocchio.GeometryType.COLLISION, package_dirs=str(urdf.parent)
        )
        still = pinocchio.neutral(full)
        for name, value in fixed.items():
            still[full.joints[full.getJointId(name)].idx_q] = value
        others = [full.getJointId(name) for name in full.names[1:] if name not in joints]
        self._model, meshes = pinocchio.buildReducedModel(full, meshes, others, still)
        self._data = self._model.createData()
        self._order = [self._model.joints[self._model.getJointId(name)].idx_q for name in joints]
        self._tool = self._model.getFrameId(tool)
        self.names = [part.name for part in meshes.geometryObjects]
        self._joints = [part.parentJoint for part in meshes.geometryObjects]
        self._points = [_outermost(part) for part in meshes.geometryObjects]
        self._shapes = [_convex(points) for points in self._points]
        self._radii = [np.linalg.norm(points - points.mean(axis=0), axis=1).max() for points in self._points]
        parents = self._model.parents
        self._pairs = [
            (one, other)
            for one, other in itertools.combinations(range(len(self.names)), 2)
            if self._joints[one] != self._joints[other]
            and parents[self._joints[one]] != self._joints[other]
            and parents[self._joints[other]] != self._joints[one]
        ]
        self._last: _PlacedParts | None = None
        self._allowed = np.zeros(len(self._pairs))
        lower, upper = self._model.lowerPositionLimit[self._order], self._model.upperPositionLimit[self._order]
        drawn = np.random.default_rng(0).uniform(lower, upper, (_DRAWN, len(joints)))
        always = self._depths(drawn).min(axis=0) > 0.0
        self._pairs = [pair for pair, touches in zip(self._pairs, always) if not touches]
        self._allowed = self._depths(known).max(axis=0, initial=0.0)

    # --- what the measures ask ----------------------------------------------------------------------------------------

    def tools(self, positions: np.ndarray) -> np.ndarray:
        placed = self._place(positions)
        return placed.tools[placed.which]

    def corners(self, positions: np.ndarray) -> Mapping[str, np.ndarray]:
        placed = self._place(positions)
        return {name: corners[placed.which] for name, corners in placed.corners.items()}

    def self_depths(self, positions: np.ndarray) -> np.ndarray:
        return np.maximum(self._depths(positions) - self._allowed, 0.0).max(axis=1, initial=0.0)

    def box_depths(self, positions: np.ndarray, boxes: Mapping[str, Box]) -> np.ndarray:
        shapes = [(_middle(box), coal.Box(np.subtract(box.high, box.low))) for box in boxes.values()]
        placed = self._place(positions)
        found = np.zeros(len(placed.tools))
        for state in range(len(found)) if shapes else ():
            for number, joint in enumerate(self._joints):
                for middle, shape in shapes if joint else ():
                    there = coal.Transform3s(np.eye(3), middle)
                    found[state] = max(found[state], -self._distance(placed, state, number, shape, there))
        return found[placed.which]

    # --- geometry -----------------------------------------------------------------------------------------------------

    def _place(self, positions: np.ndarray) -> "_PlacedParts":
        """One measure after the other asks about the same array."""
        if self._last is None or self._last.positions is not positions:
            self._last = self._placed(positions)
        return self._last

    def _placed(self, positions: np.ndarray) -> "_PlacedParts":
        fresh = np.ones(len(positions), dtype=bool)
        fresh[1:] = (np.diff(positions, axis=0) != 0.0).any(axis=1)
        own, count = np.empty(self._model.nq), int(fresh.sum())
        joints, tools = np.empty((count, self._model.njoints, 4, 4)), np.empty((count, 4, 4))
        for state, position in enumerate(positions[fresh]):
            own[self._order] = position
            pinocchio.forwardKinematics(self._model, self._data, own)
            tools[state] = pinocchio.updateFramePlacement(self._model, self._data, self._tool).homogeneous
            joints[state] = [place.homogeneous for place in self._data.oMi]
        corners, middles = {}, np.empty((count, len(self.names), 3))
        for number, (name, points) in enumerate(zip(self.names, self._points)):
            place = joints[:, self._joints[number]]
            middles[:, number] = place[:, :3, :3] @ points.mean(axis=0) + place[:, :3, 3]
            if self._joints[number]:
                corners[name] = points @ place[:, :3, :3].transpose(0, 2, 1) + place[:, None, :3, 3]
        return _PlacedParts(positions, np.cumsum(fresh) - 1, joints, tools, corners, middles)

    def _depths(self, positions: np.ndarray) -> np.ndarray:
        """(k, pairs) penetration of each pair, metres; 0 if there is none."""
        placed = self._place(positions)
        found = np.zeros((len(placed.tools), len(self._pairs)))
        for pair, (one, other) in enumerate(self._pairs):
            apart = np.linalg.norm(placed.middles[:, one] - placed.middles[:, other], axis=1)
            for state in np.flatnonzero(apart < self._radii[one] + self._radii[other]).tolist():
                there = _transform(placed.joints[state, self._joints[other]])
                found[state, pair] = max(0.0, -self._distance(placed, state, one, self._shapes[other], there))
        return found[placed.which]

    def _distance(
        self, placed: "_PlacedParts", state: int, number: int, shape: coal.CollisionGeometry, there: coal.Transform3s
    ) -> float:
        """:param there: place of the shape."""
        here = _transform(placed.joints[state, self._joints[number]])
        return coal.distance(self._shapes[number], here, shape, there, coal.DistanceRequest(), coal.DistanceResult())


@dataclass(frozen=True, eq=False)
class _PlacedParts:
    """A robot's parts in u states: those of k successive positions, without repetitions.

    :param positions: (k, n).
    :param which: (k,) index of each position's state.
    :param joints: (u, joints, 4, 4) poses of the joints.
    :param tools: (u, 4, 4) poses of the tool.
    :param corners: corners (u, m, 3) of each moving part, by its name.
    :param middles: (u, parts, 3) middles of the parts.
    """

    positions: np.ndarray
    which: np.ndarray
    joints: np.ndarray
    tools: np.ndarray
    corners: Mapping[str, np.ndarray]
    middles: np.ndarray


def _outermost(part: pinocchio.GeometryObject) -> np.ndarray:
    """(m, 3) outermost corners of a mesh, in the frame of the joint that moves it."""
    corners = np.asarray(part.geometry.vertices())  # in metres: the scale is in them
    corners = corners @ part.placement.rotation.T + part.placement.translation
    corners = corners[ConvexHull(corners).vertices]
    number = np.arange(_DIRECTIONS) + 0.5
    height, turn = 1.0 - 2.0 * number / _DIRECTIONS, np.pi * (1.0 + np.sqrt(5.0)) * number
    wide = np.sqrt(1.0 - height**2)
    directions = np.stack([wide * np.cos(turn), wide * np.sin(turn), height], axis=1)
    directions = np.concatenate([directions, np.eye(3), -np.eye(3)])
    return corners[np.unique((corners @ directions.T).argmax(axis=0))]


def _convex(corners: np.ndarray) -> coal.Convex:
    points, facets = coal.StdVec_Vec3s(), coal.StdVec_Triangle()
    for corner in corners:
        points.append(corner)
    for facet in ConvexHull(corners).simplices:
        facets.append(coal.Triangle(*map(int, facet)))
    return coal.Convex(points, facets)


def _transform(pose: np.ndarray) -> coal.Transform3s:
    return coal.Transform3s(pose[:3, :3], pose[:3, 3])


def _middle(box: Box) -> np.ndarray:
    return (np.array(box.low) + box.high) / 2.0
