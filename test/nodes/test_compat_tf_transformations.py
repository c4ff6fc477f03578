"""What this package relies on in tf_transformations. Passes against the fallback and the distribution's package."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.nodes.kit.compat import tf_transformations as tf

components = st.floats(-1.0, 1.0)
angles = st.floats(-math.pi, math.pi)
vectors = st.tuples(*[st.floats(-10.0, 10.0)] * 3)


@st.composite
def unit_quaternions(draw: st.DrawFn) -> np.ndarray:
    quaternion = np.array(draw(st.tuples(*[components] * 4)))
    assume(np.linalg.norm(quaternion) > 0.1)
    return quaternion / np.linalg.norm(quaternion)


def test_a_quaternion_is_x_y_z_w() -> None:
    half = math.sqrt(0.5)
    quarter_turn_about_z = tf.quaternion_matrix((0.0, 0.0, half, half))
    np.testing.assert_allclose(quarter_turn_about_z @ [1, 0, 0, 1], [0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_about_axis(math.pi / 2, (0, 0, 3.0)), (0, 0, half, half))


@given(unit_quaternions())
def test_a_quaternion_gives_the_rotation_that_scipy_gives(quaternion: np.ndarray) -> None:
    matrix = tf.quaternion_matrix(quaternion)
    assert matrix.shape == (4, 4)
    np.testing.assert_allclose(matrix[:3, :3], Rotation.from_quat(quaternion).as_matrix(), atol=1e-9)
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])
    np.testing.assert_array_equal(matrix[:3, 3], [0, 0, 0])


@given(unit_quaternions(), vectors)
def test_a_matrix_gives_its_quaternion_back_whatever_its_translation(
    quaternion: np.ndarray, translation: tuple
) -> None:
    matrix = tf.concatenate_matrices(tf.translation_matrix(translation), tf.quaternion_matrix(quaternion))
    back = np.array(tf.quaternion_from_matrix(matrix))
    assert abs(back @ quaternion) == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(tf.translation_from_matrix(matrix), translation)


@given(unit_quaternions(), unit_quaternions())
def test_multiplying_quaternions_is_multiplying_matrices(first: np.ndarray, second: np.ndarray) -> None:
    product = tf.quaternion_matrix(tf.quaternion_multiply(first, second))
    np.testing.assert_allclose(product, tf.quaternion_matrix(first) @ tf.quaternion_matrix(second), atol=1e-9)


@given(unit_quaternions())
def test_a_quaternion_times_its_inverse_is_the_identity(quaternion: np.ndarray) -> None:
    identity = tf.quaternion_multiply(quaternion, tf.quaternion_inverse(quaternion))
    np.testing.assert_allclose(identity, (0, 0, 0, 1), atol=1e-9)
    np.testing.assert_allclose(tf.quaternion_conjugate(quaternion), tf.quaternion_inverse(quaternion), atol=1e-9)


@given(angles, angles, angles)
def test_euler_angles_are_about_fixed_x_then_y_then_z(roll: float, pitch: float, yaw: float) -> None:
    expected = Rotation.from_euler("xyz", [roll, pitch, yaw]).as_matrix()
    np.testing.assert_allclose(tf.euler_matrix(roll, pitch, yaw)[:3, :3], expected, atol=1e-9)
    from_quaternion = tf.quaternion_matrix(tf.quaternion_from_euler(roll, pitch, yaw))
    np.testing.assert_allclose(from_quaternion[:3, :3], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("axes", "as_scipy"), [("szyx", "zyx"), ("sxzy", "xzy"), ("rxyz", "XYZ"), ("rzyx", "ZYX"), ("rzxz", "ZXZ")]
)
def test_axes_names_fixed_and_turning_axes(axes: str, as_scipy: str) -> None:
    angles = (0.3, -1.1, 2.0)
    expected = Rotation.from_euler(as_scipy, angles).as_matrix()
    np.testing.assert_allclose(tf.euler_matrix(*angles, axes)[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_matrix(tf.quaternion_from_euler(*angles, axes))[:3, :3], expected)
    back = tf.euler_from_matrix(tf.euler_matrix(*angles, axes), axes)
    np.testing.assert_allclose(tf.euler_matrix(*back, axes)[:3, :3], expected, atol=1e-9)


@given(angles, st.floats(-1.5, 1.5), angles)
def test_euler_angles_come_back(roll: float, pitch: float, yaw: float) -> None:
    quaternion = tf.quaternion_from_euler(roll, pitch, yaw)
    for back in (tf.euler_from_quaternion(quaternion), tf.euler_from_matrix(tf.euler_matrix(roll, pitch, yaw))):
        np.testing.assert_allclose(tf.euler_matrix(*back), tf.euler_matrix(roll, pitch, yaw), atol=1e-9)
        assert back[1] == pytest.approx(pitch, abs=1e-6)


@given(unit_quaternions(), vectors)
def test_the_inverse_matrix_undoes_a_pose(quaternion: np.ndarray, translation: tuple) -> None:
    pose = tf.translation_matrix(translation) @ tf.quaternion_matrix(quaternion)
    np.testing.assert_allclose(tf.inverse_matrix(pose) @ pose, tf.identity_matrix(), atol=1e-9)
