"""Hulls hold what they are around, have few corners, and come from a URDF whatever its collision elements are."""

from pathlib import Path

import numpy as np
import pinocchio
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from stvla_ros.control.safety.kinematics import Hull
from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.hulls import MOST_CORNERS, ball_corners, box_corners, cylinder_corners, hull_around
from stvla_ros.robots.urdf_arm import UrdfArm

DESCRIPTION = find_embodiment("widowx").driver.arm
MICROMETRE = 1e-6


def beyond(points: np.ndarray, corners: np.ndarray) -> float:
    """How far the points are outside the hull of the corners, metres; negative inside."""
    planes = ConvexHull(corners).equations
    return float((points @ planes[:, :3].T + planes[:, 3]).max())


@examples(quick=40)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 400), size=st.floats(0.005, 0.3))
def test_a_hull_holds_all_points_with_few_corners(seed: int, count: int, size: float) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 3)) * size
    corners = hull_around(points)
    assert len(corners) <= MOST_CORNERS
    assert beyond(points, corners) < MICROMETRE


def test_a_flat_thing_has_a_hull() -> None:
    flat = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert beyond(flat, hull_around(flat)) < MICROMETRE


def test_round_things_lie_within_their_corners() -> None:
    directions = np.random.default_rng(0).normal(size=(2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert beyond(0.1 * directions, ball_corners(0.1)) < MICROMETRE
    assert np.linalg.norm(ball_corners(0.1), axis=1).max() < 0.125
    round_ = directions / np.linalg.norm(directions[:, :2], axis=1, keepdims=True) * [0.1, 0.1, 0.0]
    for z in (-0.2, 0.2):
        assert beyond(round_ + [0.0, 0.0, z], cylinder_corners(0.1, 0.2)) < MICROMETRE
    assert np.abs(box_corners(np.array([1.0, 2.0, 3.0]))).min(axis=0).tolist() == [1.0, 2.0, 3.0]


def hull_of(arm: UrdfArm, body: int) -> list[Hull]:
    return [hull for hull in arm.skeleton.hulls if hull.body == body]


ARM = """<robot name="two"><link name="base"/>
<joint name="a" type="revolute"><parent link="base"/><child link="upper"/><axis xyz="0 0 1"/>
  <limit lower="-1" upper="1" velocity="1" effort="1"/></joint>
<link name="upper">{collision}</link>
<joint name="finger" type="prismatic"><parent link="upper"/><child link="tip"/><origin xyz="1 0 0"/><axis xyz="1 0 0"/>
  <limit lower="0.1" upper="0.3" velocity="1" effort="1"/></joint>
<link name="tip">{tip}</link></robot>"""


def arm_of(collision: str = "", tip: str = "") -> UrdfArm:
    return UrdfArm(ARM.format(collision=collision, tip=tip), ("a",), "tip")


@pytest.mark.parametrize(
    ("geometry", "low", "high"),
    [
        ('<box size="0.2 0.4 0.6"/>', [-0.1, -0.2, -0.3], [0.1, 0.2, 0.3]),
        ('<cylinder radius="0.1" length="0.6"/>', [-0.102, -0.102, -0.3], [0.102, 0.102, 0.3]),
        ('<sphere radius="0.1"/>', [-0.1] * 3, [0.1] * 3),
    ],
)
def test_primitives_are_guarded_where_their_element_has_them(geometry: str, low: list, high: list) -> None:
    moved = f'<collision><origin xyz="0 0 0.5"/><geometry>{geometry}</geometry></collision>'
    (hull,) = hull_of(arm_of(moved), 1)
    assert not hull.guessed and hull.name == "upper"
    assert hull.corners.min(axis=0) == pytest.approx(low + np.array([0.0, 0.0, 0.5]), abs=1e-3)
    assert hull.corners.max(axis=0) == pytest.approx(high + np.array([0.0, 0.0, 0.5]), abs=1e-3)


def test_a_finger_is_guarded_wherever_it_may_be() -> None:
    box = '<collision><geometry><box size="0.02 0.02 0.02"/></geometry></collision>'
    (hull,) = hull_of(arm_of(tip=box), 1)
    assert hull.corners[:, 0].min() == pytest.approx(1.1 - 0.01) and hull.corners[:, 0].max() == pytest.approx(1.31)


def test_a_link_without_geometry_is_guarded_by_its_frames() -> None:
    (hull,) = hull_of(arm_of(), 1)
    assert hull.guessed
    assert hull.corners[:, 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("collision", "message"),
    [
        (
            '<geometry><mesh filename="package://no_such/arm.stl"/></geometry>',
            "no_such/arm.stl could not be",
        ),
        ('<geometry><mesh filename="arm.stl"/></geometry>', "arm.stl could not be found"),
        ('<geometry><box size="a b c"/></geometry>', "link upper: expected collision elements that can be read"),
        ('<geometry><box size="200 1 1"/></geometry>', "link upper: expected a collision mesh in metres"),
    ],
)
def test_geometry_that_cannot_be_guarded_is_refused_by_its_name(collision: str, message: str) -> None:
    with pytest.raises(InputError, match=f"urdf robot_description: .*{message}"):
        arm_of(f"<collision>{collision}</collision>")


def test_the_widowxs_fingertips_reach_past_the_tool_point() -> None:
    arm = UrdfArm(DESCRIPTION.urdf, DESCRIPTION.joints, DESCRIPTION.tool_frame)
    reach = max(hull.corners[:, 0].max() for hull in hull_of(arm, 6)) - arm.skeleton.tool_offset[0, 3]
    assert reach == pytest.approx(0.0156, abs=2e-4)
    assert not any(hull.guessed for hull in arm.skeleton.hulls)


def test_the_widowxs_hulls_hold_the_meshes_that_they_were_made_from_within_8_mm(scenes: Path) -> None:
    folder = scenes / "data" / "robots" / "widowx"
    whole = pinocchio.buildModelFromUrdf(str(folder / "wx250s.urdf"))
    meshes = pinocchio.buildGeomFromUrdf(
        whole, str(folder / "wx250s.urdf"), pinocchio.GeometryType.COLLISION, package_dirs=[str(folder)]
    )
    own = UrdfArm(DESCRIPTION.urdf, DESCRIPTION.joints, DESCRIPTION.tool_frame)
    ours = own.body_poses(np.zeros((1, 6)))[0]
    for opening in (0.015, 0.026, 0.037):
        position = pinocchio.neutral(whole)
        position[6:] = opening
        data, placed = whole.createData(), meshes.createData()
        pinocchio.updateGeometryPlacements(whole, data, meshes, placed, position)
        for mesh, pose in zip(meshes.geometryObjects, placed.oMg):
            points = np.array(mesh.geometry.vertices()) @ pose.rotation.T + pose.translation
            body = min(mesh.parentJoint, 6)
            there = (points - ours[body][:3, 3]) @ ours[body][:3, :3]
            hulls = [hull.corners for hull in hull_of(own, body)]
            assert min(beyond(there, corners) for corners in hulls) < 2e-6, mesh.name
            if body < 6:
                assert beyond(hulls[0], there) < 0.008, mesh.name
