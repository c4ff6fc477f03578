"""The hulls of an arm's links, from the collision elements of its URDF."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import coal
import numpy as np
import pinocchio

from stvla_ros.control.safety.kinematics import Hull, Skeleton
from stvla_ros.errors import InputError, reason_of
from stvla_ros.robots.hulls import ball_corners, box_corners, cylinder_corners, hull_around
from stvla_ros.safe_files import check_limit, check_regular, plain_xml

# Largest distance of any part of an arm from its joint, metres: more means unscaled meshes in millimetres.
_FARTHEST = 10.0


def read_geometry(model: pinocchio.Model, text: str, folder: Path | None) -> pinocchio.GeometryModel:
    """
    :param text: text of the URDF.
    :param folder: folder that names of meshes are relative to; None for a URDF from a topic. ``package://`` is looked
        for in ROS's package paths (``AMENT_PREFIX_PATH``, ``ROS_PACKAGE_PATH``).
    :raises InputError: for a collision element whose mesh is missing or unreadable.
    """
    links = _links(text)
    for mesh in (mesh for link in links for mesh in link.iterfind("collision/geometry/mesh")):
        _check_mesh(mesh.get("filename", ""), folder)
    folders = [str(folder)] if folder else []
    kind = pinocchio.GeometryType.COLLISION
    try:
        geometry = pinocchio.buildGeomFromUrdfString(model, text, kind, package_dirs=folders)
    except (ValueError, RuntimeError, IndexError) as error:  # IndexError: no corners
        raise InputError(f"expected collision meshes that can be read ({reason_of(error, longest=300)})") from None
    # urdfdom reports what it does not understand on the standard error, and leaves it out.
    read = Counter(model.frames[each.parentFrame].name for each in geometry.geometryObjects)
    for link in links:
        if len(link.findall("collision")) != read[link.get("name", "")]:
            raise InputError(f"link {link.get('name')}: expected collision elements that can be read")
    return geometry


def _links(text: str) -> list[ElementTree.Element]:
    try:
        return list(ElementTree.fromstring(plain_xml(text.encode("utf-8", "surrogateescape"), "it")).iter("link"))
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"expected XML ({reason_of(error)})") from None


def _check_mesh(name: str, folder: Path | None) -> None:
    """Check a mesh before all of it is read. Pinocchio itself looks for missing ones, and for those below
    ``package://``.
    """
    file = Path(name.removeprefix("file://")) if "://" not in name.removeprefix("file://") else None
    if file is not None and (file.is_absolute() or folder) and ((folder or Path()) / file).exists():
        file = (folder or Path()) / file
        check_regular(file)
        check_limit("mesh_bytes", file.stat().st_size, str(file), "bytes")


def make_skeleton(
    whole: pinocchio.Model, geometry: pinocchio.GeometryModel, arm: pinocchio.Model, locked: Sequence[int], tool: int
) -> Skeleton:
    """
    :param whole: model with all joints of the URDF.
    :param geometry: geometry of ``whole``.
    :param arm: model with the moving joints alone; the others are at zero.
    :param locked: numbers of the other joints. The parts that they move are guarded at every position, so that a
        gripper's hulls hold for each opening: at the smallest, the middle and the largest position of their range, all
        of them together.
    :param tool: number of the tool's frame in ``arm``.
    :raises InputError: for a hull that is too large for a part of an arm.
    """
    corners: dict[tuple[str, int], list[np.ndarray]] = {}
    for position in _ranges(whole, locked):
        _, [placed] = pinocchio.buildReducedModel(whole, [geometry], list(locked), position)
        for number, each in enumerate(placed.geometryObjects):
            # First in the link's frame, then in the frame of the joint that carries the link.
            points = corners_of(each.geometry)
            corners.setdefault((each.name, number), []).append(_transformed(each.placement, points))
    hulls = []
    for (name, number), parts in corners.items():
        link, points = name.rpartition("_")[0], np.concatenate(parts)
        if not np.isfinite(points).all() or np.abs(points).max() > _FARTHEST:
            raise InputError(f"link {link}: expected a collision mesh in metres, within {_FARTHEST:g} m of its joint")
        hulls.append(Hull(link, placed.geometryObjects[number].parentJoint, hull_around(points)))
    bare = set(range(1, arm.njoints)) - {hull.body for hull in hulls}
    hulls += [_guessed(arm, body) for body in sorted(bare)]
    frame = arm.frames[tool]
    parents = tuple(int(parent) for parent in arm.parents)
    return Skeleton(parents, frame.parentJoint, frame.placement.homogeneous.copy(), tuple(hulls))


def _ranges(model: pinocchio.Model, locked: Sequence[int]) -> list[np.ndarray]:
    """Configurations of the whole model: the locked joints at the ends and in the middle of their ranges."""
    zero = pinocchio.neutral(model)
    lowest, highest = zero.copy(), zero.copy()
    for number in locked:
        joint = model.joints[number]
        part = slice(joint.idx_q, joint.idx_q + joint.nq)
        lower, upper = model.lowerPositionLimit[part], model.upperPositionLimit[part]
        # A wheel turns without end; it is taken for round.
        if joint.nq == joint.nv and np.abs([lower, upper]).max() < _FARTHEST:
            lowest[part], highest[part] = lower, upper
    return [lowest, (lowest + highest) / 2.0, highest] if len(locked) else [zero]


def corners_of(shape: coal.CollisionGeometry) -> np.ndarray:
    """(k, 3) points whose convex hull contains the shape, in its own frame; a mesh is scaled already."""
    if isinstance(shape, coal.Box):
        return box_corners(np.array(shape.halfSide))
    if isinstance(shape, coal.Sphere):
        return ball_corners(shape.radius)
    if isinstance(shape, coal.Cylinder):
        return cylinder_corners(shape.radius, shape.halfLength)
    if isinstance(shape, coal.Capsule):
        ends = np.array([[0.0, 0.0, -shape.halfLength], [0.0, 0.0, shape.halfLength]])
        return (ends[:, None] + ball_corners(shape.radius)).reshape(-1, 3)
    if isinstance(shape, coal.Convex):
        return np.array([shape.point(number) for number in range(shape.num_points)])
    return np.array(shape.vertices(), dtype=np.float64)


def _transformed(pose: pinocchio.SE3, points: np.ndarray) -> np.ndarray:
    return points @ pose.rotation.T + pose.translation


def _guessed(model: pinocchio.Model, body: int) -> Hull:
    """The hull of a body without collision elements: around its joint, the joints that it carries, and its frames."""
    points = [np.zeros(3)]
    points += [
        model.jointPlacements[child].translation for child in range(1, model.njoints) if model.parents[child] == body
    ]
    points += [frame.placement.translation for frame in model.frames if frame.parentJoint == body]
    return Hull(_link_of(model, body), body, np.unique(np.round(points, 9), axis=0), guessed=True)


def _link_of(model: pinocchio.Model, body: int) -> str:
    links = [each.name for each in model.frames if each.parentJoint == body and each.type == pinocchio.FrameType.BODY]
    return links[0] if links else model.names[body]
