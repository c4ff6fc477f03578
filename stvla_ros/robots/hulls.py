"""Convex hulls with few corners around a robot's meshes and primitives."""

import numpy as np
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

# Largest number of corners of a hull: each corner is checked in every state of every motion.
MOST_CORNERS = 32
# A hull gets no more corners when it is nowhere farther than this from its content, metres.
_CLOSE = 0.001
# Least thickness of the hull around a flat or thin thing, metres: a hull without volume has no inside.
_THINNEST = 0.001
_SIDES = 16


def hull_around(points: np.ndarray) -> np.ndarray:
    """Corners (m, 3), at most :data:`MOST_CORNERS`, of a convex polytope that all points (k, 3) lie in.

    A box is cut by planes through the points' own convex hull, the farthest corner first. So the result always contains
    its content.
    """
    whole = _convex_hull(points)
    corners = whole.points[whole.vertices]
    if len(corners) <= MOST_CORNERS:
        return corners
    planes = np.concatenate([_box_planes(corners), np.empty((0, 4))])
    inside = corners.mean(axis=0)
    found = _corners(planes, inside)
    while True:
        stand_out = found @ whole.equations[:, :3].T + whole.equations[:, 3]
        corner, facet = np.unravel_index(stand_out.argmax(), stand_out.shape)
        if stand_out[corner, facet] < _CLOSE:
            return found
        planes = np.concatenate([planes, whole.equations[facet][None]])
        cut = _corners(planes, inside)
        if len(cut) > MOST_CORNERS:
            return found
        found = cut


def box_corners(half_size: np.ndarray) -> np.ndarray:
    """Corners (8, 3) of a box around the origin with these halves of its sides (3,), metres."""
    signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    return signs * half_size


def cylinder_corners(radius: float, half_length: float) -> np.ndarray:
    """Corners of a prism around a cylinder along z."""
    angles = 2.0 * np.pi * np.arange(_SIDES) / _SIDES
    ring = radius / np.cos(np.pi / _SIDES) * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([np.column_stack([ring, np.full(_SIDES, z)]) for z in (-half_length, half_length)])


def ball_corners(radius: float) -> np.ndarray:
    """Corners of a polytope around a ball: a cube whose edges and corners are cut off (26 faces)."""
    normals = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    normals = normals[normals.any(axis=1)]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return _corners(np.column_stack([normals, np.full(len(normals), -radius)]), np.zeros(3))


def _convex_hull(points: np.ndarray) -> ConvexHull:
    try:
        return ConvexHull(points)
    except QhullError:
        thick = points[:, None] + box_corners(np.full(3, _THINNEST / 2.0))
        return ConvexHull(thick.reshape(-1, 3))


def _box_planes(points: np.ndarray) -> np.ndarray:
    """(6, 4): outward normals and offsets of the box around points, as Qhull writes planes."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([np.column_stack([np.eye(3), -high]), np.column_stack([-np.eye(3), low])])


def _corners(planes: np.ndarray, inside: np.ndarray) -> np.ndarray:
    corners = HalfspaceIntersection(planes, inside).intersections
    # Where more than three planes meet, the corner appears once for each three of them.
    return np.unique(np.round(corners, 7), axis=0)
