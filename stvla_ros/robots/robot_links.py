"""The poses and shapes of all links of a robot, from its URDF and its joints, for the perception."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pinocchio
from scipy.spatial import ConvexHull

from stvla_ros.errors import InputError, reason_of
from stvla_ros.perception.robot_view import RobotShape, RobotView
from stvla_ros.robots.hulls import hull_around
from stvla_ros.robots.urdf_arm import is_text, model_of, read_urdf
from stvla_ros.robots.urdf_geometry import corners_of, read_geometry

_FINGER = "finger"  # part of the names of links whose tips are always followed
_TIP = 0.003  # metres: corners of a finger that are this little nearer to the palm belong to its tip, too
# Decimals of metres to which the camera's pose is rounded: its way through tf as a quaternion must not change the
# result.
_DECIMALS = 9

_FARTHEST = 1000.0  # radians and metres that no joint reaches

Parts = list[tuple[str, np.ndarray]]


class RobotLinks:
    """Links of one robot. Not thread-safe.

    :param urdf: file of the URDF, or the XML itself (``robot_description``).
    :raises InputError: naming the URDF and its fault.
    """

    base_link: str
    """Name of the URDF's first link, in whose frame the camera's pose is given."""
    shape: RobotShape

    def __init__(self, urdf: str | Path) -> None:
        try:
            self._build(urdf)
        except (ValueError, RuntimeError) as error:  # Pinocchio's, and InputError
            what = "robot_description" if is_text(urdf) else urdf
            raise InputError(f"urdf {what}: {reason_of(error, longest=400)}") from None

    def _build(self, urdf: str | Path) -> None:
        text, folder = read_urdf(urdf)
        self._model = model_of(text)
        self._data = self._model.createData()
        # The first joint belongs to the world.
        joints = list(zip(self._model.names, self._model.joints))[1:]
        self._joints = [(name, joint.idx_q) for name, joint in joints]
        if any(joint.nq != 1 for _, joint in joints):
            raise InputError("expected joints with limits and one coordinate each (no continuous ones)")
        bodies = [each for each in self._model.frames if each.type == pinocchio.FrameType.BODY]
        self.base_link = bodies[0].name
        parts: Parts = []
        for each in read_geometry(self._model, text, folder).geometryObjects:
            link = self._model.frames[each.parentFrame]
            # Its pose is given in the frame of the joint that carries the link.
            here = link.placement.inverse() * each.placement
            parts.append((link.name, corners_of(each.geometry) @ here.rotation.T + here.translation))
        self._frames = {link: self._model.getFrameId(link) for link, _ in parts}
        planes = tuple((link, ConvexHull(hull_around(points)).equations) for link, points in parts)
        self.shape = self._with_fingers(RobotShape(planes, (), np.zeros((0, 3)), "", np.zeros(3), 0.0), parts)

    def _with_fingers(self, shape: RobotShape, parts: Parts) -> RobotShape:
        """The shape with its marks. The tip of a finger is its part farthest from the palm's joint."""
        pinocchio.framesForwardKinematics(self._model, self._data, pinocchio.neutral(self._model))
        fingers = list(dict.fromkeys(link for link, _ in parts if _FINGER in link))
        palms = {self._model.parents[self._model.frames[self._frames[link]].parentJoint] for link in fingers}
        carriers = [link for link, frame in self._frames.items() if self._model.frames[frame].parentJoint in palms]
        if len(palms) != 1 or not carriers:
            return shape  # no fingers, or fingers that hang on each other
        palm, palm_link = palms.pop(), carriers[0]
        tips, in_palm = [], []
        for link in fingers:
            points = np.concatenate([points for of, points in parts if of == link])
            here = self._data.oMi[palm].inverse() * self._data.oMf[self._frames[link]]
            there = points @ here.rotation.T + here.translation
            far = np.linalg.norm(there, axis=1)
            tips.append(points[far > far.max() - _TIP].mean(axis=0))
            in_palm.append(there[far > far.max() - _TIP].mean(axis=0))
        to_link = self._model.frames[self._frames[palm_link]].placement.inverse()
        grasp = to_link.rotation @ np.mean(in_palm, axis=0) + to_link.translation
        marked = replace(
            shape, mark_links=(*fingers, palm_link), marks=np.array([*tips, grasp]), palm=palm_link, grasp=grasp
        )
        # All joints at their upper limits: the distances within the hand do not depend on the arm's.
        upper = self._model.upperPositionLimit
        pinocchio.framesForwardKinematics(self._model, self._data, np.where(np.abs(upper) < 100.0, upper, 0.0))
        return replace(marked, widest=RobotView(marked, self._poses(np.eye(4)), np.eye(3)).finger_gap)

    def view(self, joints: Mapping[str, float], base_from_camera: np.ndarray, intrinsics: np.ndarray) -> RobotView:
        """
        :param joints: positions in radians or metres, by the URDF's names.
        :param base_from_camera: (4, 4) pose of the camera's optical frame in the URDF's first link.
        :param intrinsics: (3, 3) of the picture.
        :raises InputError: for a joint that is missing, or whose position is not finite.
        """
        position = pinocchio.neutral(self._model)
        for name, place in self._joints:
            if name not in joints:
                raise InputError(f"joint_states: expected a position of {name}, got {', '.join(joints) or 'none'}")
            if not abs(joints[name]) <= _FARTHEST:
                raise InputError(f"joint_states: expected radians or metres of {name}, got {joints[name]:g}")
            position[place] = joints[name]
        pinocchio.framesForwardKinematics(self._model, self._data, position)
        camera_from_base = np.linalg.inv(np.round(base_from_camera, _DECIMALS))
        return RobotView(self.shape, self._poses(camera_from_base), intrinsics)

    def _poses(self, camera_from_base: np.ndarray) -> dict[str, np.ndarray]:
        """Poses of all links, with the joints as they were last set."""
        return {link: camera_from_base @ self._data.oMf[frame].homogeneous for link, frame in self._frames.items()}
