"""Which intrinsics a camera_info gives for a picture."""

import cv2
import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.calibration import CameraCalibration, as_sent, distortion_text, intrinsics_for

K = np.array([[600.0, 0.0, 319.5], [0.0, 602.0, 239.5], [0.0, 0.0, 1.0]])
CAMERA = CameraCalibration(640, 480, K)


def seen_at(matrix: np.ndarray) -> np.ndarray:
    """Pixels of a point to the right and below."""
    point = matrix @ np.array([0.2, 0.1, 1.0])
    return point[:2] / point[2]


def test_a_picture_of_the_calibrated_size_has_the_calibrated_intrinsics() -> None:
    assert np.array_equal(intrinsics_for(CAMERA, (640, 480)), K)
    assert np.array_equal(intrinsics_for(CameraCalibration(0, 0, K), (640, 480)), K)


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (213, 160)])
def test_a_resized_picture_has_them_scaled_with_pixel_centres_at_integers(size: tuple[int, int]) -> None:
    scale = np.divide(size, (640, 480))
    expected = (seen_at(K) + 0.5) * scale - 0.5
    np.testing.assert_allclose(seen_at(intrinsics_for(CAMERA, size)), expected, atol=1e-9)


@pytest.mark.parametrize("size", [(640, 360), (480, 640), (320, 200)])
def test_a_picture_of_another_shape_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"intrinsics for pictures of {size[0]}x{size[1]} .* they are for 640x480"):
        intrinsics_for(CAMERA, size)


def test_what_an_uncalibrated_camera_sends_is_refused() -> None:
    with pytest.raises(InputError, match="positive fx"):
        intrinsics_for(CameraCalibration(640, 480, np.zeros((3, 3))), (640, 480))


def test_a_rectified_picture_has_those_of_the_projection() -> None:
    projection = np.array([[550.0, 0, 310, 0], [0, 551.0, 230, 0], [0, 0, 1, 0]])
    camera = CameraCalibration(640, 480, K, projection=projection)
    assert np.array_equal(intrinsics_for(camera, (640, 480), rectified=True), projection[:, :3])
    assert np.array_equal(intrinsics_for(camera, (640, 480)), K)
    assert np.array_equal(
        intrinsics_for(CameraCalibration(640, 480, K, projection=np.zeros((3, 4))), (640, 480), rectified=True), K
    )


def test_binning_and_the_read_out_region_are_those_of_the_picture_as_it_is_sent() -> None:
    whole = CameraCalibration(1280, 960, K * [[2], [2], [1]])
    binned = as_sent(whole, (2, 2), (0, 0, 0, 0))
    assert (binned.width, binned.height) == (640, 480)
    np.testing.assert_allclose(seen_at(binned.intrinsics), (seen_at(whole.intrinsics) + 0.5) / 2 - 0.5)
    part = as_sent(whole, (0, 0), (100, 40, 800, 600))
    assert (part.width, part.height) == (800, 600)
    np.testing.assert_allclose(seen_at(part.intrinsics), seen_at(whole.intrinsics) - [100, 40])
    assert as_sent(whole, (1, 1), (0, 0, 1280, 960)) is whole


def test_a_lens_that_distorts_is_told_with_its_pixels() -> None:
    lens = CameraCalibration(640, 480, K, "plumb_bob", np.array([-0.3, 0.1, 0.0, 0.0, 0.0]))
    # At the corner r is 2/3: 400 pixels times -0.3 r^2 + 0.1 r^4.
    assert distortion_text(lens).startswith("the lens distorts by up to 45 pixels (plumb_bob), and pixels are taken")


@pytest.mark.parametrize(
    "model, coefficients, text",
    [
        ("plumb_bob", [0.0] * 5, ""),
        ("plumb_bob", [], ""),
        ("plumb_bob", [1e-4, 0, 0, 0, 0], ""),
        ("rational_polynomial", [0.1, 0.2, 0, 0, 0.1, 0.4, 0.1, 0.0], "the lens distorts by up to "),
        ("equidistant", [0.1, 0.01, 0.0, 0.0], "the lens distorts by up to "),
        ("double_sphere", [0.1, 0.2], "the lens distorts (model 'double_sphere', which this package does not know)"),
        ("plumb_bob", [float("nan")], "distortion coefficients are not finite"),
    ],
)
def test_lenses(model: str, coefficients: list[float], text: str) -> None:
    said = distortion_text(CameraCalibration(640, 480, K, model, np.array(coefficients)))
    assert said.startswith(text) and bool(said) == bool(text)


def test_a_fisheye_lens_is_measured_by_its_own_model() -> None:
    lens = CameraCalibration(640, 480, K, "equidistant", np.zeros(4) + [1e-9, 0, 0, 0])
    ray = np.array([[[-320 / 600, -240 / 602]]])
    drawn = cv2.fisheye.distortPoints(ray, K, np.zeros(4))[0, 0]
    pixels = round(float(np.hypot(*(drawn - [-0.5, -0.5]))))
    assert distortion_text(lens).startswith(f"the lens distorts by up to {pixels} pixels")
