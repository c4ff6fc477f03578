"""Joins by stamps: what they match, what they count as dropped, and how they get over jumps in time."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import rclpy
from probe import shut_down
from sensor_msgs.msg import Image

from stvla_ros.nodes.kit import joins
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.joins import FrameJoin, Join, Pairing, StampOrder
from stvla_ros.nodes.kit.messages import make_header, stamp_ns
from stvla_ros.perception.frame_pairs import RESTART_NS

BEGIN = 1_700_000_000_000_000_000
SIZE = 4


class Joined:
    """A join of two topics whose messages are handed over directly, as the executor would."""

    def __init__(self, node: StvlaNode, make: Callable[..., Join]) -> None:
        self.stamps: list[int] = []
        self.fail = False
        self.node = node
        topics = [(Image, "image", RELIABLE_QOS), (Image, "depth", RELIABLE_QOS)]
        self.join = make(node, topics, self._joined, SIZE)

    def _joined(self, image: Image, depth: Image) -> None:
        self.apart = stamp_ns(depth.header) - stamp_ns(image.header)
        if self.fail:
            raise RuntimeError("stage")
        self.stamps.append(stamp_ns(image.header) - BEGIN)

    def image(self, stamp: int) -> None:
        self._send(0, stamp)

    def depth(self, stamp: int) -> None:
        self._send(1, stamp)

    def both(self, stamp: int) -> None:
        self.image(stamp)
        self.depth(stamp)

    def _send(self, topic: int, stamp: int) -> None:
        self.join._subscribers[topic].callback(Image(header=make_header(BEGIN + stamp, "camera")))

    @property
    def figures(self) -> dict[str, Any]:
        return self.node.stage.values()


@contextmanager
def joining(make: Callable[..., Join]) -> Iterator[Joined]:
    rclpy.init()
    node = StvlaNode("joiner")
    yield Joined(node, make)
    node.end()
    node.destroy_node()
    shut_down()


# Where stamps are equal, a join of frames does the same.
@pytest.fixture(params=[Join, partial(FrameJoin, tolerance_ns=None)], ids=["equal stamps", "frames"])
def joined(request: pytest.FixtureRequest) -> Iterator[Joined]:
    with joining(request.param) as made:
        yield made


@pytest.fixture
def frames() -> Iterator[Joined]:
    with joining(partial(FrameJoin, tolerance_ns=5_000_000)) as made:
        yield made


def test_equal_stamps_match_in_whatever_order_they_come(joined: Joined) -> None:
    joined.image(1)
    joined.depth(2)
    joined.depth(1)
    joined.image(2)
    assert joined.stamps == [1, 2]
    assert joined.figures["received"] == 2
    assert joined.figures["dropped"] == 0


def test_messages_without_partner_are_counted_even_when_nothing_ever_matches(joined: Joined) -> None:
    for stamp in range(SIZE + 7):
        joined.image(stamp)
    # The newest drop is counted with the next message.
    assert joined.figures["dropped (image without partner)"] == 6
    assert joined.stamps == []


def test_a_repeated_stamp_is_one_frame_and_one_drop(joined: Joined) -> None:
    joined.image(1)
    joined.image(1)
    joined.depth(1)
    assert joined.stamps == [1]
    assert joined.figures["dropped"] == 1


def test_a_join_goes_on_after_both_topics_jump_back(joined: Joined) -> None:
    far = 100 * RESTART_NS
    for stamp in range(far, far + SIZE):
        joined.image(stamp)
        joined.depth(stamp + 50)
    joined.both(1)
    joined.both(2)
    assert joined.stamps == [1, 2]
    assert joined.figures["dropped"] == 2 * SIZE


def test_what_one_topic_sent_of_the_new_time_survives_the_other_ones_jump(joined: Joined) -> None:
    far = 100 * RESTART_NS
    joined.both(far)
    joined.depth(1)
    joined.image(1)
    assert joined.stamps == [far, 1]


def test_stray_stamps_from_the_future_do_not_block_a_topic_for_good(joined: Joined) -> None:
    for stray in range(3 * SIZE):
        joined.depth((1000 + stray) * RESTART_NS)
        joined.both(stray)
    assert joined.stamps == list(range(3 * SIZE))


def test_an_exception_of_the_stage_leaves_the_join_working(joined: Joined) -> None:
    joined.fail = True
    joined.both(1)
    joined.fail = False
    joined.both(2)
    assert joined.stamps == [2]
    assert joined.node.stage.recent_error() == "internal error: RuntimeError: stage"


def test_pictures_are_joined_with_the_depths_that_are_stamped_a_little_later(frames: Joined) -> None:
    for index in range(SIZE + 3):
        frames.image(index * 33_000_000)
        frames.depth(index * 33_000_000 + 4_000_000)
    assert frames.stamps == [index * 33_000_000 for index in range(SIZE + 3)]
    assert frames.apart == 4_000_000
    assert frames.figures["dropped"] == 0


def test_pictures_and_depths_none_of_which_belong_together_are_told_with_their_distance(
    frames: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "LONE_S", 0.0)
    for index in range(3):
        frames.image(index * 33_000_000)
        frames.depth(index * 33_000_000 + 8_000_000)
    frames.image(99_000_000)
    assert frames.stamps == []
    assert frames.node.stage.recent_error() == (
        "topics image and depth: 3 pictures, 3 depths, nearest 8.0 ms apart; expected at most 5.0 ms (sync_tolerance)"
    )


def test_pictures_that_come_without_a_depth_any_more_are_told(frames: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "LONE_S", 0.0)
    frames.image(0)
    frames.depth(0)
    for index in range(1, 4):
        frames.image(index * 33_000_000)
    assert re.fullmatch(
        r"topics image and depth: \d pictures, no depth for more than 0 s", frames.node.stage.recent_error()
    )


def test_destroy_counts_what_still_waits(joined: Joined) -> None:
    joined.image(1)
    joined.join.destroy()
    assert joined.figures["dropped (image without partner)"] == 1


def test_a_small_step_back_is_a_late_frame_and_a_large_one_a_restart() -> None:
    order = StampOrder()
    assert not order.is_restart(10 * RESTART_NS)
    assert not order.is_restart(9 * RESTART_NS)
    assert not order.is_restart(10 * RESTART_NS)
    assert order.is_restart(9 * RESTART_NS - 1)
    assert not order.is_restart(9 * RESTART_NS)


def test_pairs_come_out_left_first_whichever_side_was_earlier() -> None:
    pairs: Pairing[str, int] = Pairing("words", "number", 2, lambda side: None)
    assert pairs.add("words", 1, "one") is None
    assert pairs.add("number", 1, 1) == ("one", 1)
    assert pairs.add("number", 2, 2) is None
    assert pairs.add("words", 2, "two") == ("two", 2)
    assert pairs.add("words", 2, "again") is None


def test_pairing_gives_up_the_oldest_by_arrival_and_tells() -> None:
    dropped: list[str] = []
    pairs: Pairing[str, int] = Pairing("words", "number", 2, dropped.append)
    for stamp in (900, 1, 2):
        pairs.add("number", stamp, stamp)
    assert dropped == ["number"]
    assert pairs.add("words", 900, "gone") is None
    assert pairs.add("words", 1, "there") == ("there", 1)
