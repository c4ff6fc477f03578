"""The adversarial search of `make test-safety`: a small one finds nothing, and every measure finds what is planted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from test_gate_properties import robot_of

from stvla_ros.control.safety.limits import Box, JointLimits
from tools.safety_search.measures import MEASURES, Scene, broken
from tools.safety_search.player import Event
from tools.safety_search.robots import ROBOTS, Robot
from tools.safety_search.search import Draw, search

STILL = (0.0, 0.0, 0.0)


def drive(translation: Sequence[float], rotation: Sequence[float] = STILL, count: int = 6) -> list[Event]:
    return [("drive", tuple(translation), tuple(rotation), 0.0, count), ("ticks", 10)]


def stricter(robot: Robot, **changed) -> Scene:
    """As if the gate allowed more than it should."""
    return replace(robot.scene, limits=replace(robot.scene.limits, **changed))


def joints(robot: Robot, **changed) -> dict[str, JointLimits]:
    return {name: replace(joint, **changed) for name, joint in robot.scene.limits.joints.items()}


def found(robot: Robot, events: Sequence[Event], scene: Scene) -> set[str]:
    """The measures by which the sequence breaks the scene's limits."""
    player = robot.player()
    player.play(events)
    return {line.partition(":")[0] for line in broken(player.end(), scene)}


@pytest.mark.parametrize("name", ROBOTS)
def test_a_small_search_finds_no_broken_limit_and_measures_all(name: str) -> None:
    report = search(robot_of(name), 16, seed=1)
    assert report.broken == [], report.worst
    assert (report.sequences, report.worst.keys()) == (16, MEASURES.keys())
    assert report.verdicts["executed"] > 10


def test_the_same_seed_draws_the_same_sequences() -> None:
    first, again = (search(robot_of("poses"), 4, seed=3) for _ in range(2))
    assert first.worst["velocity"][1] == again.worst["velocity"][1]
    assert first.worst["velocity"][1] != search(robot_of("poses"), 4, seed=4).worst["velocity"][1]


PLANTED = {
    "velocity": lambda robot: stricter(robot, joints=joints(robot, velocity=0.02)),
    "acceleration": lambda robot: stricter(robot, joints=joints(robot, acceleration=0.1)),
    "jerk": lambda robot: stricter(robot, joints=joints(robot, jerk=1.0)),
    "joint limits": lambda robot: stricter(robot, joint_margin=0.4),
    "speed of every part": lambda robot: stricter(robot, speed=0.02),
    "turn rate of the tool": lambda robot: stricter(robot, tool_turn_rate=0.02),
    "workspace": lambda robot: stricter(robot, workspace=Box((0.4, -0.02, 0.1), (0.6, 0.02, 0.3))),
    "room around it": lambda robot: stricter(
        robot, workspace=Box((0.4, -0.02, 0.1), (0.6, 0.02, 0.3)), workspace_allowance=0.01
    ),
    "forbidden boxes": lambda robot: stricter(robot, forbidden={"wall": Box((0.3, 0.02, 0.0), (0.8, 0.4, 0.6))}),
    "table": lambda robot: stricter(robot, table_height=0.19),
    "gripper": lambda robot: stricter(robot, gripper_rate=0.1),
    "lead": lambda robot: stricter(robot, step_translation=0.001),
}


@pytest.mark.parametrize("measure", PLANTED)
def test_a_measure_finds_what_the_gate_would_let_through(measure: str) -> None:
    robot = robot_of("poses")
    events = drive((0.0, 0.03, -0.01), (0.0, 0.0, 0.1), 5)
    assert measure not in found(robot, events, robot.scene)
    if measure == "joint limits":
        events = drive((0.03, -0.03, 0.0), count=12)
    assert measure in found(robot, events, PLANTED[measure](robot))


def test_a_stop_that_takes_longer_than_a_control_period_is_found() -> None:
    robot = replace(robot_of("poses"), period_s=0.2)
    player = robot.player()
    player.play([*drive((0.0, 0.03, 0.0), count=3)[:1], ("inhibit", "estop")])
    played = player.end()
    assert broken(replace(played, period_s=0.02), robot.scene)[-1].startswith("stop: ")


def test_what_touches_is_found_by_the_forms_of_the_parts() -> None:
    robot = robot_of("widowx")
    folded, ready = np.array([0.0, -1.8, 1.55, 0.0, 2.1, 0.0]), robot.ready
    assert robot.scene.oracle.self_depths(ready[None])[0] == 0.0
    assert robot.scene.oracle.self_depths(folded[None])[0] > 0.005
    around = {"post": Box((0.2, -0.1, 0.1), (0.4, 0.1, 0.2))}
    assert robot.scene.oracle.box_depths(ready[None], around)[0] > 0.01
    assert robot.scene.oracle.box_depths(ready[None], {"far": Box((0.6, 0.6, 0.6), (0.7, 0.7, 0.7))})[0] == 0.0


def test_changed_sequences_stay_ones_that_can_be_played() -> None:
    import random

    draw, robot = Draw(random.Random(0), 6), robot_of("poses")
    pool = [draw.sequence() for _ in range(3)]
    for _ in range(8):
        pool.append(draw.changed(pool))
        player = robot.player()
        player.play(pool[-1])
        assert len(player.end().positions)
