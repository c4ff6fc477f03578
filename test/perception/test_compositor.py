"""What the compositor draws in every variant, what it never does, and what it refuses."""

import dataclasses

import numpy as np
import pytest
from drawn_scenes import HEIGHT, ROW, SIZE, WIDTH, compositor, make_traces, painted, play, scenes
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import (
    VARIANTS,
    CompositorConfig,
    closest_depth,
    interpolate_columns,
    resize_depth,
)


@pytest.mark.parametrize(("percentile", "depth"), [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (50.0, 51.0), (100.0, 101.0)])
def test_the_closest_depth_is_the_valid_one_of_that_rank(percentile, depth):
    valid = np.random.default_rng(0).permutation(np.arange(1.0, 102.0, dtype=np.float32))
    assert closest_depth(np.concatenate([np.zeros(50, np.float32), valid]), percentile) == depth
    assert closest_depth(np.zeros(4, np.float32), percentile) == 0.0


# --- every variant ---


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_trace_without_any_known_depth_leaves_the_map_as_it_is(variant):
    traces = make_traces([[[6.0, 20.0]], [[58.0, 20.0]]])
    depth = np.full((HEIGHT, WIDTH), 1.5, np.float32)
    depth[:, :16], depth[:, -16:] = 0.0, 0.0  # both ends of the trace; between them it crosses what is known
    maps = [np.zeros_like(depth), np.zeros_like(depth)] if variant == "C" else [depth, depth]
    out = play(compositor(variant), traces, maps)
    np.testing.assert_array_equal(out, resize_depth(maps[-1], SIZE))


@pytest.mark.parametrize("variant", VARIANTS)
@given(scenes(), st.sampled_from([1, 3, 5]), st.sampled_from([0.0, 4.0]))
@examples(quick=40)
def test_no_value_is_ever_nan_infinite_or_negative(variant, scene, line_width, thinning):
    out = play(compositor(variant, line_width=line_width, min_vertex_distance=thinning), *scene)
    assert out.shape == (SIZE, SIZE) and out.dtype == np.float32
    assert np.isfinite(out).all() and (out >= 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
@given(scenes())
@examples(quick=40)
def test_pixels_away_from_seen_lines_are_untouched(variant, scene):
    traces, maps = scene
    out = play(compositor(variant, line_width=3), traces, maps)
    plain = resize_depth(maps[-1], SIZE)
    # One pixel wider than drawn: sample positions may round to the other side of a pixel's border in another precision.
    untouched = np.isinf(painted(traces, np.ones(traces.visible.shape), 6))
    np.testing.assert_array_equal(out[untouched], plain[untouched])


@pytest.mark.parametrize("variant", VARIANTS)
@given(scenes())
@examples(quick=25)
def test_the_order_of_the_traces_does_not_matter_and_runs_repeat_bit_for_bit(variant, scene):
    traces, maps = scene
    order = np.random.default_rng(0).permutation(traces.num_points)
    shuffled = dataclasses.replace(
        traces, points=traces.points[:, order], visible=traces.visible[:, order], ids=traces.ids[order]
    )
    out = play(compositor(variant), traces, maps)
    assert out.tobytes() == play(compositor(variant), shuffled, maps).tobytes()
    used = compositor(variant)
    play(used, traces, maps[::-1])
    used.reset()
    assert out.tobytes() == play(used, traces, maps).tobytes()


@pytest.mark.parametrize("variant", VARIANTS)
@given(scenes())
@examples(quick=25)
def test_inputs_stay_as_they_are_and_the_output_is_the_callers(variant, scene):
    traces, maps = scene
    before = [depth.copy() for depth in maps]
    drawing = compositor(variant)
    first = play(drawing, traces, maps)
    kept = first.copy()
    for depth, copy in zip(maps, before, strict=True):
        np.testing.assert_array_equal(depth, copy)
    first[:] = 99
    np.testing.assert_array_equal(play(drawing, traces, maps), kept)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_drawn_pixels_are_those_of_an_independent_painter(variant):
    rng = np.random.default_rng(3)
    traces = make_traces(rng.uniform(2, 44, (6, 5, 2)), rng.random((6, 5)) < 0.8)
    maps = [rng.uniform(1, 2, (HEIGHT, WIDTH)).astype(np.float32) for _ in range(6)]
    drawing = compositor(variant, line_width=3)
    out = play(drawing, traces, maps)
    depths = drawing.vertex_depths(traces)
    if variant == "A":
        newest = [depths[np.nonzero(depths[:, n])[0][-1], n] for n in range(5)]
        depths = np.broadcast_to(newest, depths.shape)
    elif variant == "B":
        depths = interpolate_columns(depths)
    else:
        depths = np.full(depths.shape, closest_depth(resize_depth(maps[-1], SIZE), 1.0))
    canvas = painted(traces, depths, 3)
    np.testing.assert_allclose(out, np.where(np.isinf(canvas), resize_depth(maps[-1], SIZE), canvas), rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_vertex_that_was_not_seen_breaks_the_line(variant):
    traces = make_traces([[[5, 20]], [[20, 20]], [[35, 20]], [[50, 20]]], [[1], [1], [0], [1]])
    maps = [np.full((HEIGHT, WIDTH), 1, np.float32) for _ in range(3)] + [np.full((HEIGHT, WIDTH), 2, np.float32)]
    maps[-1][15:26, 45:56] = 0.5  # the manipulator: no variant draws at the background's depth now
    out = play(compositor(variant, line_width=1), traces, maps)
    rows, columns = np.nonzero(out != resize_depth(maps[-1], SIZE))
    assert set(rows) == {ROW} and columns.tolist() == list(range(2, 11))  # the picture's x of 5 to 20, nothing after it


@pytest.mark.parametrize("variant", VARIANTS)
def test_points_outside_of_the_picture_count_as_not_seen(variant):
    traces = make_traces([[[1e9, 20]], [[-1e9, 20]], [[WIDTH - 0.5, 20]], [[30, HEIGHT + 1e5]]])
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    np.testing.assert_array_equal(play(compositor(variant), traces, [depth] * 4), resize_depth(depth, SIZE))


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_traces_the_output_is_the_resized_map(variant):
    depth = np.random.default_rng(0).uniform(0.5, 2, (HEIGHT, WIDTH)).astype(np.float32)
    out = compositor(variant).step(make_traces(np.zeros((3, 0, 2))), depth)
    np.testing.assert_array_equal(out, resize_depth(depth, SIZE))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_frame_without_any_depth_stays_empty(variant):
    traces = make_traces([[[5, 20]], [[20, 20]]])
    out = play(compositor(variant), traces, [np.full((HEIGHT, WIDTH), np.nan, np.float32)] * 2)
    assert (out == 0).all()


# --- bad input ---


@pytest.mark.parametrize(
    "bad",
    [
        {"variant": "D"},
        {"size": 0},
        {"line_width": 4},
        {"line_width": 0},
        {"line_width": 99},
        {"min_vertex_distance": -1.0},
        {"min_vertex_distance": float("nan")},
        {"depth_window": 2},
        {"closest_percentile": 80.0},
        {"closest_percentile": float("nan")},
    ],
    ids=str,
)
def test_a_bad_parameter_is_named(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        CompositorConfig(**bad)


@pytest.mark.parametrize(
    "depth",
    [
        np.ones((WIDTH, HEIGHT), np.float32),
        np.ones((HEIGHT, WIDTH)),
        np.ones((HEIGHT, WIDTH, 1), np.float32),
        np.ones((0, 0), np.float32),
    ],
    ids=["transposed", "float64", "3d", "empty"],
)
def test_depth_that_does_not_belong_to_the_traces_is_refused_and_the_next_frame_works(depth):
    drawing = compositor("B")
    traces = make_traces([[[5, 20]], [[25, 20]]])
    with pytest.raises(InputError, match="depth"):
        drawing.step(traces, depth)
    assert (drawing.step(traces, np.ones((HEIGHT, WIDTH), np.float32)) == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        {"points": np.zeros((2, 3, 2), np.float32)},
        {"visible": np.zeros(4, bool)},
        {"ids": np.zeros(5, np.uint32)},
        {"frame_stamps": np.array([5, 5])},
        {"frame_stamps": np.array([5, 4])},
        {"frame_stamps": np.array([5])},
        {"image_size": (0, 48)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_traces_whose_parts_do_not_fit_are_refused(change):
    traces = dataclasses.replace(make_traces([[[5, 20]], [[25, 20]]]), **change)
    with pytest.raises(InputError, match="traces"):
        compositor("C").step(traces, np.ones((HEIGHT, WIDTH), np.float32))
