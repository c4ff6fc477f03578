"""Pinhole geometry round trips and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.errors import InputError
from stvla_ros.perception.geometry import back_project, check_intrinsics, parse_pose, project, resize_points

BRIDGE = np.array([[623.588, 0, 319.501], [0, 623.588, 239.545], [0, 0, 1]])

focal = st.floats(50, 5000)
sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
pixels = hnp.arrays(np.float64, (7, 2), elements=st.floats(-100, 4000))
depths = hnp.arrays(np.float64, (7,), elements=st.floats(0.05, 50))


@st.composite
def intrinsics(draw: st.DrawFn) -> np.ndarray:
    return np.array([[draw(focal), 0, draw(st.floats(0, 2000))], [0, draw(focal), draw(st.floats(0, 2000))], [0, 0, 1]])


@given(intrinsics(), pixels, depths)
def test_projecting_a_back_projected_pixel_gives_the_pixel(k, points, depth):
    space = back_project(points, depth, k)
    np.testing.assert_allclose(project(space, k), points, atol=1e-6)
    np.testing.assert_array_equal(space[:, 2], depth)


@given(sizes, sizes, pixels)
def test_resizing_points_there_and_back_gives_them_again(old, new, points):
    np.testing.assert_allclose(resize_points(resize_points(points, old, new), new, old), points, atol=1e-6)


def test_the_corners_of_a_picture_stay_its_corners():
    corners = np.array([[-0.5, -0.5], [639.5, 479.5]])
    np.testing.assert_allclose(resize_points(corners, (640, 480), (224, 224)), [[-0.5, -0.5], [223.5, 223.5]])


def test_the_optical_axis_is_where_the_principal_point_is():
    np.testing.assert_allclose(back_project(np.array([319.501, 239.545]), np.array(2.0), BRIDGE), [0, 0, 2])


@pytest.mark.parametrize("depth", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_unknown_depth_has_no_place_in_space(depth):
    assert np.isnan(back_project(np.array([10.0, 20.0]), np.array(depth), BRIDGE)).all()


def test_points_behind_the_camera_have_no_pixel():
    assert np.isnan(project(np.array([[0.1, 0.1, -1.0], [0.1, 0.1, 0.0]]), BRIDGE)).all()


def _changed(row: int, column: int, value: float) -> np.ndarray:
    k = BRIDGE.copy()
    k[row, column] = value
    return k


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((3, 3)),
        _changed(0, 0, 0),
        _changed(1, 1, -5),
        _changed(0, 2, np.nan),
        _changed(1, 2, np.inf),
        _changed(2, 2, 2),
        _changed(0, 1, 3),
        np.eye(4),
        np.zeros(9),
        "fx",
        [[1.0, 0.0], [0.0]],
    ],
    ids=["uncalibrated", "fx=0", "fy<0", "nan", "inf", "scaled", "skewed", "4x4", "flat", "text", "ragged"],
)
def test_intrinsics_that_are_no_pinhole_are_refused(bad):
    with pytest.raises(InputError, match="intrinsics"):
        check_intrinsics(bad)


@pytest.mark.parametrize("size", [(0, 480), (640, -1), (640.5, 480), (640,)])
def test_a_size_that_is_not_positive_is_refused(size):
    with pytest.raises(InputError, match="from_size"):
        resize_points(np.zeros((1, 2)), size, (224, 224))


def test_points_and_depths_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="points"):
        back_project(np.zeros((3, 2)), np.ones(4), BRIDGE)
    with pytest.raises(InputError, match="points"):
        project(np.zeros((3, 2)), BRIDGE)


def test_a_pose_is_read_as_urdf_writes_it():
    pose = parse_pose("camera_pose", "0.1 -0.2, 0.3 1.5707963 0 0")
    np.testing.assert_allclose(pose[:3, 3], [0.1, -0.2, 0.3])
    np.testing.assert_allclose(pose[:3, :3] @ [0, 1, 0], [0, 0, 1], atol=1e-6)  # rolled a quarter about x
    turned = parse_pose("camera_pose", "0 0 0 0.3 -0.2 0.1")[:3, :3]
    roll, pitch, yaw = (parse_pose("p", f"0 0 0 {r} {p} {y}")[:3, :3] for r, p, y in np.diag([0.3, -0.2, 0.1]))
    np.testing.assert_allclose(turned, yaw @ pitch @ roll, atol=1e-12)


@pytest.mark.parametrize("text", ["0 0 0", "0 0 0 0 0 up", "0 0 0 0 0 nan", "1 2 3 4 5 6 7"])
def test_what_is_no_pose_is_one_line(text):
    with pytest.raises(InputError, match=r"\Acamera_pose: expected x y z roll pitch yaw, six numbers [^\n]*\Z"):
        parse_pose("camera_pose", text)
