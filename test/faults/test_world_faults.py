"""Clocks that jump, garbage on every topic, and a recorder whose disk is full, while the arm moves."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_goals import new_goal, of_goal
from probe import QOS
from robot_rig import ARMS, DRIVER, RobotRig, robot_rig
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stvla_ros.msg import ActionChunk, EndEffectorCommand, TraceArray
from stvla_ros.nodes.kit.messages import make_header
from stvla_ros.recordings.bag_files import open_bag

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
pytestmark = pytest.mark.slow

MINUTE_NS = 60_000_000_000
# For what does not depend on the arm.
ON_ONE_ARM = pytest.mark.parametrize("rig", ["widowx"], indirect=True)


@pytest.fixture(scope="module", params=ARMS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotRig]:
    with robot_rig(request.param, tmp_path_factory.mktemp("world")) as rig:
        yield rig


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(("jump", "word"), [(MINUTE_NS, "forwards"), (-MINUTE_NS, "backwards")])
def test_the_clock_jumps_a_minute(jump: int, word: str, arm: str, tmp_path: Path, figures) -> None:
    with robot_rig(arm, tmp_path, sim_time=True) as rig:
        rig.until_moving()
        rig.states.clear()
        rig.strike(lambda: setattr(rig, "clock_offset_ns", rig.clock_offset_ns + jump))
        rig.graph.until(lambda: any("clock" in state.held_by for state in rig.states), "the hold because of the clock")
        rig.until_moving()
        motion = rig.largest_motion()
        rig.check_limits()
        figures(0.0, motion, f"{word}: held, then goes on")


def test_garbage_on_every_topic(rig: RobotRig, figures) -> None:
    rig.until_moving()
    rig.strike(lambda: None)
    ends = time.monotonic() + 5.0
    random = np.random.default_rng(0)
    while time.monotonic() < ends:
        for topic, message in _garbage(random, rig.now_ns()):
            rig.graph.publish(topic, message)
        time.sleep(0.05)
    motion = rig.largest_motion()
    dead = [name for name, process in rig.graph.processes.items() if not process.alive()]
    assert not dead
    rig.until_moving()
    rig.check_limits()
    figures(0.0, motion, "refused; goes on within its limits")


def _garbage(random: np.random.Generator, now: int) -> list[tuple[str, Any]]:
    """Messages of the right types, and nothing else right about them. None of those for which the arm must stop: a
    second commander, joint states that cannot be.
    """

    def number() -> float:
        return float(random.choice([np.nan, np.inf, -np.inf, 1e300, random.normal()]))

    header: Header = make_header(max(0, now + int(random.integers(-(10**12), 10**12))), "somewhere")
    command = EndEffectorCommand(header=header, gripper=float(random.choice([np.nan, np.inf, -3.0, 1e30])))
    command.translation.x, command.rotation.z = number(), number()
    return [
        ("action_chunk", ActionChunk(header=header, actions=[command])),
        ("image", Image(header=header, width=7, height=3, encoding="rgb8", step=21, data=b"\0" * 5)),
        ("sensor_depth", Image(header=header, width=9, height=9, encoding="yuv422", step=9)),
        ("depth", Image(header=header, width=2, height=2, encoding="32FC1", step=8, data=b"\xff" * 16)),
        ("traced_depth", Image(header=header, width=0, height=0, encoding="32FC1")),
        ("camera_info", CameraInfo(header=header, k=[number() for _ in range(9)])),
        ("traces", TraceArray(header=header, num_frames=3, num_points=2**31)),
    ]


@ON_ONE_ARM
def test_the_recorder_is_killed(rig: RobotRig, tmp_path: Path, figures) -> None:
    rig.until_moving()
    recorder = rig.graph.start("bag_recorder", output=str(tmp_path / "bag"))
    rig.graph.until(lambda: list(tmp_path.glob("bag/*.mcap")), f"a bag; {recorder.output}")
    time.sleep(4.0)
    rig.strike(recorder.kill)
    killed_ns = time.time_ns()
    rig.until_moving()
    motion = rig.largest_motion()
    rig.check_limits()
    with open_bag(tmp_path / "bag") as bag:
        written = [at for _, at, _ in bag.messages()]
    # It is written to the disk each second; that second is all that a killed recorder may lose.
    assert killed_ns - max(written) < 1_500_000_000
    assert max(written) - min(written) > 2_000_000_000
    figures(0.0, motion, f"the arm goes on; {len(written)} messages recorded before are readable")


@ON_ONE_ARM
def test_the_recorders_disk_is_full(rig: RobotRig, tmp_path: Path, figures) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        rig.until_moving()
        rig.strike(lambda: None)
        recorder = rig.graph.start("bag_recorder", output=str(disk / "bag"))
        assert recorder.wait(60.0) == 1
        assert "cannot be written" in recorder.output
        rig.until_moving()
        motion = rig.largest_motion()
        rig.check_limits()
        with open_bag(disk / "bag") as bag:
            messages = sum(1 for _ in bag.messages())
        assert messages > 50
        figures(0.0, motion, f"the arm goes on; {messages} messages recorded before are readable")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Last: the graph's commands have a second publisher from then on.
def test_a_stranger_commands_beside_the_server(rig: RobotRig, figures) -> None:
    """Its commands are those of a goal of this robot; that two nodes give some is enough."""
    rig.until_moving()
    stranger = rig.graph.add_node("stranger")
    publisher = stranger.create_publisher(EndEffectorCommand, "command", QOS)
    rig.states.clear()
    rig.strike(lambda: publisher.publish(of_goal(EndEffectorCommand(gripper=1.0), new_goal(rig.name))))
    rig.graph.until(
        lambda: any("foreign publisher" in state.held_by for state in rig.states),
        f"the stop because of the stranger; {rig.process(DRIVER).output[-500:]}",
    )
    rig.graph.until(lambda: rig.still_for(1.0), "rest")
    told = rig.states[-1].detail
    assert "topic /command: expected one to publish" in told and "/stranger" in told and "/vla_server" in told
    rig.check_limits()
    moved = rig.largest_motion()
    stranger.destroy_publisher(publisher)
    rig.resume()
    rig.until_moving()
    figures(0.0, moved, "both are named; moves again when the stranger is gone, a reset and a new instruction")
