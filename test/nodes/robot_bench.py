"""A driver on the bench: its clock, its ticks, and a robot that is where it was told to be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from any_message import NOW_NS, wire
from command_goals import new_goal, of_goal
from node_bench import Bench, ros
from pytest import MonkeyPatch
from sensor_msgs.msg import Joy
from std_srvs.srv import SetBool

from stvla_ros.control.safety.latch import default_latch_folder, latch_file
from stvla_ros.nodes.drivers import (
    deadman,
    driver,
    driver_base,
    driver_commands,
    driver_engagement,
    driver_exclusivity,
    driver_reports,
    driver_supervision,
    driver_times,
    estop_topic,
    moveit_servo_driver,
)
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.kit import service_sequence
from stvla_ros.nodes.kit.messages import ns_to_time


class Clock:
    """In place of the module ``time``, and of the node's clock."""

    def __init__(self) -> None:
        self.elapsed_ns, self.jumped_ns = 10**9, 0
        self.during_sleep: Callable[[], None] = lambda: None

    def monotonic_ns(self) -> int:
        return self.elapsed_ns

    def monotonic(self) -> float:
        return self.elapsed_ns * 1e-9

    def now_ns(self) -> int:
        return NOW_NS + self.elapsed_ns + self.jumped_ns

    def sleep(self, seconds: float) -> None:
        self.during_sleep()


class _Ticker:
    """Ticks when the test says so."""

    def __init__(
        self, period_s: float, tick: Callable[[], None], on_error: Callable[[Exception], None], priority: int
    ) -> None:
        self.tick = tick

    def stop(self) -> None:
        pass


@dataclass
class Segment:
    """What was sent between two moments at which the driver began at the measured position.

    :param start: the position measured then.
    :param ticks: of the setpoints.
    :param ways: of the ticks, whether a way home or to rest had been asked for by then.
    :param held: of the ticks, how many since the emergency stop; 0 without.
    """

    start: np.ndarray
    positions: list[np.ndarray] = field(default_factory=list)
    ways: list[bool] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    sent: list[dict[str, list[Any]]] = field(default_factory=list)


class RobotBench:
    """
    :param make: the driver.
    :param joint_states: topic of what is measured.
    :param measure: the message of that topic, for a position.
    :param outputs: topics of what is sent to the robot; first the arm's.
    :ivar follows: whether the arm is where it was told to be; not when it is blocked.
    :ivar effort: that it measures, where its driver takes any.
    """

    def __init__(
        self,
        make: Callable[[], DriverNode],
        joint_states: str,
        measure: Callable[[DriverNode, np.ndarray], Any],
        home: np.ndarray,
        outputs: tuple[str, ...],
        clock: Clock,
    ) -> None:
        self.answers: Callable[[Any], Any] = lambda request: None
        self.bench = Bench(make, lambda request: self.answers(request))
        self.node, self.clock = self.bench.node, clock
        self.node.now_ns = clock.now_ns
        self._topic, self._measure, self._home, self._outputs = joint_states, measure, home, outputs
        self.latch_file = latch_file(default_latch_folder(), self.node.get_fully_qualified_name())
        clock.during_sleep = self._tick

    def begin(self) -> None:
        """Anew, with the arm at home, and nothing latched."""
        self.bench.stop()
        self.latch_file.unlink(missing_ok=True)
        self.clock.jumped_ns = 0
        self.clock.elapsed_ns += 60 * 10**9
        self.position = self._home.copy()
        self.speaks, self.holds, self.follows = True, True, True
        self.effort: list[float] | None = None
        self.went, self.since_stop, self.in_estop = False, 0, False
        self.segments: list[Segment] = []
        self.bench.start()
        self.new_goal()

    def new_goal(self) -> None:
        """The commands that follow are of another goal, which was accepted now."""
        self.clock.elapsed_ns += 1  # nothing happens at the same time
        self.goal = new_goal(self.node.embodiment.name, self.clock.now_ns())

    def end(self) -> None:
        """Deactivated: the arm comes to rest, and nothing more is said."""
        self.bench.stop()
        assert not self.node.gate

    def tick(self, count: int) -> None:
        for _ in range(count):
            if self.holds:
                self.switch(True)
            if self.speaks:
                self.bench.receive(self._topic, self._measure(self.node, self.position))
            engaged = self.node.engaged
            for timer in self.bench.timers:
                self.bench.run(timer)
            if self.node.engaged and not engaged:
                self.segments.append(Segment(self.node.position.copy()))
            self._tick()

    def until_engaged(self) -> None:
        """Tick until the arm is taken up: once it was seen at rest for long enough."""
        for _ in range(100):
            if self.node.engaged:
                return
            self.tick(1)
        raise AssertionError(f"the arm is not taken up: {self.node.detail}")

    def _tick(self) -> None:
        self.clock.elapsed_ns += round(1e9 / self.node.description.tick_hz)
        self.bench.forget()
        self.bench.run(self.node._ticker.tick)
        sent = {topic: list(self.bench.sent(topic)) for topic in self._outputs}
        told = self.bench.sent("setpoint")
        if not told:
            assert not sent[self._outputs[0]], f"sent without a setpoint: {sent}"
            return
        self.since_stop += self.in_estop
        segment = self.segments[-1]
        names = list(self.node.gate.names)
        segment.positions.append(np.array(told[0].position[: len(names)]))
        segment.sent.append(sent)
        segment.ways.append(self.went)
        segment.held.append(self.since_stop)
        if self.follows:
            self.position = segment.positions[-1]

    def switch(self, held: bool) -> None:
        """The deadman's, whichever there is."""
        if "joy" in self.bench.topics:
            self.bench.receive("joy", wire(self.joy(int(held))))
        elif "~/deadman" in self.bench.services:
            self.bench.call("~/deadman", SetBool.Request(data=held))

    def joy(self, pressed: int, age_s: float = 0.0) -> Joy:
        message = Joy(buttons=[pressed] * 5)
        message.header.stamp = ns_to_time(self.clock.now_ns() - round(age_s * 1e9))
        return message

    def estop(self, message: Any) -> None:
        self.bench.receive("estop", message)
        if message.data:
            self.in_estop = True

    def reset(self) -> None:
        if self.bench.call("~/reset").success:
            self.in_estop, self.since_stop = False, 0

    def go(self, where: str) -> None:
        if where in self.bench.services and self.bench.call(where).success:
            self.went = True

    def command(self, message: Any, offset_ns: int | None) -> None:
        """
        :param message: of the bench's goal, unless it says itself whom it is for.
        :param offset_ns: of the stamp to the clock; None: the message's own.
        """
        if offset_ns is not None:
            message.header.stamp = ns_to_time(self.clock.now_ns() + offset_ns)
        if not message.robot:
            of_goal(message, self.goal)
        self.bench.receive("command", wire(message))


@contextmanager
def robot_bench(
    make: Callable[[], DriverNode],
    joint_states: str,
    measure: Callable[[DriverNode, np.ndarray], Any],
    home: np.ndarray,
    outputs: tuple[str, ...],
    *parameters: str,
) -> Iterator[RobotBench]:
    clock, patch = Clock(), MonkeyPatch()
    for module in (
        driver,
        driver_base,
        driver_commands,
        driver_exclusivity,
        driver_engagement,
        deadman,
        driver_reports,
        driver_supervision,
        driver_times,
        estop_topic,
        moveit_servo_driver,
        service_sequence,
    ):
        patch.setattr(module, "time", clock)
    patch.setattr(driver, "Ticker", _Ticker)
    try:
        with ros(*parameters):
            made = RobotBench(make, joint_states, measure, home, outputs, clock)
            yield made
            made.bench.stop()
            made.node.destroy_node()
            del made
    finally:
        patch.undo()
