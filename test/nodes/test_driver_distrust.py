"""What the arm says of itself cannot be true, or it meets something: the driver stops for good."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from any_message import wire
from robot_bench import RobotBench
from sensor_msgs.msg import JointState
from widowx_bench import NAMES, PERIOD_TICKS, ROBOT, STATES_TOPIC, joint_states, sideways

from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.messages import ns_to_time

FREE = [100.0, 900.0, -700.0, 0.0, 50.0, 0.0]
WAIST = np.eye(6)[0]


@pytest.fixture
def starting(driver: RobotBench) -> Iterator[RobotBench]:
    """The arm is at home, and nothing was measured yet."""
    driver.begin()
    yield driver
    driver.bench.stop()


@pytest.fixture
def ready(starting: RobotBench) -> RobotBench:
    """The arm is at home, and commands are accepted."""
    starting.effort = FREE
    starting.until_engaged()
    starting.tick(1)
    return starting


def causes(robot: RobotBench) -> list[str]:
    return list(robot.node.latch.causes)


def detail(robot: RobotBench) -> str:
    return robot.node.detail


def hear(robot: RobotBench, message: Any) -> None:
    robot.bench.receive(STATES_TOPIC, message)


def swing(robot: RobotBench, ticks: int, speed: float) -> None:
    """Somebody turns the waist."""
    for _ in range(ticks):
        robot.position = robot.position + WAIST * speed / ROBOT.driver.tick_hz
        robot.tick(1)


def assert_frozen(robot: RobotBench, ticks: int = 50) -> None:
    """No setpoint moves from now on."""
    (segment,) = robot.segments
    before = segment.positions[-1]
    count = len(segment.positions)
    robot.tick(ticks)
    assert all(np.array_equal(position, before) for position in segment.positions[count:])


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_a_reading_that_jumps_moves_nothing_and_latches(ready: RobotBench) -> None:
    """A waist offset by 1.5 rad: it led the arm 1.5 rad away, though no command was ever sent."""
    ready.follows = False
    ready.position = ready.position + 1.5 * WAIST
    ready.tick(1)
    assert causes(ready) == ["measured state"]
    assert "waist moved 1.5 rad within" in ready.node.latch.causes["measured state"]
    assert_frozen(ready)


def test_a_reading_that_drifts_away_moves_nothing_and_latches(ready: RobotBench) -> None:
    """Slowly enough for an arm: no setpoint led there, so none gives way."""
    ready.follows = False
    swing(ready, 50, 0.8)
    assert causes(ready) == ["tracking"]
    assert "waist does not follow" in ready.node.latch.causes["tracking"]
    assert_frozen(ready)
    assert np.array_equal(ready.segments[0].positions[-1], ready.segments[0].start)


def test_two_arms_on_one_topic_are_found_out(ready: RobotBench) -> None:
    other = ready.position + 0.6 * WAIST
    hear(ready, joint_states(other))
    assert causes(ready) == ["measured state"]
    assert "two sources that contradict each other" in ready.node.latch.causes["measured state"]
    assert_frozen(ready)


def test_a_second_source_that_is_always_overtaken_is_found_out_too(ready: RobotBench) -> None:
    now = ready.clock.now_ns()
    hear(ready, joint_states(ready.position, stamp=ns_to_time(now)))
    hear(ready, joint_states(ready.position + 0.6 * WAIST, stamp=ns_to_time(now - 5_000_000)))
    assert causes(ready) == ["measured state"]


def test_an_arm_that_moves_as_it_is_told_is_never_doubted(ready: RobotBench) -> None:
    sideways(ready, 6)
    ready.tick(5 * PERIOD_TICKS)
    assert ready.bench.call("~/home").success
    ready.tick(50)
    assert ready.bench.call("~/rest").success  # outside the workspace
    ready.tick(300)
    assert ready.position == pytest.approx(np.array(ROBOT.driver.rest))
    assert ready.bench.call("~/home").success
    ready.tick(300)
    assert ready.position == pytest.approx(np.array(ROBOT.driver.home)) and not causes(ready)


def test_a_tool_that_nobody_sent_out_of_the_workspace_stops_the_arm(ready: RobotBench) -> None:
    """Slowly, and no joint is far from its setpoint."""
    sideways(ready, 9)
    ready.tick(3 * PERIOD_TICKS)
    assert not causes(ready)
    ready.follows = False
    swing(ready, 30, -0.3)
    assert causes(ready) == ["measured state"]
    assert "outside the workspace" in ready.node.latch.causes["measured state"]
    assert_frozen(ready)


FAULTY: dict[str, Callable[[JointState], None]] = {
    "a joint is missing": lambda message: (message.name.pop(2), message.position.pop(2)),
    "a joint comes twice": lambda message: (message.name.append("waist"), message.position.append(1.0)),
    "too few positions": lambda message: message.position.pop(),
    "too many positions": lambda message: message.position.append(0.0),
    "efforts of some": lambda message: message.effort.append(0.0),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_joint_states_that_cannot_be_stop_the_arm(ready: RobotBench, fault: str) -> None:
    message = JointState(name=list(NAMES), position=[*ready.position.tolist(), 0.03])
    FAULTY[fault](message)
    hear(ready, wire(message))
    assert causes(ready) == ["measured state"]
    assert f"topic {STATES_TOPIC}: expected" in ready.node.latch.causes["measured state"]


def test_of_two_that_say_where_the_arm_is_one_that_has_no_name_yet_is_told_as_such(
    ready: RobotBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["xs_sdk", "_NODE_NAME_UNKNOWN_"]
    found = [SimpleNamespace(node_namespace="/wx250s", node_name=name) for name in names]
    monkeypatch.setattr(ready.node, "get_publishers_info_by_topic", lambda topic: found)
    message = JointState(name=list(NAMES), position=[*ready.position.tolist(), 0.03])
    FAULTY["a joint is missing"](message)
    hear(ready, wire(message))
    assert "(published by /wx250s/xs_sdk, unknown name)" in ready.node.latch.causes["measured state"]


@pytest.mark.parametrize("names", [["rail"], ["left_finger"], []])
def test_joint_states_of_others_on_the_same_topic_are_none_of_its_business(ready: RobotBench, names: list) -> None:
    hear(ready, wire(JointState(name=names, position=[7.0] * len(names))))
    ready.tick(10)
    assert ready.node.engaged and not causes(ready)


# --- giving way -------------------------------------------------------------------------------------------------------


def test_setpoints_give_way_to_an_arm_that_is_blocked_and_no_farther(ready: RobotBench) -> None:
    ready.follows = False
    blocked = ready.position.copy()
    sideways(ready, 6)
    ready.tick(5 * PERIOD_TICKS)
    assert causes(ready) == ["tracking"]
    (segment,) = ready.segments
    assert np.abs(np.stack(segment.positions) - blocked).max() > ROBOT.driver.limits.tracking_error
    assert segment.positions[-1] == pytest.approx(blocked)
    assert_frozen(ready)


def test_setpoints_do_not_give_way_to_where_they_never_were(ready: RobotBench) -> None:
    """Shoulder and elbow are read where a link would be below the table, while the waist is on its way."""
    ready.follows = False
    sideways(ready, 2)
    for _ in range(40):
        ready.position = ready.position + np.array([0.0, 0.9, -0.6, 0.0, 0.0, 0.0]) / 60.0
        ready.tick(1)
    ready.tick(20)
    assert set(causes(ready)) <= {"tracking", "measured state"} and causes(ready)
    (segment,) = ready.segments
    # The commands' own way, and the stop.
    led = np.abs(np.stack(segment.positions) - segment.start)
    assert (led[-1] <= led[: len(led) - 20].max(axis=0) + 1e-9).all()
    assert_frozen(ready)


# --- engaging ---------------------------------------------------------------------------------------------------------


def test_an_arm_that_swings_is_not_taken_up_before_it_rests(starting: RobotBench) -> None:
    swing(starting, 50, 1.2)
    assert not starting.node.engaged
    assert starting.node._phase()[0] == DriverState.WAITING
    assert starting.node._phase()[2] == "waiting: joint waist moves at 1.2 rad/s, expected less than 0.05"
    starting.until_engaged()
    assert starting.segments[0].start == pytest.approx(starting.position)


def test_an_arm_that_moves_while_its_services_are_called_is_not_taken_up_then(starting: RobotBench) -> None:
    answer, tick_s = starting.answers, 1.0 / ROBOT.driver.tick_hz
    asked: list[Any] = []

    def slow(request: Any) -> Any:
        """The arm drops meanwhile."""
        asked.append(request)
        for _ in range(5):
            starting.clock.elapsed_ns += round(1e9 * tick_s)
            starting.position = starting.position + 0.5 * tick_s * WAIST
            hear(starting, joint_states(starting.position))
        return answer(request)

    starting.answers = slow
    try:
        starting.tick(5)
        assert not asked, "services are called before the arm was seen at rest"
        while not asked:
            starting.tick(1)
    finally:
        starting.answers = answer
    assert not starting.node.engaged and "joint waist moves at 0.5 rad/s" in detail(starting)
    starting.until_engaged()
    assert starting.segments[0].start == pytest.approx(starting.position)


def test_two_arms_on_one_topic_are_not_taken_up(starting: RobotBench) -> None:
    """joint_state_publisher's zeros beside the real arm: one start in three took up the zeros."""
    for _ in range(60):
        hear(starting, joint_states(np.zeros(6)))
        starting.tick(1)
    assert not starting.node.engaged and not starting.segments
    assert "two sources that contradict each other" in detail(starting)
    assert not causes(starting), "nothing moved yet: without the other one, it goes on by itself"
    starting.until_engaged()


def test_joint_states_that_cannot_be_keep_an_arm_from_being_taken_up_and_are_told(starting: RobotBench) -> None:
    for _ in range(30):
        hear(starting, wire(JointState(name=list(NAMES[:3]), position=[0.0] * 3)))
        starting.tick(1)
    assert not starting.node.engaged
    assert "forearm_roll once, got it not at all" in detail(starting)


# --- contact ----------------------------------------------------------------------------------------------------------


def test_a_contact_stops_the_arm_within_one_control_period_and_latches(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.tick(5)
    (segment,) = ready.segments
    assert np.abs(np.diff(segment.positions[-2:], axis=0)).max() > 1e-3, "it does not move"
    ready.effort = [1400.0, *FREE[1:]]
    ready.tick(2 + PERIOD_TICKS)
    assert causes(ready) == ["contact"]
    assert "waist needs an effort of 1400, 1300 allowed" in ready.node.latch.causes["contact"]
    assert_frozen(ready)


def test_a_spike_of_one_measurement_stops_nothing(ready: RobotBench) -> None:
    sideways(ready, 2)
    ready.effort = [2300.0, *FREE[1:]]
    ready.tick(1)
    ready.effort = FREE
    ready.tick(PERIOD_TICKS)
    assert not causes(ready)


def test_an_arm_that_rests_may_carry_what_it_can(ready: RobotBench) -> None:
    ready.effort = [0.0, 2000.0, *FREE[2:]]
    ready.tick(30)
    assert not causes(ready)


def test_setpoints_give_way_to_what_the_arm_met(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.tick(5)
    ready.follows, ready.effort = False, [-1400.0, *FREE[1:]]
    met = ready.position.copy()
    ready.tick(4 * PERIOD_TICKS)
    assert causes(ready) == ["contact"]
    assert ready.segments[0].positions[-1] == pytest.approx(met)
    assert_frozen(ready)


def test_efforts_that_end_while_the_arm_moves_stop_it(ready: RobotBench) -> None:
    sideways(ready)
    ready.effort = None
    for _ in range(3):
        ready.tick(PERIOD_TICKS)
        sideways(ready)
    assert causes(ready) == ["contact"]
    assert "no effort of waist" in ready.node.latch.causes["contact"]


def test_an_arm_that_gives_no_efforts_says_that_contact_is_not_watched(starting: RobotBench) -> None:
    starting.until_engaged()
    assert starting.node.extra_diagnostics()["contact"] == "the arm gives no efforts: contact is not watched"
    sideways(starting, 3)
    starting.tick(PERIOD_TICKS)
    assert not causes(starting)
