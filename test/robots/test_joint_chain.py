"""Poses of many positions at once, against Pinocchio's of each."""

import numpy as np
import pinocchio
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from tolerance import assert_same_but_for_rounding

from stvla_ros.robots.joint_chain import JointChain

numbers = st.floats(-1.0, 1.0)
vectors = st.tuples(numbers, numbers, numbers)
axes = vectors.filter(lambda axis: np.linalg.norm(axis) > 0.1)
# Of each joint: how it moves, about or along what, where it stands, and which of the bodies before carries it.
joints = st.lists(
    st.tuples(st.sampled_from(["revolute", "prismatic"]), axes, vectors, vectors, st.integers(0, 7)),
    min_size=1,
    max_size=8,
)


def model_of(described: list[tuple]) -> pinocchio.Model:
    lines = ['<robot name="arm"><link name="link0"/>']
    for number, (kind, axis, place, turn, carrier) in enumerate(described, start=1):
        inertia = '<inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/>'
        lines.append(f'<link name="link{number}"><inertial><mass value="1"/>{inertia}</inertial></link>')
        lines.append(f'<joint name="joint{number}" type="{kind}"><parent link="link{carrier % number}"/>')
        lines.append(f'<child link="link{number}"/><origin xyz="{_words(place)}" rpy="{_words(turn)}"/>')
        axis = axis / np.linalg.norm(axis)
        lines.append(f'<axis xyz="{_words(axis)}"/><limit lower="-3" upper="3" effort="1" velocity="1"/></joint>')
    return pinocchio.buildModelFromXML("".join([*lines, "</robot>"]))


def _words(values) -> str:
    return " ".join(f"{value:.17g}" for value in values)


@examples(quick=100)
@given(described=joints, seed=st.integers(0, 2**32 - 1))
def test_every_body_is_where_pinocchio_has_it_whatever_the_joints_and_their_order(described, seed) -> None:
    random, model = np.random.default_rng(seed), model_of(described)
    order, data = random.permutation(model.nq), model.createData()
    positions = random.uniform(-3.0, 3.0, (3, model.nq))
    found = JointChain(model, order).poses(positions)
    for position, poses in zip(positions, found, strict=True):
        own = np.empty(model.nq)
        own[order] = position
        pinocchio.forwardKinematics(model, data, own)
        expected = np.stack([placement.homogeneous for placement in data.oMi])
        assert_same_but_for_rounding(poses, expected, products=len(described), dtype=np.float64)


def test_no_position_has_no_poses() -> None:
    model = model_of([("revolute", (0, 0, 1), (0, 0, 0), (0, 0, 0), 0)])
    assert JointChain(model, np.array([0])).poses(np.zeros((0, 1))).shape == (0, 2, 4, 4)


def test_a_slide_moves_along_its_own_axis_and_turns_nothing() -> None:
    model = model_of([("prismatic", (0, 1, 0), (0.5, 0, 0), (0, 0, np.pi / 2), 0)])
    pose = JointChain(model, np.array([0])).poses(np.array([[0.2]]))[0, 1]
    assert pose[:3, 3] == pytest.approx([0.3, 0.0, 0.0])
    assert pose[:3, :3] == pytest.approx(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), abs=1e-12)
