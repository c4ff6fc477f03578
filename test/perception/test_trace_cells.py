"""Traces as planes of numbers beside the depth: all zero without any, and each number what it says."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.perception.trace_cells import AGE, MOTION, SHARE, trace_cells, trace_vertices
from stvla_ros.perception.types import Traces, TracesInDepth

S, C = 224, 32
K = np.array([[200.0, 0, 112], [0, 200.0, 112], [0, 0, 1]])


def vertices(*paths: list[tuple[float, float, float]], seconds: float = 0.2) -> np.ndarray:
    """Of paths of (x, y, metres), one frame every so many seconds."""
    places = np.array(paths, np.float32).transpose(1, 0, 2)
    ages = np.arange(len(places))[::-1, None, None] * np.float32(seconds)
    return np.concatenate([places, np.broadcast_to(ages, (*places.shape[:2], 1))], axis=2).astype(np.float32)


def cells_of(*paths: list[tuple[float, float, float]]) -> np.ndarray:
    return trace_cells(vertices(*paths), K, S, C)


def in_space(x: float, y: float, z: float) -> np.ndarray:
    return z * np.array([(x - 112) / 200, (y - 112) / 200, 1.0])


@st.composite
def some_vertices(draw: st.DrawFn, most: int = 4) -> np.ndarray:
    """Traces that wander in, out of and far from the picture, here and there unseen."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames, count = draw(st.integers(1, 8)), draw(st.integers(0, most))
    made = np.empty((frames, count, 4), np.float32)
    made[..., :2] = chance.uniform(-100, 324, (1, count, 2)) + chance.normal(0, 30, (frames, count, 2)).cumsum(0)
    made[..., 2] = chance.uniform(0, 3, (frames, count)) * (chance.random((1, count)) < 0.8)
    made[..., 3] = np.sort(chance.uniform(0, 6, frames))[::-1, None] - 0.0
    made[..., :2][chance.random((frames, count)) < 0.2] = np.nan
    return made


def test_no_traces_are_all_zero() -> None:
    assert not trace_cells(np.zeros((7, 0, 4), np.float32), K, S, C).any()


def test_one_sighting_is_no_stroke() -> None:
    assert not cells_of([(100.0, 100.0, 1.0)]).any()


@given(x=st.floats(5, 219), y=st.floats(5, 219), z=st.floats(0.1, 5), frames=st.integers(2, 30))
def test_a_trace_that_stands_still_is_drawn_and_has_no_motion(x: float, y: float, z: float, frames: int) -> None:
    cells = cells_of([(x, y, z)] * frames)
    assert cells[int(y // 7), int(x // 7), SHARE] > 0
    assert not cells[..., MOTION].any()


@examples(quick=200)
@given(made=some_vertices())
def test_shares_are_within_0_and_1_and_where_they_are_0_all_is(made: np.ndarray) -> None:
    cells = trace_cells(made, K, S, C)
    assert np.isfinite(cells).all()
    assert (cells[..., SHARE] >= 0).all() and (cells[..., SHARE] <= 1).all()
    assert not cells[cells[..., SHARE] == 0].any()
    ends = made[1:][np.isfinite(made[1:]).all(-1) & np.isfinite(made[:-1]).all(-1)]
    assert np.isin(cells[cells[..., SHARE] > 0][:, AGE], ends[:, 3]).all()


@examples(quick=200)
@given(made=some_vertices(most=6), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_traces_does_not_matter(made: np.ndarray, seed: int) -> None:
    made[..., :2] = 100 + 0.1 * made[..., :2]  # close together, where they meet in many cells
    shuffled = made[:, np.random.default_rng(seed).permutation(made.shape[1])]
    np.testing.assert_array_equal(trace_cells(shuffled, K, S, C), trace_cells(made, K, S, C))


def test_the_newest_stroke_of_a_cell_counts() -> None:
    # Out and back through the same cells: the way back is newer.
    there, back = (20.0, 50.0, 1.0), (120.0, 50.0, 1.0)
    cells = cells_of([there, back, there])
    on_line = cells[7, 4:16]
    np.testing.assert_array_equal(on_line[:, AGE], 0.0)
    np.testing.assert_allclose(on_line[:, MOTION], [[-0.5, 0, 0]] * 12, atol=1e-6)


def test_a_cell_tells_when_its_stroke_ended() -> None:
    cells = cells_of([(20.0, 50.0, 1.0), (100.0, 50.0, 1.0), (180.0, 50.0, 1.0), (180.0, 150.0, 1.0)])
    assert cells[7, 5, AGE] == pytest.approx(0.4)
    assert cells[7, 20, AGE] == pytest.approx(0.2)
    assert cells[15, 25, AGE] == 0.0


@given(
    start=st.tuples(st.floats(10, 214), st.floats(10, 214), st.floats(0.1, 5)),
    end=st.tuples(st.floats(10, 214), st.floats(10, 214), st.floats(0.1, 5)),
)
def test_motion_is_that_of_the_point_in_space(start: tuple, end: tuple) -> None:
    cells = cells_of([start, end])
    motion = in_space(*np.float32(end)) - in_space(*np.float32(start))
    # All of one stroke's cells say the same.
    drawn = cells[cells[..., SHARE] > 0]
    np.testing.assert_allclose(drawn[:, MOTION], np.tile(motion, (len(drawn), 1)), atol=1e-5)


def test_strokes_end_where_a_point_is_not_seen() -> None:
    made = vertices([(20.0, 50.0, 1.0), (60.0, 50.0, 1.0), (100.0, 50.0, 1.0), (140.0, 50.0, 1.0)])
    made[1, 0, :2] = np.nan
    drawn = np.flatnonzero(trace_cells(made, K, S, C)[7, :, SHARE])
    assert drawn.min() >= 98 // 7 and drawn.max() <= 141 // 7


def test_a_zoomed_picture_with_its_camera_has_the_same_motions() -> None:
    path = [(60.0, 70.0, 1.0), (150.0, 130.0, 1.2)]
    zoomed = [((x - 112) * 1.2 + 120, (y - 112) * 1.2 + 104, z) for x, y, z in path]
    camera = np.array([[240.0, 0, 120], [0, 240.0, 104], [0, 0, 1]])
    motions = [
        made[made[..., SHARE] > 0][0, MOTION] for made in (cells_of(path), trace_cells(vertices(zoomed), camera, S, C))
    ]
    np.testing.assert_allclose(*motions, atol=1e-6)


def test_vertices_are_in_pixels_of_the_square_picture_with_age_and_interpolated_depth() -> None:
    points = np.array([[[0, 0]], [[319.5, 239.5]], [[639, 479]]], np.float32)
    visible = np.array([[True], [True], [False]])
    traces = Traces(points, visible, np.zeros(1, np.uint32), np.array([1, 3, 4], np.int64) * 10**9, (640, 480))
    made = trace_vertices(TracesInDepth(traces, np.array([[1.0], [0.0], [2.0]], np.float32)), S)
    np.testing.assert_allclose(made[:2, 0, :2], [[0.5 * 224 / 640, 0.5 * 224 / 480], [112, 112]])
    assert np.isnan(made[2, 0, :2]).all()
    assert made[:, 0, 2].tolist() == [1.0, 1.5, 2.0] and made[:, 0, 3].tolist() == [3.0, 1.0, 0.0]


def test_a_trace_without_any_depth_is_drawn_without_motion() -> None:
    cells = cells_of([(20.0, 50.0, 0.0), (60.0, 90.0, 0.0)])
    assert cells[..., SHARE].any() and not cells[..., MOTION].any()


@pytest.mark.parametrize(("shape", "cells"), [((3, 2), 32), ((3, 2, 3), 32), ((3, 2, 4), 30)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...], cells: int) -> None:
    with pytest.raises(InputError, match="trace cells: expected"):
        trace_cells(np.zeros(shape, np.float32), K, S, cells)
