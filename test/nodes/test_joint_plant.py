"""The simulated WidowX joint by joint under the real driver; the test relays the expert in the place of a policy."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_goals import new_goal
from live_graph import LiveGraph, live_graph
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from test_sim_bridge import TASK, Relay

from stvla_ros.msg import CommandVerdict, DriverState, EndEffectorCommand, EpisodeState
from stvla_ros.nodes.kit.base import STATE_QOS

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")

JOINT_LEVEL = {**TASK, "task": "stack_cube", "pacing": "realtime", "joint_level": True, "episodes": 2}


class JointRelay(Relay):
    """Its goal is anew with each episode, and while the driver has not taken the arm up: goals from before do not count
    for it.
    """

    def __init__(self, graph: LiveGraph) -> None:
        super().__init__(graph)
        self._drivers, self._episode = graph.listen(DriverState, "driver_state", qos=STATE_QOS), -1

    def send(self, command: EndEffectorCommand) -> None:
        episode = self.states[-1].index
        up = bool(self._drivers) and self._drivers[-1].phase in (DriverState.READY, DriverState.MOVING)
        if episode != self._episode or not up:
            self.goal = new_goal("widowx")
            self._episode = episode if up else -1
        super().send(command)


@pytest.fixture
def relay(scenes: Path, tmp_path: Path) -> Iterator[Relay]:
    with live_graph(tmp_path) as graph:
        yield JointRelay(graph)


def test_the_expert_stacks_the_cubes_through_the_driver_and_its_safety_gate(relay: Relay) -> None:
    verdicts = relay.graph.listen(CommandVerdict, "command_verdict")
    relay.graph.start("widowx_driver", robot="widowx")
    relay.graph.start("sim_bridge", **JOINT_LEVEL)
    # Twice: the next episode begins with the arm elsewhere.
    relay.phase(EpisodeState.SUCCEEDED, 2, timeout_s=180.0)
    relay.phase(EpisodeState.FINISHED)
    executed = sum(verdict.executed for verdict in verdicts)
    assert 40 < executed <= len(relay.commands)
    assert executed >= 0.8 * len(verdicts), [verdict.refused for verdict in verdicts if verdict.refused]
    for process in relay.graph.processes.values():
        assert "Traceback" not in process.output


def test_an_emergency_stop_holds_the_simulated_arm_while_the_world_goes_on(relay: Relay) -> None:
    graph = relay.graph
    measured, states = graph.listen(JointState, "wx250s/joint_states"), graph.listen(DriverState, "driver_state")
    graph.start("widowx_driver", robot="widowx")
    graph.start("sim_bridge", **JOINT_LEVEL)
    graph.until(lambda: any(state.phase == DriverState.MOVING for state in states), "motion", 120.0)
    graph.publish("estop", Bool(data=True))
    graph.until(lambda: states[-1].held_by == ["estop"], "the stop")

    def simulate_a_second() -> None:
        step = relay.states[-1].step
        graph.until(lambda: relay.states[-1].step >= step + 5, "a second of simulation")

    simulate_a_second()  # the servos come to rest at what they were told last
    simulate_a_second()
    measured.clear()
    simulate_a_second()
    positions = np.stack([message.position for message in measured])
    assert len(positions) > 50
    assert np.ptp(positions, axis=0).max() < 1e-3


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"pacing": "lockstep"}, "parameter joint_level: expected pacing realtime"),
        ({"task": "panda_pick_cube"}, "parameter joint_level: expected a task of the WidowX, panda is another"),
    ],
)
def test_what_no_driver_can_drive_is_refused(relay: Relay, changed: dict, complaint: str) -> None:
    process = relay.graph.start("sim_bridge", **{**JOINT_LEVEL, **changed})
    assert process.wait(120.0) == 2
    assert complaint in process.output and "Traceback" not in process.output
