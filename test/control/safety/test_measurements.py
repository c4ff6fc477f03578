"""Measurements that come late, in disorder, or half read."""

import numpy as np
import pytest

from stvla_ros.control.safety.measurements import Measurements
from stvla_ros.errors import InputError

SECOND = 1_000_000_000
HERE, THERE = np.zeros(2), np.ones(2)


def test_without_any_the_robot_is_nowhere() -> None:
    assert not Measurements(0.5).fresh(0.0)


def test_one_counts_for_the_timeout_from_when_it_was_measured() -> None:
    measurements = Measurements(0.5)
    measurements.take(HERE, 1.0, stamp_ns=SECOND * 3 // 4, clock_ns=SECOND, now=10.0)
    assert measurements.last.at == 9.75
    assert measurements.fresh(10.2) and not measurements.fresh(10.3)


@pytest.mark.parametrize("stamp_ns", [0, 2 * SECOND], ids=["no stamp", "a clock that is ahead"])
def test_one_without_a_usable_stamp_is_as_old_as_its_arrival(stamp_ns: int) -> None:
    measurements = Measurements(0.5)
    measurements.take(HERE, 1.0, stamp_ns, clock_ns=SECOND, now=10.0)
    assert measurements.last.at == 10.0


@pytest.mark.parametrize(
    ("position", "opening", "stamp_ns", "complaint"),
    [
        (np.array([0.0, np.nan]), 1.0, SECOND, "expected finite positions"),
        (THERE, np.inf, SECOND, "expected finite positions"),
        (THERE, 1.0, SECOND * 4 // 10, "expected stamps at most 0.5 s old, got 0.6 s .*clocks of both machines"),
        (THERE, 1.0, SECOND * 8 // 10, "overtaken by one that is 0.1 s newer"),
    ],
)
def test_one_that_does_not_count_changes_nothing(
    position: np.ndarray, opening: float, stamp_ns: int, complaint: str
) -> None:
    measurements = Measurements(0.5)
    measurements.take(HERE, 0.5, SECOND * 9 // 10, SECOND, 10.0)
    before = measurements.last
    with pytest.raises(InputError, match=complaint):
        measurements.take(position, opening, stamp_ns, SECOND, 10.0)
    assert measurements.last is before


def test_the_same_again_counts() -> None:
    measurements = Measurements(0.5)
    for now in (10.0, 10.1):
        measurements.take(HERE, 0.5, SECOND, SECOND, now)
    assert measurements.last.at == 10.1


def test_after_the_clock_was_set_back_stamps_count_anew() -> None:
    measurements = Measurements(0.5)
    measurements.take(HERE, 0.5, 100 * SECOND, 100 * SECOND, 10.0)
    measurements.take(THERE, 0.5, 40 * SECOND, 40 * SECOND, 10.1)
    assert measurements.last.position is THERE
    with pytest.raises(InputError, match="overtaken"):
        measurements.take(HERE, 0.5, 40 * SECOND - 1000, 40 * SECOND, 10.2)
