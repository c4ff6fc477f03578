"""Computes the poses of an arm's bodies in many positions at once, with one product of matrices for each joint."""

import numpy as np
import pinocchio


class JointChain:
    """The chain of a model whose joints have one coordinate each: they turn about an axis, or slide along one.

    :param order: (n,) place of each coordinate in the model's own positions.
    """

    def __init__(self, model: pinocchio.Model, order: np.ndarray) -> None:
        self._parents = list(model.parents)
        # The coordinate that moves each body, except the base.
        self._columns = [int(np.flatnonzero(order == joint.idx_q)[0]) for joint in list(model.joints)[1:]]
        placements, axes = [each.homogeneous for each in list(model.jointPlacements)[1:]], _axes(model)
        turns = np.array([each[:3, :3] for each in placements]).reshape(-1, 3, 3)
        crossed = np.array([pinocchio.skew(axis) for axis in axes[:, 3:]]).reshape(-1, 3, 3)
        # Rodrigues' formula: a rotation by q about the axis a is 1 + sin q [a] + (1 - cos q) [a]^2.
        self._still = np.array(placements).reshape(-1, 4, 4)
        self._with_sine, self._with_cosine = np.zeros((2, *self._still.shape))
        self._with_sine[:, :3, :3] = turns @ crossed
        self._with_cosine[:, :3, :3] = turns @ crossed @ crossed
        self._slides = (turns @ axes[:, :3, None])[..., 0]

    def poses(self, positions: np.ndarray) -> np.ndarray:
        """(k, b, 4, 4) poses of all bodies at the positions (k, n); the base's is the identity."""
        angles = positions[:, self._columns, None, None]
        joints = self._still + np.sin(angles) * self._with_sine + (1.0 - np.cos(angles)) * self._with_cosine
        joints[..., :3, 3] += angles[..., 0] * self._slides
        found = np.empty((len(positions), len(self._parents), 4, 4))
        found[:, 0] = np.eye(4)
        for body, parent in enumerate(self._parents[1:], start=1):
            if parent:
                np.matmul(found[:, parent], joints[:, body - 1], out=found[:, body])
            else:
                found[:, body] = joints[:, body - 1]
        return found


def _axes(model: pinocchio.Model) -> np.ndarray:
    """(b - 1, 6) for each joint, in its own frame: the axis along which it slides, or zero, and the axis about which it
    turns, or zero.
    """
    data, zero = model.createData(), pinocchio.neutral(model)
    pinocchio.computeJointJacobians(model, data, zero)
    found = np.zeros((model.njoints - 1, 6))
    for body in range(1, model.njoints):
        own = pinocchio.getJointJacobian(model, data, body, pinocchio.ReferenceFrame.LOCAL)
        found[body - 1] = own.reshape(6, model.nv)[:, model.joints[body].idx_v]
    return found
