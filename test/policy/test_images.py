import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import distance_transform_edt

from stvla_ros.errors import InputError
from stvla_ros.policy.pictures import FARTHEST, prepare_depth, prepare_picture

SIZE = 224


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def depths(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 3.0, (height, width)).astype(np.float32)


@examples(quick=20)
@given(height=st.integers(2, 700), width=st.integers(2, 700))
def test_picture_of_any_size_is_pils_bicubic(height, width):
    rgb = picture(height, width)
    expected = np.asarray(Image.fromarray(rgb).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 255.0
    prepared = prepare_picture(rgb, SIZE)
    assert prepared.shape == (3, SIZE, SIZE) and prepared.dtype == np.float32
    np.testing.assert_allclose(prepared, expected.transpose(2, 0, 1), rtol=0, atol=1e-6)


def test_picture_of_the_models_size_is_not_resampled():
    rgb = picture(SIZE, SIZE)
    np.testing.assert_array_equal(prepare_picture(rgb, SIZE), rgb.transpose(2, 0, 1).astype(np.float32) / 255)


def test_area_takes_the_mean_of_the_pixels_that_a_new_one_covers():
    rgb = picture(3 * SIZE, 2 * SIZE)
    means = rgb.reshape(SIZE, 3, SIZE, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(prepare_picture(rgb, SIZE, "area"), means, rtol=0, atol=0.6 / 255)


@pytest.mark.parametrize("method", ["bicubic", "area"])
def test_views_give_what_their_copies_give(method):
    for view in (picture(480, 640)[::-1, ::-1], np.asfortranarray(picture(480, 640)), picture(480, 640)[:, :, ::-1]):
        expected = prepare_picture(np.ascontiguousarray(view), SIZE, method)
        np.testing.assert_array_equal(prepare_picture(view, SIZE, method), expected)


def test_picture_of_twelve_megapixels_is_taken():
    assert prepare_picture(picture(3000, 4000), SIZE).shape == (3, SIZE, SIZE)


def test_read_only_picture_is_taken():
    rgb = picture(100, 100)
    rgb.setflags(write=False)
    assert np.isfinite(prepare_picture(rgb, SIZE)).all()


@pytest.mark.parametrize(
    "rgb",
    [
        None, "image", [[0, 0, 0]], picture(224, 224).tolist(), picture(224, 224)[..., 0], picture(224, 224)[..., :1],
        np.zeros((224, 224, 4), np.uint8), np.zeros((3, 224, 224), np.uint8), np.zeros((1, 224, 224, 3), np.uint8),
        picture(224, 224).astype(np.float32), picture(224, 224).astype(np.int64), np.zeros((0, 0, 3), np.uint8),
        np.zeros((0, 640, 3), np.uint8), np.zeros((1, 640, 3), np.uint8), Image.new("RGB", (224, 224)),
    ],
    ids=lambda rgb: f"{type(rgb).__name__}{getattr(rgb, 'shape', '')}{getattr(rgb, 'dtype', '')}",
)  # fmt: skip
def test_what_is_no_colour_picture_is_refused(rgb):
    with pytest.raises(InputError, match=r"^rgb: expected .*, got [^\n]*$"):
        prepare_picture(rgb, SIZE)


@pytest.mark.parametrize("method", ["", "nearest", None, 3])
def test_unknown_resize_method_is_refused(method):
    with pytest.raises(InputError, match="^resize: expected one of bicubic, area, got "):
        prepare_picture(picture(50, 50), SIZE, method)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_known_depth_of_the_models_size_stays_as_it_is(dtype):
    depth = depths(SIZE, SIZE)
    prepared = prepare_depth(depth.astype(dtype), (640, 480), SIZE)
    assert prepared.dtype == np.float32
    np.testing.assert_array_equal(prepared, depth)


@examples(quick=20)
@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_depth_of_any_size_takes_the_pixel_at_the_new_ones_centre(height, width):
    depth = depths(height, width)
    rows = ((np.arange(SIZE) + 0.5) * height // SIZE).astype(int)
    columns = ((np.arange(SIZE) + 0.5) * width // SIZE).astype(int)
    np.testing.assert_array_equal(prepare_depth(depth, (width, height), SIZE), depth[np.ix_(rows, columns)])


@examples(quick=15)
@given(known=st.floats(0.0005, 0.9), seed=st.integers(0, 1000))
def test_unknown_pixels_take_the_nearest_known_depth(known, seed):
    random = np.random.default_rng(seed)
    # Every known depth of its own, so that an answer tells the pixel that it came from.
    truth = (1 + random.permutation(SIZE * SIZE).reshape(SIZE, SIZE) / 1e5).astype(np.float32)
    holes = random.random((SIZE, SIZE)) >= known
    holes[seed % SIZE, (7 * seed) % SIZE] = False
    prepared = prepare_depth(np.where(holes, np.float32(0), truth), (SIZE, SIZE), SIZE)
    order = np.argsort(truth, axis=None)
    source = np.unravel_index(order[np.searchsorted(truth.ravel()[order], prepared)], truth.shape)
    assert not holes[source].any()
    np.testing.assert_array_equal(truth[source], prepared)
    distance = np.hypot(source[0] - np.arange(SIZE)[:, None], source[1] - np.arange(SIZE))
    # OpenCV's 5x5 mask approximates the Euclidean distance to about 2 %.
    assert (distance <= 1.05 * distance_transform_edt(holes) + 1e-6).all()


def test_known_depth_is_kept_beside_unknown():
    depth = depths(SIZE, SIZE)
    depth[50:100, 50:100] = 0
    prepared = prepare_depth(depth, (SIZE, SIZE), SIZE)
    np.testing.assert_array_equal(prepared[depth > 0], depth[depth > 0])
    assert (prepared > 0).all()


def test_one_known_pixel_fills_the_map():
    depth = np.zeros((480, 640), np.float32)
    depth[200:203, 300:303] = 0.7
    assert (prepare_depth(depth, (640, 480), SIZE) == np.float32(0.7)).all()


def test_depth_of_twelve_megapixels_is_taken():
    depth = np.ones((3000, 4000), np.float32)
    depth[:1500] = 0
    assert (prepare_depth(depth, (4000, 3000), SIZE) == 1).all()


def test_depth_is_left_alone():
    depth = depths(SIZE, SIZE)
    depth[:9] = 0
    before = depth.copy()
    prepare_depth(depth, (SIZE, SIZE), SIZE)[:] = 5
    np.testing.assert_array_equal(depth, before)


def changed(value, dtype=np.float32):
    depth = depths(480, 640).astype(dtype)
    depth[3, 4] = value
    return depth


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (changed(np.nan), "finite metres"),
        (changed(np.inf), "finite metres"),
        (changed(-np.inf), "finite metres"),
        (changed(-0.001), r"0 \(unknown\) or positive"),
        (changed(np.float32(1e38)), "at most 10000 metres"),
        (changed(1e300, np.float64), "at most 10000 metres"),
        (np.zeros((480, 640), np.float32), "some known"),
        (np.full((480, 640), 1e-60), "some known"),
        (np.full((480, 640), 800, np.uint16), "floating-point metres"),
        (np.ones((480, 640), bool), "floating-point metres"),
        (np.ones((480, 640), complex), "floating-point metres"),
        (np.ones((640, 480), np.float32), "shape"),
        (np.ones((480, 640, 1), np.float32), "shape"),
        (np.ones((1, 224, 224), np.float32), "shape"),
        (np.ones(0, np.float32), "shape"),
        (np.ones((224, 224)).tolist(), "floating-point metres, got list"),
        ("depth", "floating-point metres, got str"),
    ],
)
def test_unusable_depth_is_refused(depth, message):
    with pytest.raises(InputError, match=rf"^depth: expected [^\n]*{message}[^\n]*$"):
        prepare_depth(depth, (640, 480), SIZE)


def test_farthest_depth_is_taken():
    depth = np.full((SIZE, SIZE), FARTHEST, np.float32)
    np.testing.assert_array_equal(prepare_depth(depth, (SIZE, SIZE), SIZE), depth)


def test_nearest_neighbour_keeps_edges_that_an_average_would_blur():
    depth = np.where(np.arange(640) < 320, 0.5, 2.0).astype(np.float32)[None].repeat(480, axis=0)
    assert set(np.unique(prepare_depth(depth, (640, 480), SIZE))) == {np.float32(0.5), np.float32(2.0)}
