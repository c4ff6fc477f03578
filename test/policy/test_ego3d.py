import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from tolerance import assert_same_but_for_rounding

from stvla_ros.errors import InputError
from stvla_ros.policy.pictures import scale_intrinsics
from stvla_ros.policy.spatialvla.ego3d import Ego3dPositionEmbedding, back_project_patches

SIZE, PATCH, RESOLUTION = 224, 14, 2
PUBLISHED = np.array([[623.588, 0, 319.501], [0, 623.588, 239.545], [0, 0, 1]])


def matrix(fx, fy, cx, cy):
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def points_of(depth, k):
    depth, k = torch.from_numpy(depth.astype(np.float32))[None], torch.from_numpy(k.astype(np.float32))[None]
    return back_project_patches(depth, k, PATCH, RESOLUTION)[0].numpy()


def reference_points(depth, k):
    """Cell by cell in float64, as the published model does it."""
    inverse, cell = np.linalg.inv(k), PATCH // RESOLUTION
    answer = np.zeros((256, 12))
    for patch in range(256):
        for sub in range(4):
            row, column = 2 * (patch // 16) + sub // 2, 2 * (patch % 16) + sub % 2
            area = depth[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            ray = inverse @ [column * cell + 3.5, row * cell + 3.5, 1.0]
            answer[patch, 3 * sub : 3 * sub + 3] = ray * area.astype(np.float64).mean()
    return answer


@examples(quick=15)
@given(
    focal=st.tuples(st.floats(50, 2000), st.floats(50, 2000)),
    centre=st.tuples(st.floats(-50, 300), st.floats(-50, 300)),
    seed=st.integers(0, 2**32 - 1),
    farthest=st.floats(0.05, 80),
)
def test_points_are_those_of_the_definition(focal, centre, seed, farthest):
    depth = np.random.default_rng(seed).uniform(0.01, farthest, (SIZE, SIZE)).astype(np.float32)
    k = matrix(*focal, *centre)
    expected = reference_points(depth, k).reshape(-1, 3)
    for got, axis in zip(points_of(depth, k).reshape(-1, 3).T, expected.T, strict=True):
        assert_same_but_for_rounding(got, axis, 1)


def test_points_of_a_wall_lie_in_its_plane():
    points = points_of(np.full((SIZE, SIZE), 1.25), matrix(218, 291, 112, 112)).reshape(256, 4, 3)
    np.testing.assert_allclose(points[..., 2], 1.25, rtol=1e-6)


def test_twelve_numbers_are_sub_rows_of_sub_columns_of_xyz():
    x, y, z = np.moveaxis(points_of(np.ones((SIZE, SIZE)), matrix(7, 7, 0, 0))[0].reshape(4, 3), 1, 0)
    np.testing.assert_allclose(x, [0.5, 1.5, 0.5, 1.5])
    np.testing.assert_allclose(y, [0.5, 0.5, 1.5, 1.5])
    np.testing.assert_allclose(z, 1.0)


def test_patches_go_row_by_row():
    depth = np.ones((SIZE, SIZE))
    depth[14:28, 42:56] = 5.0  # second row, fourth column
    z = points_of(depth, matrix(200, 200, 112, 112))[:, 2]
    assert np.flatnonzero(z > 2).tolist() == [16 + 3]


def test_line_narrower_than_a_cell_moves_the_point_by_its_share():
    depth = np.full((SIZE, SIZE), 2.0)
    depth[0:7, 3:5] = 0.6  # two of seven columns
    assert points_of(depth, matrix(200, 200, 112, 112))[0, 2] == pytest.approx((5 * 2.0 + 2 * 0.6) / 7, rel=1e-6)


@pytest.mark.parametrize("frequencies", [1, 8])
def test_encoding_is_the_coordinate_then_its_sines_then_its_cosines(frequencies):
    embedding = Ego3dPositionEmbedding(12, 48, frequencies)
    seen = []
    embedding.position_embedding_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    points = np.random.default_rng(0).uniform(-2, 4, (1, 5, 12))
    embedding(torch.from_numpy(points).float())
    assert seen[0].shape == (1, 5, 12 * (2 * frequencies + 1))
    encoding = seen[0].detach().numpy().reshape(5, 12, 2 * frequencies + 1)
    normalised = (points[0] - np.tile([0.0, 0.0, 2.0], 4)) / 2.0
    angles = normalised[..., None] * 2.0 ** np.arange(frequencies)
    expected = np.concatenate([normalised[..., None], np.sin(angles), np.cos(angles)], axis=-1)
    # The fastest angle goes up to so many radians, and float32 is off by half a unit in its last place.
    fastest = 2.0 ** (frequencies - 1) * np.abs(normalised).max()
    np.testing.assert_allclose(encoding, expected, rtol=0, atol=4 * np.finfo(np.float32).eps * max(fastest, 1.0))


def test_encoding_leaves_a_picture_encoder_as_it_is_at_the_start():
    torch.manual_seed(0)
    embedding = Ego3dPositionEmbedding(12, 48, 8)
    assert embedding(torch.rand(1, 256, 12) * 3).abs().max() < 0.2


def test_encoding_is_computed_in_float32_whatever_the_weights_are():
    torch.manual_seed(0)
    points = torch.rand(1, 256, 12) * 3
    exact = Ego3dPositionEmbedding(12, 48, 8)
    rounded = Ego3dPositionEmbedding(12, 48, 8).to(torch.bfloat16)
    rounded.load_state_dict(exact.state_dict())
    rounded.frequencies, rounded.centre = exact.frequencies, exact.centre
    # In bfloat16 the highest frequency's angle would be off by radians.
    assert (rounded(points).float() - exact(points)).abs().max() < 0.02


@examples(quick=50)
@given(size=st.tuples(st.integers(2, 4000), st.integers(2, 4000)), pixel=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_scaled_intrinsics_send_a_place_in_the_picture_along_the_same_ray(size, pixel):
    k = matrix(0.9 * size[0], 1.1 * size[0], 0.48 * size[0], 0.53 * size[1])
    before = np.linalg.inv(k) @ [pixel[0] * size[0], pixel[1] * size[1], 1.0]
    after = np.linalg.inv(scale_intrinsics(k, size, SIZE).astype(float)) @ [pixel[0] * SIZE, pixel[1] * SIZE, 1.0]
    # The intrinsics are float32, and what they are off by counts at the ray of the picture's corner.
    corner = 1 + np.abs(np.linalg.inv(k)[:, 2]).max()
    np.testing.assert_allclose(after, before, rtol=0, atol=8 * np.finfo(np.float32).eps * corner)


def test_published_intrinsics_at_224():
    expected = [[218.2558, 0, 111.82535], [0, 291.00773, 111.78767], [0, 0, 1]]
    scaled = scale_intrinsics(PUBLISHED, (640, 480), SIZE)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_scaling_leaves_its_input_alone():
    k = PUBLISHED.copy()
    scale_intrinsics(k, (640, 480), SIZE)
    assert (k == PUBLISHED).all()


@pytest.mark.parametrize(
    "intrinsics",
    [
        "text", None, [[1, 2], [3]], np.eye(2), np.zeros((3, 3)), np.full((3, 3), np.nan), PUBLISHED.T,
        matrix(-600, 600, 320, 240), matrix(np.inf, 600, 320, 240), matrix(1e-45, 1e-45, 0, 0),
        matrix(1e300, 1e300, 320, 240), matrix(600, 600, 1e39, 240),
    ],
    ids=str,
)  # fmt: skip
def test_matrix_that_is_no_camera_is_refused(intrinsics):
    with pytest.raises(InputError, match=r"^intrinsics: expected .*, got .*"):
        scale_intrinsics(intrinsics, (640, 480), SIZE)
