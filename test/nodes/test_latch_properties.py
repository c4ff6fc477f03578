"""Whatever happens in whatever order to a driver (stops, resets, kills, restarts, deactivations, silence of its arm,
goals): its arm moves only after a reset *and* something that was asked for after it.
"""

import numpy as np
from any_message import wire
from examples import examples
from hypothesis import event as note
from hypothesis import example, given
from hypothesis import strategies as st
from robot_bench import RobotBench
from std_msgs.msg import Bool
from widowx_bench import PERIOD_TICKS, ROBOT, sideways

TIMEOUT_TICKS = round(ROBOT.driver.limits.joint_state_timeout * ROBOT.driver.tick_hz) + 2
COUNTS = {
    "tick": st.sampled_from([1, 3, 12, 30]),
    "command": st.integers(1, 4),
    "power off": st.sampled_from([3, TIMEOUT_TICKS, 60]),
}
EVENTS = (
    "estop", "estop topic", "topic released", "reset", "new goal", "home", "kill", "restart", "deactivate", "activate",
)  # fmt: skip
events = st.lists(
    st.one_of(*(st.tuples(st.just(name), count) for name, count in COUNTS.items()))
    | st.tuples(st.sampled_from(EVENTS), st.just(1)),
    max_size=14,
)


class Watched:
    """A driver, and what its arm may do by what happened. What the driver itself knows is not asked."""

    def __init__(self, robot: RobotBench) -> None:
        self.robot = robot
        robot.begin()
        robot.until_engaged()
        self.active, self.engaged = True, True
        # Whether something stopped the arm since the last reset; ticks in which it may still brake.
        self.stopped, self.braking = False, 0
        # Whether the goal of the commands began after the last reset and activation, and whether a person sent it home.
        self.goal_counts, self.sent_home = True, False
        self.moved = False

    def stop(self) -> None:
        if not self.stopped:
            self.stopped, self.braking = True, PERIOD_TICKS + 1
        self.sent_home = False

    def tick(self, count: int) -> None:
        robot = self.robot
        for _ in range(count):
            if not self.active:
                robot.clock.elapsed_ns += round(1e9 / ROBOT.driver.tick_hz)
                continue
            before = robot.position
            robot.tick(1)
            self.engaged |= robot.node.engaged
            if not np.array_equal(robot.position, before):
                self.moved = True
                assert not self.stopped or self.braking > 0, "it moves without a reset"
                assert self.braking > 0 or self.goal_counts or self.sent_home, "it moves without a new goal"
            self.braking -= 1

    def command(self, count: int) -> None:
        for _ in range(count if self.active else 0):
            sideways(self.robot)
            self.tick(PERIOD_TICKS)

    def power_off(self, count: int) -> None:
        self.robot.speaks = False
        self.tick(count)
        self.robot.speaks = True
        if self.active and count >= TIMEOUT_TICKS and self.engaged:
            self.stop()

    def goals_end(self) -> None:
        self.goal_counts, self.sent_home = False, False

    def start(self) -> None:
        self.active, self.engaged = True, False
        self.goals_end()


def happen(watched: Watched, name: str, count: int) -> None:
    robot, bench = watched.robot, watched.robot.bench
    if name in COUNTS:
        getattr(watched, name.replace(" ", "_"))(count)
    elif name == "estop":
        bench.call("~/estop")
        watched.stop()
    elif name.endswith(("topic", "released")):
        bench.receive("estop", wire(Bool(data=name == "estop topic")))
        if name == "estop topic":
            watched.stop()
    elif name == "reset":
        if bench.call("~/reset").success:
            watched.stopped, watched.engaged = False, False
            watched.goals_end()
    elif name == "new goal":
        robot.new_goal()
        watched.goal_counts = True
    elif name == "home":
        if watched.active and bench.call("~/home").success:
            assert not watched.stopped, "it is sent home without a reset"
            watched.sent_home = True
    elif name == "kill":
        if watched.active:
            robot.node.latch._latch.end = lambda: None
            watched.stop()
        bench.start()
        watched.braking = 0
        watched.start()
    elif name == "restart":
        bench.start()
        watched.start()
    elif name == "deactivate" and watched.active:
        robot.node.on_deactivate(None)
        watched.active = False
    elif name == "activate" and not watched.active:
        robot.node.on_activate(None)
        watched.start()


@examples(15)
@example(happened=[("deactivate", 1), ("estop", 1), ("restart", 1)])
@given(happened=events)
def test_nothing_moves_without_a_reset_and_a_new_goal(driver: RobotBench, happened: list[tuple[str, int]]) -> None:
    watched = Watched(driver)
    watched.command(2)
    for name, count in happened:
        happen(watched, name, count)
        # Whatever it was: somebody goes on commanding, and time goes by.
        watched.command(1)
    if not watched.active:
        happen(watched, "activate", 1)
    watched.tick(30)
    watched.command(2)
    happen(watched, "reset", 1)
    watched.tick(30)
    watched.command(2)
    note(f"moved {watched.moved}, stopped {watched.stopped}")
    driver.bench.stop()
