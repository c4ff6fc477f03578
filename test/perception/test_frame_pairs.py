"""Which depth belongs to which picture."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.perception.frame_pairs import DEPTHS, PICTURES, RESTART_NS, FramePairs, pair_stamps, shown_span

MS = 1_000_000
PERIOD = 33_333_333
BEGIN = 1_700_000_000_000_000_000


def join(arrivals: list[tuple[int, int]], tolerance: int | None = None, size: int = 60) -> list[tuple[int, int]]:
    """:param arrivals: side and stamp of each message, as they come."""
    pairs = FramePairs(size, tolerance)
    return [pair for side, stamp in arrivals for pair in pairs.add(side, stamp, stamp)]


def alternating(count: int, offset: int, period: int = PERIOD) -> list[tuple[int, int]]:
    stamps = [BEGIN + index * period for index in range(count)]
    return [each for stamp in stamps for each in ((PICTURES, stamp), (DEPTHS, stamp + offset))]


@pytest.mark.parametrize("offset_ms", [-15, -4, 1, 4, 16])
def test_a_depth_of_nearly_the_same_time_belongs_to_the_picture(offset_ms: int) -> None:
    made = join(alternating(10, offset_ms * MS))
    assert made == [(BEGIN + index * PERIOD, BEGIN + index * PERIOD + offset_ms * MS) for index in range(10)]


def test_a_pair_is_known_as_soon_as_both_are_there_once_the_period_is_known() -> None:
    pairs = FramePairs(60)
    for side, stamp in alternating(3, 4 * MS):
        pairs.add(side, stamp, stamp)
    assert pairs.add(PICTURES, picture := BEGIN + 3 * PERIOD, picture) == []
    assert pairs.add(DEPTHS, picture + 4 * MS, picture + 4 * MS) == [(picture, picture + 4 * MS)]


def test_equal_stamps_pair_at_once_from_the_first_on_whatever_the_tolerance() -> None:
    for tolerance in (None, 0, PERIOD):
        pairs = FramePairs(4, tolerance)
        pairs.add(DEPTHS, BEGIN, "depth")
        assert pairs.add(PICTURES, BEGIN, "picture") == [("picture", "depth")]


def test_an_earlier_depth_does_not_take_the_picture_whose_own_is_about_to_come() -> None:
    # The picture of 100 was lost; the tolerance is larger than the period.
    arrivals = [(side, stamp) for stamp in (0, 50) for side in (DEPTHS, PICTURES)]
    arrivals += [(DEPTHS, 100), (PICTURES, 150), (DEPTHS, 150)]
    assert join(arrivals, tolerance=60) == [(0, 0), (50, 50), (150, 150)]


def test_no_message_is_used_twice() -> None:
    stamps = [BEGIN + index * PERIOD for index in range(8)]
    # Depths at half the rate, beside every second picture.
    arrivals = [(PICTURES, stamp) for stamp in stamps] + [(DEPTHS, stamp + 2 * MS) for stamp in stamps[::2]]
    assert join(arrivals) == [(stamp, stamp + 2 * MS) for stamp in stamps[::2]]


def test_of_depths_that_come_faster_the_nearest_is_taken() -> None:
    pictures = [BEGIN + index * PERIOD for index in range(6)]
    depths = [BEGIN - 8 * MS + index * PERIOD // 3 for index in range(20)]
    arrivals = sorted([(PICTURES, p) for p in pictures] + [(DEPTHS, d) for d in depths], key=lambda each: each[1])
    assert all(abs(depth - picture) <= 4 * MS for picture, depth in join(arrivals))
    assert len(join(arrivals)) == 6


def test_stamps_that_differ_by_more_than_the_given_tolerance_are_no_pair() -> None:
    assert join(alternating(10, 4 * MS), tolerance=3 * MS) == []
    assert join(alternating(10, 4 * MS), tolerance=0) == []
    assert len(join(alternating(10, 4 * MS), tolerance=4 * MS)) == 10


@given(
    st.integers(-16 * MS, 16 * MS),
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=25),
    st.randoms(use_true_random=False),
)
@examples(quick=100)
def test_whatever_is_lost_and_whichever_topic_is_ahead_pairs_are_those_that_were_taken_together(
    offset: int, kept: list[tuple[bool, bool]], random: object
) -> None:
    pictures = [BEGIN + i * PERIOD for i, (picture, _) in enumerate(kept) if picture]
    depths = [BEGIN + i * PERIOD + offset for i, (_, depth) in enumerate(kept) if depth]
    arrivals, waiting = [], [pictures[:], depths[:]]
    while any(waiting):
        side = random.choice([side for side in (0, 1) if waiting[side]])
        arrivals.append((side, waiting[side].pop(0)))
    together = [(p, p + offset) for p in pictures if p + offset in depths]
    # The last may wait for what never comes.
    late = join(arrivals, tolerance=PERIOD // 2)
    assert set(late) <= set(together) and len(late) >= len(together) - 1
    found = pair_stamps(np.array(pictures, np.int64), np.array(depths, np.int64), PERIOD // 2)
    assert [(pictures[i], depths[d]) for i, d in enumerate(found) if d >= 0] == together


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 200)), max_size=60), st.integers(0, 30))
@examples(quick=200)
def test_pairs_are_within_the_tolerance_and_nothing_is_in_two(arrivals: list[tuple[int, int]], tolerance: int) -> None:
    pairs = FramePairs(8, tolerance)
    made = [pair for index, (side, stamp) in enumerate(arrivals) for pair in pairs.add(side, stamp, (stamp, index))]
    assert all(abs(picture[0] - depth[0]) <= tolerance for picture, depth in made)
    assert len({picture for picture, _ in made}) == len({depth for _, depth in made}) == len(made)


def test_a_source_that_starts_anew_is_paired_anew() -> None:
    arrivals = alternating(5, 4 * MS) + [(side, stamp - 100 * RESTART_NS) for side, stamp in alternating(5, 4 * MS)]
    assert len(join(arrivals)) == 10


@pytest.mark.parametrize(("side", "text"), [(PICTURES, "3 pictures, no depth"), (DEPTHS, "3 depths, no picture")])
def test_a_side_that_comes_alone_since_the_last_pair_is_said(side: int, text: str) -> None:
    pairs = FramePairs(60, MS)
    for index in range(4):
        assert pairs.one_sided() == ""
        for each in (PICTURES, DEPTHS):
            pairs.add(each, BEGIN + index * PERIOD, None)
    for index in range(4, 7):
        pairs.add(side, BEGIN + index * PERIOD, None)
    assert pairs.one_sided() == text


def test_what_does_not_pair_is_said_with_its_numbers_and_by_how_much_it_misses() -> None:
    pairs = FramePairs(60, MS)
    assert pairs.lone() == ""
    for side, stamp in alternating(35, 4 * MS):
        pairs.add(side, stamp, stamp)
    assert pairs.lone() == "35 pictures, 35 depths, nearest 4.0 ms apart"
    pairs.add(DEPTHS, BEGIN + 34 * PERIOD, None)
    assert pairs.lone() == ""


def test_the_offset_of_another_clock_is_told_in_words() -> None:
    assert [shown_span(ns) for ns in (4 * MS, 1500 * MS, 7200 * 10**9, 56 * 31_557_600 * 10**9)] == [
        "4.0 ms",
        "1.5 s",
        "2.0 hours",
        "56.0 years",
    ]


def test_half_the_usual_period_is_not_widened_by_lost_frames() -> None:
    pairs = FramePairs(60)
    for index in (0, 2, 3, 5, 6, 9, 10, 12):
        pairs.add(PICTURES, index * PERIOD, None)
    assert pairs.tolerance_ns == PERIOD // 2
    assert FramePairs(60).tolerance_ns is None


def test_streams_that_are_there_as_a_whole_pair_in_whatever_order_they_were_stamped() -> None:
    pictures = np.array([100, 0, 200, 300])
    depths = np.array([204, 4, 296, 900])
    assert pair_stamps(pictures, depths).tolist() == [-1, 1, 0, 2]
    assert pair_stamps(pictures, np.zeros(0, np.int64)).tolist() == [-1] * 4
    assert pair_stamps(np.zeros(0, np.int64), depths).tolist() == []
