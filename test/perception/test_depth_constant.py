import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.registry import make_depth_estimator

RGB = np.zeros((3, 4, 3), np.uint8)


def test_it_is_the_same_distance_everywhere_whatever_a_sensor_says() -> None:
    depth = make_depth_estimator("constant", distance=2).estimate(RGB, np.full((3, 4), 700, np.uint16))
    assert depth.dtype == np.float32
    assert np.array_equal(depth, np.full((3, 4), 2.0))


@pytest.mark.parametrize("distance", [0, -1.0, float("inf"), float("nan"), True, "far"])
def test_a_distance_that_is_none_is_refused(distance: object) -> None:
    with pytest.raises(InputError, match="distance: expected metres above 0"):
        make_depth_estimator("constant", distance=distance)
