"""Forward and inverse kinematics of an arm from its URDF, by Pinocchio."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pinocchio

from stvla_ros.control.safety.kinematics import Unreachable
from stvla_ros.errors import InputError, reason_of
from stvla_ros.robots.joint_chain import JointChain
from stvla_ros.robots.urdf_geometry import make_skeleton, read_geometry
from stvla_ros.safe_files import check_limit, read_bytes

# Metres and radians by which the tool may miss the wanted pose.
_TRANSLATION_TOLERANCE, _ROTATION_TOLERANCE = 2e-4, 2e-3
_MOST_ITERATIONS = 60
# Levenberg-Marquardt: smallest damping, and its factors after success and failure.
_DAMPING, _EASE, _STIFFEN = 1e-6, 0.3, 4.0
# A coordinate that would move farther than this for one command, radians, is on another branch, or near a singularity.
_FARTHEST = 0.6
# Smallest singular value of the Jacobian (metres of tool way counted as 1 / _LENGTH radians) below which a direction of
# the tool is practically lost.
_SINGULAR = 0.03
_LENGTH = 0.25
_WEIGHTS = np.array([1.0 / _LENGTH] * 3 + [1.0] * 3)


class UrdfArm:
    """
    :param urdf: file of the URDF, or the XML itself (``robot_description``).
    :param joints: names of the moving joints, in the order of every position; all others stay at zero.
    :param tool_frame: link whose origin is the tool point.
    :raises InputError: naming the URDF and its fault.
    """

    def __init__(self, urdf: str | Path, joints: Sequence[str], tool_frame: str) -> None:
        try:
            self._build(urdf, joints, tool_frame)
        except (ValueError, RuntimeError) as error:  # Pinocchio's, and InputError
            what = "robot_description" if is_text(urdf) else urdf
            raise InputError(f"urdf {what}: {reason_of(error, longest=400)}") from None

    def _build(self, urdf: str | Path, joints: Sequence[str], tool_frame: str) -> None:
        text, folder = read_urdf(urdf)
        whole = model_of(text)
        model, others = reduced_model(whole, joints, tool_frame)
        self.names = tuple(joints)
        self._model, self._data = model, model.createData()
        # The place of each of our joints in the URDF's own order.
        self._order = np.array([model.joints[model.getJointId(name)].idx_q for name in joints])
        self._chain = JointChain(model, self._order)
        self._tool = model.getFrameId(tool_frame)
        self.skeleton = make_skeleton(whole, read_geometry(whole, text, folder), model, others, self._tool)

    def copy(self) -> "UrdfArm":
        other = copy.copy(self)
        other._data = self._model.createData()
        return other

    @property
    def position_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The URDF's own limits: lower and upper, (n,) each, radians."""
        return self._model.lowerPositionLimit[self._order], self._model.upperPositionLimit[self._order]

    @property
    def velocity_limits(self) -> np.ndarray:
        """The URDF's own limits, (n,) radians a second; infinite if it has none."""
        limits = self._model.velocityLimit[self._order]
        return np.where(limits > 0.0, limits, np.inf)

    def tool_pose(self, position: np.ndarray) -> np.ndarray:
        pinocchio.forwardKinematics(self._model, self._data, self._reordered(position))
        return pinocchio.updateFramePlacement(self._model, self._data, self._tool).homogeneous.copy()

    def body_poses(self, positions: np.ndarray) -> np.ndarray:
        return self._chain.poses(positions)

    def inverse(self, pose: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """The position for a tool pose, by Levenberg-Marquardt from ``seed``. It is near ``seed``, or none is found.

        :raises Unreachable: for a pose out of reach, beyond a joint's limit, or near a singularity.
        """
        goal = pinocchio.SE3(np.asarray(pose, dtype=np.float64))
        lower, upper = self.position_limits
        position, damping = np.array(seed, dtype=np.float64), 1e-3
        error, jacobian = self._error(position, goal)
        size, unit = _size(_WEIGHTS * error), np.eye(len(position))
        for _ in range(_MOST_ITERATIONS):
            if _size(error[:3]) < _TRANSLATION_TOLERANCE and _size(error[3:]) < _ROTATION_TOLERANCE:
                return self._checked(position, seed, jacobian)
            weighed = _WEIGHTS[:, None] * jacobian
            step = np.linalg.solve(weighed.T @ weighed + damping * unit, weighed.T @ (_WEIGHTS * error))
            tried = np.minimum(np.maximum(position + step, lower), upper)
            new_error, new_jacobian = self._error(tried, goal)
            if (new_size := _size(_WEIGHTS * new_error)) < size:
                position, error, jacobian, size = tried, new_error, new_jacobian, new_size
                damping = max(damping * _EASE, _DAMPING)
            else:
                damping *= _STIFFEN
        raise Unreachable(f"out of reach: the tool would miss the pose by {_size(error[:3]) * 1000:.1f} mm")

    def _checked(self, position: np.ndarray, seed: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        farthest = int(np.abs(position - seed).argmax())
        if abs(position[farthest] - seed[farthest]) > _FARTHEST:
            raise Unreachable(f"singularity: {self.names[farthest]} would turn too far for one command")
        smallest = _smallest_singular_value(jacobian)
        if smallest < _SINGULAR:
            _, jacobian_before = self._error(seed, pinocchio.SE3.Identity())
            if smallest < _smallest_singular_value(jacobian_before):
                raise Unreachable("singularity: the arm would lose a direction of motion")
        return position

    def _reordered(self, position: np.ndarray) -> np.ndarray:
        own = np.empty(self._model.nq)
        own[self._order] = position
        return own

    def _error(self, position: np.ndarray, goal: pinocchio.SE3) -> tuple[np.ndarray, np.ndarray]:
        """The remaining error, (6,) metres and radians in the base frame, and its Jacobian (6, n)."""
        own = self._reordered(position)
        jacobian = pinocchio.computeFrameJacobian(
            self._model, self._data, own, self._tool, pinocchio.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        now = pinocchio.updateFramePlacement(self._model, self._data, self._tool)
        turn = pinocchio.log3(goal.rotation @ now.rotation.T)
        return np.concatenate([goal.translation - now.translation, turn]), jacobian[:, self._order]


def _size(vector: np.ndarray) -> float:
    """The vector's length; for a few numbers, np.linalg.norm takes three times as long."""
    return math.sqrt(vector.dot(vector))


def _smallest_singular_value(jacobian: np.ndarray) -> float:
    return float(np.linalg.svd(_WEIGHTS[:, None] * jacobian, compute_uv=False)[-1])


def is_text(urdf: str | Path) -> bool:
    return str(urdf).lstrip().startswith("<")


def read_urdf(urdf: str | Path) -> tuple[str, Path | None]:
    """The XML, and the folder that file names in it are relative to."""
    if is_text(urdf):
        return str(urdf), None
    file = Path(urdf)
    try:
        return read_bytes(file, "xml_bytes").decode("utf-8", "surrogateescape"), file.parent
    except FileNotFoundError:
        raise InputError("expected a URDF file, there is none") from None
    except OSError as error:
        raise InputError(f"expected a URDF file ({reason_of(error)})") from None


def reduced_model(whole: pinocchio.Model, joints: Sequence[str], tool_frame: str) -> tuple[pinocchio.Model, list[int]]:
    """The model in which these joints move alone, and the numbers of the others, which stay at zero.

    :raises InputError: for a joint or link that is not there, or a joint with more than one coordinate.
    """
    for name in joints:
        if not whole.existJointName(name):
            raise InputError(f"expected a joint {name}, it has {', '.join(list(whole.names)[1:])}")
    others = [number for number, name in enumerate(whole.names) if number and name not in joints]
    model = pinocchio.buildReducedModel(whole, others, pinocchio.neutral(whole))
    if not model.existFrame(tool_frame):
        raise InputError(f"expected a link {tool_frame}, it has none of this name")
    if model.nq != model.nv or model.nq != len(joints):
        raise InputError("expected joints with limits and one coordinate each (no continuous ones)")
    return model, others


def model_of(text: str) -> pinocchio.Model:
    check_limit("xml_bytes", len(text), "it", "bytes")
    # urdfdom builds its tree by functions that call themselves for every joint of a chain.
    check_limit("robot_joints", text.count("<joint"), "it", "joints")
    try:
        return pinocchio.buildModelFromXML(text)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"expected a URDF, got something else ({reason_of(error)})") from None
