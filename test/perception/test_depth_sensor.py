"""The sensor backend and the registry."""

import subprocess
import sys

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.depth import make_depth_estimator

RGB = np.zeros((4, 6, 3), np.uint8)


def test_millimetres_become_metres_at_every_value():
    reading = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    depth = make_depth_estimator("sensor").estimate(np.zeros((256, 256, 3), np.uint8), reading)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, reading / 1000, rtol=1e-6)


def test_metres_pass_through_unchanged_in_a_new_array():
    reading = np.linspace(0.1, 9, 24, dtype=np.float32).reshape(4, 6)
    depth = make_depth_estimator("sensor").estimate(RGB, reading)
    np.testing.assert_array_equal(depth, reading)
    assert not np.shares_memory(depth, reading)


def test_everything_that_is_no_distance_becomes_zero():
    reading = np.ones((4, 6), np.float32)
    reading[0, :5] = np.nan, np.inf, -np.inf, -2.0, -0.0
    depth = make_depth_estimator("sensor").estimate(RGB, reading)
    np.testing.assert_array_equal(depth[0], [0, 0, 0, 0, 0, 1])
    assert not np.signbit(depth).any() and (depth[1:] == 1).all()


@pytest.mark.parametrize("shape", [(8, 12), (2, 3), (6, 4), (4, 6, 1), (0, 0)])
def test_a_reading_of_another_size_is_refused_not_resized(shape):
    with pytest.raises(InputError, match="sensor_depth.*6x4"):
        make_depth_estimator("sensor").estimate(RGB, np.ones(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint8, np.int32, np.float16])
def test_a_reading_whose_unit_cannot_be_told_is_refused(dtype):
    with pytest.raises(InputError, match="uint16 millimetres or float32 metres"):
        make_depth_estimator("sensor").estimate(RGB, np.ones((4, 6), dtype))


def test_a_missing_reading_is_refused():
    with pytest.raises(InputError, match="sensor_depth"):
        make_depth_estimator("sensor").estimate(RGB)


@pytest.mark.parametrize(
    "rgb", [np.zeros((0, 6, 3), np.uint8), np.zeros((4, 6), np.uint8), np.zeros((4, 6, 3), np.float32)]
)
def test_a_picture_that_is_no_rgb_is_refused(rgb):
    with pytest.raises(InputError, match="^rgb: expected"):
        make_depth_estimator("sensor").estimate(rgb, np.ones((4, 6), np.float32))


def test_an_unknown_backend_names_the_known_ones():
    with pytest.raises(InputError, match="sensor, constant, zoedepth, depth_anything.*'stereo'"):
        make_depth_estimator("stereo")


def test_an_unknown_parameter_is_named():
    with pytest.raises(InputError, match="'sensor'.*scale"):
        make_depth_estimator("sensor", scale=2.0)


def test_sensor_depth_and_the_compositor_import_no_torch():
    code = (
        "import sys; from stvla_ros.perception.depth import make_depth_estimator; make_depth_estimator('sensor'); "
        "import stvla_ros.perception.spatial_traces, stvla_ros.perception.overlay; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_missing_network_package_is_one_error_that_says_what_to_install():
    # Both, as torch is looked for first, and may be missing, too.
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from stvla_ros.perception.depth import make_depth_estimator\n"
        "try: make_depth_estimator('zoedepth')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said.startswith("InputError") and "torch is not installed" in said
    assert "requirements/" in said or "docs/how-to/humble.md" in said
