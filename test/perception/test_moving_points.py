import itertools

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.perception.moving_points import ONE_A_BODY, SelectionParameters, difference, motion, select_moving
from stvla_ros.perception.types import Traces

SIZE = (640, 480)  # diagonal 800: min_extent is 8 px, min_spacing 16 px


def traces_of(paths: list[np.ndarray], visible: np.ndarray | None = None) -> Traces:
    points = np.stack(paths, axis=1).astype(np.float32)
    seen = np.ones(points.shape[:2], bool) if visible is None else visible
    return Traces(points, seen, np.arange(len(paths), dtype=np.uint32), np.arange(len(points), dtype=np.int64), SIZE)


def motion_by_hand(points: np.ndarray, visible: np.ndarray) -> tuple[float, float]:
    """Extent and path of one point, (T, 2), from the frames in which it was seen."""
    sightings = points[visible].astype(np.float64)
    if not visible[-1]:
        return 0.0, 0.0
    steps = [np.hypot(*(later - earlier)) for earlier, later in itertools.pairwise(sightings)]
    return max(np.hypot(*(place - sightings[-1])) for place in sightings), sum(steps)


def line(step: float, x: float = 300.0, y: float = 200.0, frames: int = 10) -> np.ndarray:
    return np.stack([x + step * np.arange(frames), np.full(frames, y)], axis=1)


def test_still_points_are_left_out():
    assert select_moving(traces_of([line(0.0), line(5.0, y=300)])).ids.tolist() == [1]


def test_slow_drift_below_the_extent_is_left_out():
    assert select_moving(traces_of([line(0.8)])).num_points == 0  # 7.2 px
    assert select_moving(traces_of([line(0.9)])).num_points == 1  # 8.1 px


def test_point_not_seen_in_the_newest_frame_is_left_out():
    visible = np.ones((10, 2), bool)
    visible[-1, 0] = False
    assert select_moving(traces_of([line(9.0), line(5.0, y=300)], visible)).ids.tolist() == [1]


def test_positions_in_frames_where_a_point_was_not_seen_do_not_count():
    path = line(0.0)
    path[4] = (0.0, 0.0)
    visible = np.ones((10, 1), bool)
    visible[4] = False
    assert select_moving(traces_of([path], visible)).num_points == 0


def test_jittering_point_is_left_out():
    path = line(0.0, frames=30)
    path[1::2, 0] += 9.0
    assert motion(traces_of([path]))[1][0] == pytest.approx(29 * 9.0)
    assert select_moving(traces_of([path])).num_points == 0


def test_back_and_forth_motion_is_kept():
    path = line(0.0, frames=31)
    path[:, 0] += 60.0 * np.sin(np.arange(31) / 5.0)
    assert select_moving(traces_of([path])).num_points == 1


def test_path_bridges_frames_in_which_a_point_was_hidden():
    visible = np.ones((10, 1), bool)
    visible[3:6] = False
    extent, path = motion(traces_of([line(2.0)], visible))
    assert extent[0] == pytest.approx(18.0) and path[0] == pytest.approx(18.0)


def test_what_a_point_does_before_its_first_sighting_is_no_motion():
    path = line(0.0)
    path[:4] = (0.0, 0.0)
    visible = np.ones((10, 1), bool)
    visible[:4] = False
    assert [found.tolist() for found in motion(traces_of([path], visible))] == [[0.0], [0.0]]


def test_farthest_moved_come_first_and_no_more_than_asked_for():
    paths = [line(step, y=40.0 * n) for n, step in enumerate([2.0, 9.0, 4.0, 7.0])]
    assert select_moving(traces_of(paths), SelectionParameters(max_traces=3)).ids.tolist() == [1, 3, 2]


def test_near_neighbours_give_one_trace():
    paths = [line(5.0, y=200.0), line(4.9, y=204.0), line(4.8, y=230.0)]
    assert select_moving(traces_of(paths)).ids.tolist() == [0, 2]


def test_equal_motion_is_ordered_by_id():
    assert select_moving(traces_of([line(5.0, y=y) for y in (300.0, 100.0, 200.0)])).ids.tolist() == [0, 1, 2]


def test_one_frame_alone_shows_no_motion():
    assert select_moving(traces_of([line(5.0)[:1]])).num_points == 0


def test_no_points_give_no_traces():
    empty = Traces(np.zeros((3, 0, 2), np.float32), np.zeros((3, 0), bool), np.zeros(0, np.uint32), np.arange(3), SIZE)
    assert select_moving(empty).points.shape == (3, 0, 2)


@examples(quick=60)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 25))
def test_selection_keeps_its_promises(seed, count):
    chance = np.random.default_rng(seed)
    paths = chance.normal(0, 5, (12, count, 2)).cumsum(axis=0)
    points = (chance.uniform(0, 400, (1, count, 2)) + paths).astype(np.float32)
    ids = chance.permutation(count).astype(np.uint32)
    traces = Traces(points, chance.random((12, count)) < 0.8, ids, np.arange(12), SIZE)
    by_hand = np.array([motion_by_hand(points[:, n], traces.visible[:, n]) for n in range(count)]).reshape(count, 2)
    assert np.stack(motion(traces), axis=1) == pytest.approx(by_hand, rel=1e-4, abs=1e-3)
    chosen = select_moving(traces)
    assert chosen.num_points <= 8 and chosen.visible[-1].all()
    extent, path = by_hand[[ids.tolist().index(point_id) for point_id in chosen.ids]].T
    assert (extent >= 8.0 - 1e-3).all() and (np.diff(extent) <= 1e-3).all()
    assert (path <= 8.0 * extent + 1e-2).all()
    gaps = np.linalg.norm(chosen.points[-1][:, None] - chosen.points[-1][None], axis=2)
    assert (gaps + 1e9 * np.eye(chosen.num_points) >= 16.0).all()
    order = chance.permutation(count)  # the order in which a tracker lists its points does not matter
    shuffled = Traces(points[:, order], traces.visible[:, order], ids[order], traces.frame_stamps, SIZE)
    assert select_moving(shuffled).ids.tolist() == chosen.ids.tolist()


def turning(around: float, by: float, x: float, y: float) -> np.ndarray:
    """A point of a body that moves to the right by 90 px while it turns."""
    angles = by * np.linspace(0, 1, 10)
    turned = np.stack([np.cos(angles), np.sin(angles)], axis=1) * around
    return line(10.0, x, y) + turned


def test_points_that_move_alike_are_one_body() -> None:
    # A gripper's three points, one of them on a finger that turns a little, and another thing that moves otherwise.
    paths = [line(10.0), line(9.0, y=240), turning(20.0, 0.5, 300.0, 170.0), line(-6.0, y=300)]
    assert select_moving(traces_of(paths), ONE_A_BODY).ids.tolist() == [0, 3]
    assert len(select_moving(traces_of(paths)).ids) == 4


def test_of_many_bodies_the_three_that_moved_farthest_are_traced() -> None:
    ways = [(9.0, 0.0), (0.0, 8.0), (-7.0, 0.0), (0.0, -6.0)]
    starts = [(100.0, 100.0), (500.0, 100.0), (500.0, 300.0), (100.0, 400.0)]
    paths = [np.array(start) + np.arange(10)[:, None] * way for start, way in zip(starts, ways)]
    assert select_moving(traces_of(paths), ONE_A_BODY).ids.tolist() == [0, 1, 2]


def test_the_difference_is_that_of_the_frames_which_show_both() -> None:
    visible = np.ones((10, 2), bool)
    visible[:5, 1] = False
    other = line(10.0, y=300)
    other[:5] += 500.0
    assert difference(traces_of([line(10.0), other], visible), 0, [1]) == pytest.approx([0.0])
    assert difference(traces_of([line(10.0), line(-5.0, y=300)]), 0, [1]) == pytest.approx([1.5])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_traces", 0),
        ("min_extent", 0.0),
        ("min_extent", 1.0),
        ("max_wander", 0.5),
        ("max_wander", float("nan")),
        ("min_spacing", -0.1),
        ("min_difference", -0.1),
        ("min_difference", 1.0),
    ],
)
def test_value_out_of_range_is_an_error_naming_the_parameter(name, value):
    with pytest.raises(InputError, match=name):
        SelectionParameters(**{name: value})
