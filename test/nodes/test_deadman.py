"""A joystick's button as the deadman: it counts by its stamps."""

from types import SimpleNamespace

import pytest
from robot_bench import Clock
from sensor_msgs.msg import Joy
from std_msgs.msg import Header

from stvla_ros.nodes.drivers import deadman
from stvla_ros.nodes.drivers.deadman import Deadman
from stvla_ros.nodes.kit.messages import ns_to_time

GIVEN = {"deadman": "joy", "deadman_button": 0, "deadman_timeout": 0.5}


class Switch:
    """The deadman, its clock, and the reasons for which messages were refused."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.refused = clock, []
        node = SimpleNamespace(
            parameter=lambda name, *_, **__: GIVEN[name],
            reject=lambda kind, text: self.refused.append(text),
            latency_s=lambda stamp: (clock.now_ns() - stamp) * 1e-9,
        )
        self.deadman = Deadman(node)

    def say(self, pressed: int, stamp: int) -> bool:
        self.deadman._on_joy(Joy(header=Header(stamp=ns_to_time(stamp)), buttons=[pressed]))
        return self.deadman.held


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    clock = Clock()
    monkeypatch.setattr(deadman, "time", clock)
    return Switch(clock)


@pytest.mark.parametrize("age_s", [1e9, 60.0, 0.6, -0.2, -60.0])
def test_an_old_stamp_or_one_from_the_future_holds_nothing(switch: Switch, age_s: float) -> None:
    assert not switch.say(1, switch.clock.now_ns() - round(age_s * 1e9))
    assert switch.refused[0].startswith("topic joy: expected a stamp at most 0.5 s old")


@pytest.mark.parametrize("stamp", [0, 5_000_000_000])
def test_no_stamp_and_one_of_1970_hold_nothing(switch: Switch, stamp: int) -> None:
    assert not switch.say(1, stamp)


def test_one_message_over_and_over_holds_for_its_time_and_no_longer(switch: Switch) -> None:
    stamp, held = switch.clock.now_ns(), []
    for _ in range(10):
        held.append(switch.say(1, stamp))
        switch.clock.elapsed_ns += 100_000_000
    assert held == [True] * 5 + [False] * 5


def test_what_came_late_holds_for_what_is_left_of_its_time(switch: Switch) -> None:
    assert switch.say(1, switch.clock.now_ns() - 300_000_000)
    switch.clock.elapsed_ns += 210_000_000
    assert not switch.deadman.held


def test_a_button_that_is_let_go_counts_whatever_its_stamp(switch: Switch) -> None:
    assert switch.say(1, switch.clock.now_ns())
    assert not switch.say(0, 0)


def test_new_stamps_hold_on(switch: Switch) -> None:
    for _ in range(20):
        assert switch.say(1, switch.clock.now_ns())
        switch.clock.elapsed_ns += 50_000_000
