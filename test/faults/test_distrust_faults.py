"""What the arm says of itself is not true, or it meets something: live, with a stand-in arm."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from live_graph import LiveGraph, live_graph
from sensor_msgs.msg import JointState
from widowx_rig import PERIOD_S, ROBOT, Rig

from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.messages import make_header, stamp_ns

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
pytestmark = pytest.mark.slow

STATES_TOPIC = "wx250s/joint_states"
WAIST = np.eye(6)[0]
LIMIT = ROBOT.driver.limits.joints["waist"].effort


@contextmanager
def second_source(graph: LiveGraph, position: np.ndarray, speed: float = 0.0) -> Iterator[None]:
    """Another publisher of the arm's joints, at 100 Hz; its waist swings at this speed, rad/s."""
    ended = threading.Event()

    def publish() -> None:
        number = 0
        while not ended.wait(0.01):
            number += 1
            swung = position + WAIST * speed * 0.01 * abs(number % 100 - 50)
            message = JointState(header=make_header(graph.node.get_clock().now().nanoseconds, ""))
            message.name = [*ROBOT.driver.arm.joints, "left_finger"]
            message.position = [*swung.tolist(), 0.03]
            graph.publish(STATES_TOPIC, message)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class WithoutArm(Rig):
    """Somebody else says where the arm is."""

    def start_arm(self) -> None:
        pass


def own_states(rig: Rig) -> np.ndarray:
    """(k, 6): what the arm itself said."""
    return np.stack([rig.joints(state) for state in rig.measured if len(state.effort)])


def test_two_arms_on_one_topic(tmp_path: Path, figures) -> None:
    with live_graph(tmp_path) as graph:
        rig = Rig(graph)
        rig.until_ready()
        before = rig.joints()
        with second_source(graph, before + 0.6 * WAIST):
            rig.until_phase(DriverState.HELD)
            assert rig.states[-1].held_by == ["measured state"]
            assert "two sources that contradict each other" in rig.states[-1].detail
            moved = float(np.abs(own_states(rig) - before).max())
        assert moved < 1e-6
        figures(0.0, moved, "stays until its reset")


def test_a_waist_that_is_read_offset(tmp_path: Path, figures) -> None:
    """The stand-in falls silent, and the driver hears only what is wrong."""
    with live_graph(tmp_path) as graph:
        rig = Rig(graph)
        rig.until_ready()
        before = rig.joints()
        rig.arm.kill()
        with second_source(graph, before + 1.5 * WAIST):
            rig.until_phase(DriverState.HELD)
            assert rig.states[-1].held_by == ["measured state"]
        setpoints = np.stack([np.array(state.position[:6]) for state in rig.setpoints])
        assert np.abs(setpoints - before).max() < 1e-6
        figures(0.0, 0.0, "no setpoint follows")


def test_an_arm_that_swings_at_the_start(tmp_path: Path, figures) -> None:
    with live_graph(tmp_path) as graph:
        with second_source(graph, np.array(ROBOT.driver.home), speed=1.2):
            rig = WithoutArm(graph)
            graph.until(lambda: any("joint waist moves at" in state.detail for state in rig.states), "the wait")
            assert {state.phase for state in rig.states} == {DriverState.WAITING}
            assert not rig.setpoints
        Rig.start_arm(rig)
        rig.until_ready()
        figures(0.0, 0.0, "is taken up when it rests")


def test_a_contact(tmp_path: Path, figures) -> None:
    home = np.array(ROBOT.driver.home)
    with live_graph(tmp_path) as graph:
        rig = Rig(graph, {"obstacle_joint": "waist", "obstacle": float(home[0]) + 0.25})
        rig.until_ready()
        with rig.moving(y=0.03):
            rig.until_phase(DriverState.HELD)
        assert rig.states[-1].held_by == ["contact"]
        assert "waist needs an effort of" in rig.states[-1].detail
        rig.until_at_rest()
        # By the stamps of the arm and of the driver.
        touched = next(stamp_ns(state.header) for state in rig.measured if abs(state.effort[0]) > LIMIT)
        stopped = next(stamp_ns(state.header) for state in rig.states if "contact" in state.held_by)
        # Until the stop; afterwards the setpoints give way, to where the arm is.
        moving = [
            stamp_ns(each.header)
            for each in rig.setpoints
            if stamp_ns(each.header) > touched and each.velocity[0] > 0.01
        ]
        held_s = (max(moving, default=touched) - touched) * 1e-9
        assert held_s < PERIOD_S + 0.1, "detection, and the stop"
        assert stopped > touched
        assert rig.setpoints[-1].position[0] == pytest.approx(home[0] + 0.25, abs=0.02)
        figures(held_s, 0.0, "gives way, and stays until its reset")
