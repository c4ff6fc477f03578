"""Killed and frozen nodes while the arm moves: it comes to rest. It goes on when the node is back, but for the driver
and its arm: after these a person resets the driver and gives the instruction anew; and for whoever gave the
instruction: after that it is given anew.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from live_graph import live_graph
from robot_rig import INSTRUCT, NODES, PERIOD_S, RESET, RobotRig

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
    "widowx_driver": 2 * PERIOD_S,
    "fake_xs_arm": 2 * PERIOD_S,
}
# By node: what its loss latches, killed or frozen. A frozen driver finds that its arm was silent.
STOPS = {"widowx_driver": ("driver ended", "arm lost"), "fake_xs_arm": ("arm lost", "arm lost")}
# By node: what a person does when it is back.
ACTS = {**dict.fromkeys(STOPS, (RESET, INSTRUCT)), "robot_session": (INSTRUCT,)}
TOLD = {**dict.fromkeys(STOPS, ", a reset and a new instruction"), "robot_session": " and a new instruction"}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotRig]:
    folder = tmp_path_factory.mktemp("nodes")
    with live_graph(folder) as graph:
        rig = RobotRig(graph, folder)
        yield rig
        rig.close()


def hold(rig: RobotRig, node: str) -> tuple[float, float]:
    """Wait until the arm rests without this node. :returns: seconds until then, and the tool's motion, metres; zeros
    where it says nothing by which it could be seen.
    """
    if node == "fake_xs_arm":
        rig.until_stopped("arm lost")
        return 0.0, 0.0
    if node == "robot_session":
        # The arm may rest for a moment before, too.
        server = rig.graph.processes["vla_server"]
        before = server.output.count(ORPHANED)
        rig.graph.until(lambda: server.output.count(ORPHANED) > before, "the end of the goal", 2 * HOLD_S[node])
    held = rig.until_holding(10.0)
    assert held < HOLD_S[node]
    return held, rig.largest_motion()


@pytest.mark.parametrize("node", [*NODES, "robot_session"])
def test_killed(rig: RobotRig, node: str, figures) -> None:
    rig.until_moving()
    rig.strike(rig.graph.processes[node].kill)
    held, motion = hold(rig, node)
    if node == "fake_xs_arm":
        # The new arm starts elsewhere; the driver takes it up where it stands.
        rig.measured.clear()
    others = [name for name, process in rig.graph.processes.items() if name != node and not process.alive()]
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


@pytest.mark.parametrize("node", [*NODES, "robot_session"])
def test_frozen(rig: RobotRig, node: str, figures) -> None:
    rig.until_moving()
    pid = rig.graph.processes[node].pid
    rig.strike(lambda: os.kill(pid, signal.SIGSTOP))
    try:
        held, motion = hold(rig, node)
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
