"""What the compositor draws, variant by variant, and what it never does."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import (
    VARIANTS,
    Compositor,
    CompositorConfig,
    closest_depth,
    interpolate_columns,
    resize_depth,
    traces_3d,
)
from stvla_ros.perception.geometry import project
from stvla_ros.perception.types import Traces

SIZE = 32
WIDTH, HEIGHT = 64, 48
ROW = 13  # of the map, where the picture's row 20 lies


def make_traces(points, visible=None, stamps=None, ids=None, image_size=(WIDTH, HEIGHT)) -> Traces:
    points = np.asarray(points, np.float32)
    frames, count = points.shape[:2]
    return Traces(
        points,
        np.ones((frames, count), bool) if visible is None else np.asarray(visible, bool),
        np.arange(count, dtype=np.uint32) if ids is None else np.asarray(ids, np.uint32),
        np.arange(frames, dtype=np.int64) if stamps is None else np.asarray(stamps, np.int64),
        image_size,
    )


def on_map(traces: Traces) -> np.ndarray:
    return (traces.points + 0.5) * np.divide(SIZE, traces.image_size) - 0.5


def compositor(variant: str, **settings) -> Compositor:
    return Compositor(CompositorConfig(variant=variant, size=SIZE, **settings))


def play(drawing: Compositor, traces: Traces, maps: list[np.ndarray]) -> np.ndarray:
    """Step through the episode that ends in ``traces``: each frame with the part of the traces that it had seen."""
    for frame, depth in enumerate(maps, start=1):
        part = slice(0, frame)
        out = drawing.step(
            dataclasses.replace(
                traces, points=traces.points[part], visible=traces.visible[part], frame_stamps=traces.frame_stamps[part]
            ),
            depth,
        )
    return out


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Traces, list[np.ndarray]]:
    """An episode: traces that may be unseen, outside of the picture or NaN, and one depth map with holes a frame."""
    frames, count = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    points = rng.uniform([-10, -10], [WIDTH + 10, HEIGHT + 10], (frames, count, 2))
    visible = rng.random((frames, count)) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    points[~visible & (rng.random((frames, count)) < 0.5)] = np.nan
    maps = []
    for _ in range(frames):
        depth = rng.uniform(0.2, 3, (HEIGHT, WIDTH)).astype(np.float32)
        holes = rng.random((HEIGHT, WIDTH)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
        depth[holes] = rng.choice([0, np.nan, np.inf, -np.inf, -1], holes.sum())
        maps.append(depth)
    return make_traces(points, visible), maps


def painted(traces: Traces, depths: np.ndarray, width: int) -> np.ndarray:
    """An oracle in plain loops: a disc at each sample of each line, the nearest depth wins; +Inf where nothing is."""
    canvas = np.full((SIZE, SIZE), np.inf)
    points, size = on_map(traces), np.array(traces.image_size)
    seen = traces.visible & ((traces.points >= -0.5) & (traces.points < size - 0.5)).all(axis=-1)
    for n in range(points.shape[1]):
        for t in range(len(points) - 1):
            if not (seen[t, n] and seen[t + 1, n] and depths[t, n] > 0):
                continue
            steps = max(1, int(np.ceil(np.abs(points[t + 1, n] - points[t, n]).max())))
            for share in np.arange(steps + 1) / steps:
                x, y = np.floor(points[t, n] + share * (points[t + 1, n] - points[t, n]) + 0.5).astype(int)
                z = depths[t, n] + share * (depths[t + 1, n] - depths[t, n])
                for dy in range(-width, width + 1):
                    for dx in range(-width, width + 1):
                        inside = 0 <= y + dy < SIZE and 0 <= x + dx < SIZE
                        if inside and np.hypot(dx, dy) <= width / 2:
                            canvas[y + dy, x + dx] = min(canvas[y + dy, x + dx], z)
    return canvas


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
@settings(max_examples=40, deadline=None)
def test_no_value_is_ever_nan_infinite_or_negative(variant, scene, line_width, thinning):
    out = play(compositor(variant, line_width=line_width, min_vertex_distance=thinning), *scene)
    assert out.shape == (SIZE, SIZE) and out.dtype == np.float32
    assert np.isfinite(out).all() and (out >= 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
@given(scenes())
@settings(max_examples=40, deadline=None)
def test_pixels_away_from_seen_lines_are_untouched(variant, scene):
    traces, maps = scene
    out = play(compositor(variant, line_width=3), traces, maps)
    plain = resize_depth(maps[-1], SIZE)
    # One pixel wider than drawn: sample positions may round to the other side of a pixel's border in another precision.
    untouched = np.isinf(painted(traces, np.ones(traces.visible.shape), 6))
    np.testing.assert_array_equal(out[untouched], plain[untouched])


@pytest.mark.parametrize("variant", VARIANTS)
@given(scenes())
@settings(max_examples=25, deadline=None)
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
@settings(max_examples=25, deadline=None)
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


# --- A, B, C ---


@given(scenes())
@settings(max_examples=40, deadline=None)
def test_c_draws_every_trace_pixel_at_the_depth_of_the_closest_object(scene):
    traces, maps = scene
    out = play(compositor("C", line_width=3), traces, maps)
    plain = resize_depth(maps[-1], SIZE)
    changed = out != plain
    assert (out[changed] == closest_depth(plain, 1.0)).all()


def test_the_closest_object_is_not_a_stray_reading():
    depth = np.full((100, 100), 2, np.float32)
    depth[:2, :4] = 0.1  # 8 stray readings of 10,000
    depth[50:70, 50:70] = 0.8  # an object of 4 percent
    depth[80:] = 0  # unknown does not count
    assert closest_depth(depth, 1.0) == np.float32(0.8)
    assert closest_depth(depth, 0.0) == np.float32(0.1)


@given(hnp.arrays(np.float32, (9, 9), elements=st.floats(0, 4, width=32)), st.floats(0, 50))
def test_the_closest_depth_is_one_that_occurs(depth, percentile):
    closest = closest_depth(depth, percentile)
    valid = depth[depth > 0]
    assert closest in valid if valid.size else closest == 0
    assert (valid < closest).sum() <= valid.size * percentile / 100


def test_a_draws_the_whole_trace_at_the_depth_where_its_newest_point_lies_now():
    depth_before, depth_now = (np.full((HEIGHT, WIDTH), z, np.float32) for z in (3, 2))
    depth_now[15:26, 45:56] = 0.7  # the manipulator, around the newest point
    traces = make_traces([[[5, 20]], [[25, 20]], [[50, 20]]])
    out = play(compositor("A", line_width=1), traces, [depth_before, depth_before, depth_now])
    assert (out[ROW, 2:26] == np.float32(0.7)).all()  # map x of the picture's 5 to 50
    assert (out[0] == 2).all()


def test_a_each_trace_has_one_depth_and_the_nearer_wins_where_two_cross():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, 54:], depth[40:, :] = 0.5, 0.9
    traces = make_traces([[[4, 20], [30, 4]], [[60, 20], [30, 46]]])
    for order in ([0, 1], [1, 0]):
        swapped = dataclasses.replace(traces, points=traces.points[:, order])
        out = play(compositor("A", line_width=3), swapped, [depth, depth])
        assert out[ROW, 15] == np.float32(0.5)  # the crossing
        assert set(np.unique(out[5:8, 14:17])) <= {np.float32(0.9), np.float32(2)} and out[6, 15] == np.float32(0.9)


def test_a_takes_the_newest_depth_known_where_the_newest_point_has_none():
    maps = [np.full((HEIGHT, WIDTH), z, np.float32) for z in (3.0, 2.5, 2.0)]
    maps[2][:, 40:] = 0
    traces = make_traces([[[5, 20]], [[25, 20]], [[50, 20]]])
    out = play(compositor("A", line_width=1), traces, maps)
    assert (out[ROW, 3:25] == np.float32(2.5)).all()


@given(st.lists(st.floats(0.25, 3, width=32), min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_b_runs_linearly_between_the_depths_at_which_the_point_was_seen(z):
    xs = np.linspace(4, 59, len(z))
    traces = make_traces([[[x, 20]] for x in xs])
    maps = [np.full((HEIGHT, WIDTH), depth, np.float32) for depth in z]
    out = play(compositor("B", line_width=1), traces, maps)
    on_line = (xs + 0.5) / 2 - 0.5
    columns = np.arange(int(np.ceil(on_line[0])), int(on_line[-1]) + 1)
    # A pixel is sampled within half a pixel of its centre (one line segment is at least 9 pixels long).
    slack = max(np.abs(np.diff(z)).max() / (on_line[1] - on_line[0]), 0) * 0.51 + 1e-5
    np.testing.assert_allclose(out[ROW, columns], np.interp(columns, on_line, z), atol=slack)


@given(st.floats(0.25, 3, width=32), st.floats(0.25, 3, width=32), st.sampled_from([1, 3, 5]))
@settings(max_examples=40, deadline=None)
def test_b_is_monotone_along_a_line_and_stays_between_its_ends(z_old, z_new, line_width):
    traces = make_traces([[[8, 20]], [[56, 20]]])
    maps = [np.full((HEIGHT, WIDTH), depth, np.float32) for depth in (z_old, z_new)]
    line = play(compositor("B", line_width=line_width), traces, maps)[ROW, 4:28]
    steps = np.diff(line) * (1 if z_new >= z_old else -1)
    assert (steps >= -1e-6).all()
    assert line.min() >= min(z_old, z_new) - 1e-6 and line.max() <= max(z_old, z_new) + 1e-6


def test_b_remembers_the_depth_of_points_that_become_traces_only_later():
    maps = [np.full((HEIGHT, WIDTH), z, np.float32) for z in (3.0, 2.0, 1.0)]
    drawing = compositor("B", line_width=1)
    none = make_traces(np.zeros((2, 0, 2)))
    drawing.step(make_traces(np.zeros((1, 0, 2))), maps[0])
    drawing.step(none, maps[1])
    traces = make_traces([[[5, 20]], [[25, 20]], [[50, 20]]])
    drawing.step(traces, maps[2])
    np.testing.assert_array_equal(drawing.vertex_depths(traces)[:, 0], [3, 2, 1])


def test_b_bridges_frames_without_depth_along_the_trace():
    depths = np.array([[0, 1], [2, 0], [0, 0], [4, 4], [0, 0]], np.float32)
    np.testing.assert_array_equal(interpolate_columns(depths), [[2, 1], [2, 2], [3, 3], [4, 4], [4, 4]])
    np.testing.assert_array_equal(interpolate_columns(np.zeros((3, 2), np.float32)), np.zeros((3, 2)))


def test_memory_is_bounded_by_the_traces_window():
    drawing = compositor("B")
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    for now in range(100):
        stamps = np.arange(max(0, now - 6), now + 1)
        drawing.step(make_traces(np.full((len(stamps), 1, 2), 20), stamps=stamps), depth)
    assert sorted(drawing._point_depths) == list(range(93, 100))


def test_a_point_on_an_outline_has_the_nearer_sides_depth():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, :30] = 0.8
    traces = make_traces([[[30.4, 20]]])
    for window, expected in ((3, 0.8), (1, 2.0)):
        drawing = compositor("B", depth_window=window)
        drawing.step(traces, depth)
        assert drawing.vertex_depths(traces)[0, 0] == np.float32(expected)


# --- the map ---


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.floats(width=32)),
    st.integers(8, 50),
)
def test_resizing_invents_no_depth(depth, size):
    out = resize_depth(depth, size)
    assert out.shape == (size, size) and np.isin(out, np.append(depth[np.isfinite(depth) & (depth > 0)], 0)).all()


def test_resizing_takes_the_pixel_under_the_centre():
    y, x = np.mgrid[:480, :640]
    np.testing.assert_array_equal(
        resize_depth((x + 1).astype(np.float32), 224)[0], ((np.arange(224) + 0.5) * 640 / 224).astype(int) + 1
    )
    np.testing.assert_array_equal(
        resize_depth((y + 1).astype(np.float32), 224)[:, 0], ((np.arange(224) + 0.5) * 480 / 224).astype(int) + 1
    )


@pytest.mark.parametrize("line_width", [1, 3, 5, 7])
def test_the_stated_share_of_a_line_survives_the_policys_7x7_means(line_width):
    shares = []
    for x in np.arange(100, 107):
        traces = make_traces([[[x, 10]], [[x, 210]]], image_size=(224, 224))
        depth = np.full((224, 224), 2, np.float32)
        depth[:, :8] = 1.0  # the closest object
        out = Compositor(CompositorConfig(line_width=line_width)).step(traces, depth)
        shares.append((2 - out.reshape(32, 7, 32, 7).mean(axis=(1, 3)))[15, 10:].max())
    assert min(shares) == pytest.approx((line_width + 1) / 14, abs=1e-5)


def test_thinning_keeps_the_ends_and_leaves_out_what_is_near():
    # 12 vertices, one pixel of the map apart, with a spike at the fourth.
    points = [[[4 + 2 * t, 20 + (6 if t == 3 else 0)]] for t in range(12)]
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[44:, 56:] = 0.5
    for thinning, spike in ((0.0, True), (8.0, False)):
        drawing = compositor("C", line_width=1, min_vertex_distance=thinning)
        out = play(drawing, make_traces(points), [depth] * 12)
        drawn = out[:20] == 0.5
        columns = np.nonzero(drawn.any(axis=0))[0]
        assert columns.min() == 2 and columns.max() == 13
        assert drawn[15:19].any() == spike


# --- 3D ---

K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])


def test_traces_in_space_project_onto_their_pixels_at_the_depths_seen():
    traces = make_traces([[[5, 20], [40, 9]], [[25, 21], [41, 10]], [[50, 22], [42, 11]]], ids=[7, 9])
    maps = [np.full((HEIGHT, WIDTH), z, np.float32) for z in (3.0, 2.0, 1.0)]
    drawing = compositor("C")
    play(drawing, traces, maps)
    lines = traces_3d(traces, drawing.vertex_depths(traces), K)
    assert list(lines) == [7, 9]
    for n, line in enumerate(lines.values()):
        np.testing.assert_array_equal(line[:, 2], [3, 2, 1])
        np.testing.assert_allclose(project(line, K), traces.points[:, n], atol=1e-9)


def test_vertices_without_depth_are_dropped_and_lone_ones_with_them():
    traces = make_traces(np.full((3, 2, 2), 20.0), ids=[7, 9])
    lines = traces_3d(traces, np.array([[1, 0], [0, 0], [2, 3]], np.float32), K)
    assert list(lines) == [7]
    np.testing.assert_array_equal(lines[7][:, 2], [1, 2])


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
