"""When an arm rests, by its joint states."""

import numpy as np

from stvla_ros.robots.resting import ANOTHER_RAD, rests

SECOND = 1_000_000_000
RATE = 50


def course(*parts: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Stamps and positions of one joint. :param parts: seconds, and speed in radians a second."""
    speeds = np.concatenate([np.full(round(seconds * RATE), speed) for seconds, speed in parts])
    return np.arange(len(speeds)) * SECOND // RATE, (np.cumsum(speeds) / RATE)[:, None]


def test_each_rest_between_motions_is_found_once_it_has_settled() -> None:
    times, positions = course((1.0, 0.0), (0.5, 1.0), (2.0, 0.0), (0.5, -0.4), (1.0, 0.0))
    found = rests(times, positions + np.random.default_rng(0).normal(0.0, 0.001, positions.shape))
    assert np.allclose([each.position[0] for each in found], [0.0, 0.5, 0.3], atol=2e-3)
    assert [round(each.begin_ns / SECOND, 1) for each in found] == [0.4, 1.9, 4.4]
    assert found[1].end_ns <= 3.6 * SECOND


def test_a_slow_motion_and_a_short_stop_are_no_rest() -> None:
    assert rests(*course((5.0, 0.05))) == []
    assert rests(*course((0.5, 0.0), (0.5, 1.0), (0.5, 0.0))) == []


def test_a_place_where_the_arm_is_already_is_not_another_one() -> None:
    small = ANOTHER_RAD / 2
    assert len(rests(*course((1.0, 0.0), (0.1, 10 * small), (1.0, 0.0)))) == 1


def test_a_gap_in_the_joint_states_ends_a_rest() -> None:
    times, positions = course((1.0, 0.0))
    later = times + 3 * SECOND
    [rest] = rests(np.concatenate([times, later]), np.concatenate([positions, positions]))
    assert rest.end_ns == times[-1]


def test_nothing_heard_is_no_rest() -> None:
    assert rests(np.zeros(0, np.int64), np.zeros((0, 6))) == []
