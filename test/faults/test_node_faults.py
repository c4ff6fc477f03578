"""Killed and frozen nodes while the arm moves: it comes to rest. It goes on when the node is back, but for the driver
and its arm: after these a person resets the driver and gives the instruction anew; and for whoever gave the
instruction: after that it is given anew.
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from live_graph import PATIENCE_S
from robot_rig import DRIVER, INSTRUCT, NODES, PERIOD_S, RESET, STAND_IN, RobotRig, robot_rig

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
pytestmark = pytest.mark.slow

# Frames on their way, one inference, and a motion of one and a half periods to its end.
PERCEPTION_S = 2.5
# Until a process that says nothing is forgotten (config/fastdds.xml), and then orphan_timeout.
ORPHANED, ORPHANED_S = "the caller of this goal is gone", 10.0 + 2.0
# By node: seconds in which the arm must rest. A driver's own motion ends with it, the arm's with its profile.
HOLD_S = {
    "tracker": PERCEPTION_S,
    "depth": PERCEPTION_S,
    "compositor": PERCEPTION_S,
    "vla_server": PERCEPTION_S,
    "robot_session": ORPHANED_S + PERCEPTION_S,
    DRIVER: 2 * PERIOD_S,
    STAND_IN: 2 * PERIOD_S,
}
# By node: what its loss latches, killed or frozen. A frozen driver finds that its arm was silent.
STOPS = {DRIVER: ("driver ended", "arm lost"), STAND_IN: ("arm lost", "arm lost")}
# By node: what a person does when it is back.
ACTS = {**dict.fromkeys(STOPS, (RESET, INSTRUCT)), "robot_session": (INSTRUCT,)}
TOLD = {**dict.fromkeys(STOPS, ", a reset and a new instruction"), "robot_session": " and a new instruction"}


# Each node of the WidowX' graph; of another arm's, those that it does not share.
LOST = [("widowx", node) for node in (*NODES, "robot_session")]
LOST += [(arm, node) for arm in ("ros2_control", "moveit_servo") for node in ("vla_server", STAND_IN, DRIVER)]


@pytest.fixture(scope="module")
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotRig]:
    with robot_rig(request.param, tmp_path_factory.mktemp("nodes")) as rig:
        yield rig


def hold(rig: RobotRig, node: str) -> tuple[float, float]:
    """Wait until the arm rests without this node. :returns: seconds until then, and the tool's motion, metres; zeros
    where it says nothing by which it could be seen.
    """
    if node == STAND_IN:
        rig.until_stopped("arm lost")
        return 0.0, 0.0
    if node == "robot_session":
        # The arm may rest for a moment before, too.
        server = rig.process("vla_server")
        before = server.output.count(ORPHANED)
        rig.graph.until(lambda: server.output.count(ORPHANED) > before, "the end of the goal", 2 * HOLD_S[node])
    held = rig.until_holding(10.0)
    assert held < HOLD_S[node]
    return held, rig.largest_motion()


@pytest.mark.parametrize(("rig", "node"), LOST, indirect=["rig"])
def test_killed(rig: RobotRig, node: str, figures) -> None:
    rig.until_moving()
    rig.strike(rig.process(node).kill)
    held, motion = hold(rig, node)
    if node == STAND_IN:
        # The new arm starts elsewhere; the driver takes it up where it stands.
        rig.measured.clear()
    lost = rig.executable(node)
    others = [name for name, process in rig.graph.processes.items() if name != lost and not process.alive()]
    assert not others
    rig.states.clear()
    rig.start(node)
    if node in STOPS:
        rig.until_stopped(STOPS[node][0])
    if node in ACTS:
        rig.resume(*ACTS[node])
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, f"moves again after its restart{TOLD.get(node, '')}")


@pytest.mark.parametrize(("rig", "node"), LOST, indirect=["rig"])
def test_frozen(rig: RobotRig, node: str, figures) -> None:
    rig.until_moving()
    pid = rig.process(node).pid
    rig.strike(lambda: os.kill(pid, signal.SIGSTOP))
    try:
        held, motion = hold(rig, node)
        # A driver that was frozen for less than the joint states' timeout goes on.
        rig.graph.until(lambda: time.monotonic() - rig.fault_at > 2.0 * PATIENCE_S, "a longer time")
    finally:
        os.kill(pid, signal.SIGCONT)
    if node in STOPS:
        rig.until_stopped(STOPS[node][1])
        # Who was frozen in motion first ends it, by the stop that was checked before.
        first = len(rig.measured)
        rig.graph.until(lambda: len(rig.measured) > first + 100 and rig.still_for(0.5), "rest")
    if node in ACTS:
        rig.resume(*ACTS[node])
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, f"moves again when it goes on{TOLD.get(node, '')}")
