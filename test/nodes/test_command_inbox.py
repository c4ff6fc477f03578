"""The simulator's inbox of commands."""

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.nodes.simulation.command_inbox import MOST_KEPT, CommandInbox, Received


class Inbox(CommandInbox):
    def __init__(self) -> None:
        self.forgotten = 0
        super().__init__(self._count)

    def _count(self, commands: Sequence[Received]) -> None:
        self.forgotten += len(commands)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def hold(gripper: float) -> EndEffectorAction:
    return EndEffectorAction.hold(gripper)


def later(action: Callable[[], None]) -> None:
    threading.Timer(0.05, action).start()


def test_wait_for_returns_the_answer_as_soon_as_it_comes(inbox: Inbox) -> None:
    later(lambda: inbox.put(Received(7, hold(0.5))))
    began = time.monotonic()
    answer = inbox.wait_for({7}, 300.0)
    assert (answer.stamp, answer.action.gripper) == (7, 0.5)
    assert time.monotonic() - began < 200.0


def test_wait_for_takes_no_command_for_another_observation(inbox: Inbox) -> None:
    inbox.put(Received(6, hold(1.0)))
    assert inbox.wait_for({7, 8}, 0.02) is None


def test_wait_for_takes_the_newest_of_several_answers_and_counts_the_others(inbox: Inbox) -> None:
    for stamp in (3, 7, 8):
        inbox.put(Received(stamp, hold(stamp / 10)))
    answer = inbox.wait_for({7, 8}, 0.02)
    assert (answer.stamp, answer.action.gripper) == (8, 0.8)
    assert inbox.forgotten == 2
    assert inbox.wait_for({3, 7, 8}, 0.02) is None


def test_take_newest_gives_each_command_once(inbox: Inbox) -> None:
    inbox.put(Received(9, hold(0.9)))
    inbox.put(Received(8, hold(0.8)))
    assert inbox.take_newest(0).stamp == 9
    assert inbox.take_newest(0) is None
    assert inbox.forgotten == 1


def test_take_newest_gives_the_next_command_of_the_same_observation(inbox: Inbox) -> None:
    for gripper in (0.1, 0.2):
        inbox.put(Received(9, hold(gripper)))
        newest = inbox.take_newest(0)
        assert (newest.stamp, newest.action.gripper) == (9, gripper)
    assert inbox.forgotten == 0


def test_take_newest_refuses_a_command_from_before(inbox: Inbox) -> None:
    inbox.put(Received(4, hold(0.4)))
    assert inbox.take_newest(5) is None
    assert inbox.forgotten == 1


def test_a_second_command_for_the_same_observation_replaces_the_first(inbox: Inbox) -> None:
    inbox.put(Received(4, hold(0.1)))
    inbox.put(Received(4, hold(0.2)))
    assert inbox.wait_for({4}, 0.02).action.gripper == 0.2
    assert inbox.forgotten == 1


def test_commands_that_answer_nothing_do_not_pile_up(inbox: Inbox) -> None:
    for stamp in range(3 * MOST_KEPT):
        inbox.put(Received(stamp, hold(0.0)))
    assert inbox.forgotten == 2 * MOST_KEPT
    assert inbox.wait_for({0}, 0.0) is None
    assert inbox.wait_for({3 * MOST_KEPT - 1}, 0.0) is not None


def test_close_ends_the_wait(inbox: Inbox) -> None:
    later(inbox.close)
    began = time.monotonic()
    assert inbox.wait_for({7}, 300.0) is None
    assert time.monotonic() - began < 200.0
