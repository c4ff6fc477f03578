"""Lines on a map of depths."""

import numpy as np
import pytest

from stvla_ros.perception.rasterize import z_buffer

SIZE = 16


def line(start: tuple[float, float], end: tuple[float, float], z_start: float = 1.0, z_end: float = 1.0) -> np.ndarray:
    places = (np.array([place], np.float32) for place in (start, end))
    return z_buffer(*places, *(np.array([z], np.float32) for z in (z_start, z_end)), SIZE)


def test_a_line_has_one_sample_a_pixel_and_its_depth_changes_evenly() -> None:
    drawn = line((2.0, 5.0), (12.0, 5.0), 1.0, 2.0)
    assert np.argwhere(np.isfinite(drawn)).tolist() == [[5, x] for x in range(2, 13)]
    np.testing.assert_allclose(drawn[5, 2:13], np.linspace(1.0, 2.0, 11), rtol=1e-6)


def test_a_steep_line_has_one_sample_a_row() -> None:
    drawn = np.isfinite(line((4.0, 1.0), (8.0, 13.0)))
    assert drawn.sum(axis=1)[1:14].tolist() == [1] * 13 and drawn[1, 4] and drawn[13, 8]


@pytest.mark.parametrize(("place", "pixel"), [(-0.5, 0), (SIZE - 0.51, SIZE - 1), (SIZE - 0.5, SIZE - 1)])
def test_the_borders_belong_to_the_outermost_pixels(place: float, pixel: int) -> None:
    assert np.argwhere(np.isfinite(line((place, 6.0), (place, 6.0)))).tolist() == [[6, pixel]]
    assert np.argwhere(np.isfinite(line((6.0, place), (6.0, place)))).tolist() == [[pixel, 6]]


def test_where_lines_cross_the_nearer_one_is_seen() -> None:
    starts, ends = np.array([[2, 8], [8, 2]], np.float32), np.array([[14, 8], [8, 14]], np.float32)
    drawn = z_buffer(starts, ends, np.array([2, 1], np.float32), np.array([2, 1], np.float32), SIZE)
    assert drawn[8, 8] == 1.0 and drawn[8, 7] == 2.0


def test_no_lines_give_an_empty_map() -> None:
    nothing = np.zeros((0, 2), np.float32)
    assert np.isinf(z_buffer(nothing, nothing, np.zeros(0, np.float32), np.zeros(0, np.float32), SIZE)).all()
