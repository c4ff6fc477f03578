"""The tracker that knows where the robot is."""

import numpy as np
import pytest
from robot_scenes import CLOSED, FINGER, OPEN, SHAPE, TABLE, THING, Scene, pixel

from stvla_ros.errors import InputError
from stvla_ros.perception.trackers import make_tracker


def update(tracker, number, scene, textured=True, depth=True):
    rgb, metres, view = scene.frame(textured)
    return tracker.update(rgb, number, metres if depth else None, view)


def last(traces, identity):
    column = traces.ids.tolist().index(identity)
    return traces.points[-1, column], bool(traces.visible[-1, column])


@pytest.mark.parametrize("step", [0.0005, 0.02, 0.1])
def test_a_finger_is_followed_exactly_in_the_dark_slow_and_fast(step):
    """Nothing in the picture tells where it went: it is as dark as all else."""
    tracker = make_tracker("kinematic")
    for number in range(4):
        scene = Scene(palm=(-0.1 + step * number, 0.02), grey=20)
        traces = update(tracker, number, scene, textured=False)
        place, seen = last(traces, 0)
        np.testing.assert_allclose(place, pixel((scene.palm[0] - OPEN, 0.02), FINGER), atol=0.01)
        assert seen


def test_what_is_asked_for_on_a_finger_moves_with_it():
    tracker = make_tracker("kinematic")
    update(tracker, 0, Scene())
    spot = (OPEN + 0.003, -0.002)
    identity = int(tracker.query(np.array([pixel(spot, FINGER)]))[0])
    place, seen = last(update(tracker, 1, Scene(palm=(0.05, 0.03))), identity)
    np.testing.assert_allclose(place, pixel((spot[0] + 0.05, spot[1] + 0.03), FINGER), atol=0.01)
    assert seen


def test_a_finger_behind_something_nearer_is_hidden_and_comes_back():
    tracker = make_tracker("kinematic")
    for number, covered in enumerate([False, True, True, False]):
        rgb, depth, view = Scene().frame()
        if covered:
            depth[:, : rgb.shape[1] // 2] = FINGER - 0.1
        place, seen = last(tracker.update(rgb, number, depth, view), 0)
        np.testing.assert_allclose(place, pixel((-OPEN, 0.0), FINGER), atol=0.01)
        assert seen == (not covered)


@pytest.mark.parametrize("unknown", [0.0, np.nan])
def test_where_the_depth_is_unknown_the_robot_is_taken_to_be_seen(unknown):
    tracker = make_tracker("kinematic")
    for number in range(2):
        rgb, depth, view = Scene().frame()
        traces = tracker.update(rgb, number, np.full_like(depth, unknown), view)
    assert last(traces, 0)[1]


def test_a_finger_out_of_the_picture_is_not_seen():
    tracker = make_tracker("kinematic")
    update(tracker, 0, Scene())
    assert not last(update(tracker, 1, Scene(palm=(0.4, 0.0))), 0)[1]


def test_no_finger_takes_a_point_of_the_table_along():
    """Finger, table and picture are of one colour: only the depth tells which is which."""
    tracker = make_tracker("kinematic")
    update(tracker, 0, Scene(palm=(-0.1, 0.0), grey=20), textured=False)
    spot = pixel((0.02, 0.0), TABLE)
    identity = int(tracker.query(np.array([spot]))[0])
    hidden = []
    for number in range(1, 26):
        x = -0.1 + 0.01 * number
        place, seen = last(update(tracker, number, Scene(palm=(x, 0.0), grey=20), textured=False), identity)
        np.testing.assert_allclose(place, spot, atol=0.5)
        left, right = (pixel((x + sideways, 0.0), FINGER)[0] for sideways in (-OPEN, OPEN))
        if min(abs(left - spot[0]), abs(right - spot[0])) < 3.0:
            hidden.append(not seen)
    assert hidden and all(hidden)


def carry(gap, steps=8, released_at=None):
    """The palm moves aside with a plain thing between its fingers, in the dark; from ``released_at`` on the thing
    stays behind and the fingers open. :returns: error in pixels of a spot on the thing, last frame.
    """
    tracker = make_tracker("kinematic")
    spot, way = (0.004, 0.006), 0.0
    for number in range(steps):
        palm = 0.02 * number
        released = released_at is not None and number >= released_at
        way = way if released else palm
        scene = Scene((palm - 0.08, 0.0), OPEN if released else gap, (way - 0.08, 0.0), grey=20)
        traces = update(tracker, number, scene, textured=False)
        if number == 0:
            identity = int(tracker.query(np.array([pixel((spot[0] - 0.08, spot[1]), THING)]))[0])
    place, _ = last(traces, identity)
    return float(np.linalg.norm(place - pixel((way - 0.08 + spot[0], spot[1]), THING)))


def test_a_plain_thing_between_closed_fingers_is_carried_along():
    assert carry(CLOSED) < 0.1


def test_when_the_fingers_open_the_thing_is_let_go():
    assert carry(CLOSED, released_at=4) < 1.0


def test_ids_and_traces_are_as_of_any_tracker_after_a_reset():
    tracker, scenes = make_tracker("kinematic"), [Scene(palm=(0.01 * number, 0.0)) for number in range(5)]
    first = [update(tracker, number, scene) for number, scene in enumerate(scenes)][-1]
    tracker.reset()
    second = [update(tracker, number, scene) for number, scene in enumerate(scenes)][-1]
    assert first.points.tobytes() == second.points.tobytes() and first.ids.tolist() == second.ids.tolist()


def test_without_depth_the_tips_are_followed_and_seen():
    tracker = make_tracker("kinematic")
    update(tracker, 0, Scene(), depth=False)
    traces = update(tracker, 1, Scene(palm=(0.03, 0.0)), depth=False)
    for mark, sideways in enumerate((-OPEN, OPEN)):
        place, seen = last(traces, mark)
        np.testing.assert_allclose(place, pixel((0.03 + sideways, 0.0), FINGER), atol=0.01)
        assert seen
    assert len(SHAPE.marks) == 3


def test_a_frame_without_the_robot_is_refused_and_changes_nothing():
    tracker = make_tracker("kinematic")
    rgb, depth, view = Scene().frame()
    with pytest.raises(InputError, match="tracker: expected the robot's position with each frame, got none"):
        tracker.update(rgb, 0, depth)
    with pytest.raises(InputError, match=r"depth: expected the picture's shape \(240, 320\), got \(10, 10\)"):
        tracker.update(rgb, 0, depth[:10, :10], view)
    assert tracker.buffer.frames_seen == 0


@pytest.mark.parametrize("name", ["surface", "depth_margin"])
@pytest.mark.parametrize("value", [0.0, -0.1, 0.2, float("nan")])
def test_a_bad_parameter_is_named(name, value):
    with pytest.raises(InputError, match=f"kinematic {name}: expected more than 0, at most 0.1 m"):
        make_tracker("kinematic", **{name: value})


def test_its_lucas_kanade_takes_the_same_parameters():
    with pytest.raises(InputError, match="kinematic window: expected an odd number"):
        make_tracker("kinematic", window=4)
