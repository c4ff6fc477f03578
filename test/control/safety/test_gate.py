"""What the safety gate makes of single commands, stops and starts."""

import numpy as np
import pytest
from arms import PERIOD_S, READY, TICK_S, started_gate, widowx_arm, widowx_limits
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.limits import Box
from stvla_ros.errors import InputError

SECOND = 1_000_000_000
LID = Box((0.24, -0.2, 0.37), (0.45, 0.2, 0.6))
PERIOD_NS = round(PERIOD_S * SECOND)


def action(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0, gripper: float = 1.0
) -> EndEffectorAction:
    return EndEffectorAction(np.array([x, y, z]), np.array([0.0, 0.0, turn]), gripper)


def settle(gate: SafetyGate) -> np.ndarray:
    """Tick until the arm rests. :returns: the tool point, (3,) metres."""
    for _ in range(500):
        setpoint = gate.tick()
        if not gate.moving:
            return setpoint.tool_pose[:3, 3]
    raise AssertionError("the arm never came to rest")


def test_the_tool_comes_to_rest_where_the_command_says() -> None:
    gate = started_gate()
    before = settle(gate)
    verdict = gate.command(action(0.02, -0.01, 0.015), 0, 0)
    assert verdict.executed and not verdict.clipped
    assert settle(gate) - before == pytest.approx([0.02, -0.01, 0.015], abs=5e-4)


def test_the_verdict_tells_by_how_much_the_target_moved() -> None:
    gate = started_gate()
    before = settle(gate)
    verdict = gate.command(action(0.2, turn=1.0), 0, 0)
    assert verdict.executed and set(verdict.clipped) == {"step_translation", "step_rotation"}
    assert verdict.moved.translation == pytest.approx([widowx_limits().step_translation, 0.0, 0.0])
    assert verdict.moved.rotation.magnitude() == pytest.approx(widowx_limits().step_rotation)
    assert settle(gate) - before == pytest.approx(verdict.moved.translation, abs=5e-4)


def test_a_refused_command_moved_the_target_by_nothing() -> None:
    gate = started_gate()
    gate.inhibit("estop")
    verdict = gate.command(action(0.02), 0, 0)
    assert not verdict.executed
    assert verdict.moved.translation == pytest.approx(0.0) and verdict.moved.rotation.magnitude() == 0.0


def test_equal_commands_at_the_control_rate_are_one_steady_motion() -> None:
    gate = started_gate()
    speeds = []
    for step in range(10):
        gate.command(action(y=-0.015), step * PERIOD_NS, step * PERIOD_NS)
        ticks = [gate.tick() for _ in range(round(PERIOD_S / TICK_S))]
        if step >= 4:
            tools = np.array([tick.tool_pose[:3, 3] for tick in ticks])
            speeds += np.linalg.norm(np.diff(tools, axis=0), axis=1).tolist()
    assert min(speeds) > 0.8 * max(speeds)


def test_a_step_that_is_too_large_is_shortened_and_said() -> None:
    gate = started_gate()
    before = settle(gate)
    verdict = gate.command(action(z=0.5, turn=3.0), 0, 0)
    assert verdict.executed and verdict.clipped == ("step_translation", "step_rotation")
    assert np.linalg.norm(settle(gate) - before) == pytest.approx(widowx_limits().step_translation, abs=1e-3)
    assert gate.counts["clipped: step_translation"] == 1


def test_at_the_wall_of_the_workspace_the_tool_slides_along_it() -> None:
    gate = started_gate()
    for step in range(12):
        verdict = gate.command(action(x=0.03, y=-0.01), step * PERIOD_NS, step * PERIOD_NS)
        assert verdict.executed
        at = settle(gate)
    assert "workspace" in verdict.clipped
    high = widowx_limits().workspace.high[0]
    assert high - 0.005 < at[0] <= high
    assert at[1] < -0.1


def test_a_way_into_a_forbidden_box_is_refused_and_named() -> None:
    gate = started_gate()
    verdicts = []
    for step in range(10):
        verdicts.append(gate.command(action(x=-0.01, y=0.03, z=-0.01), step * PERIOD_NS, step * PERIOD_NS))
        settle(gate)
    refused = [verdict for verdict in verdicts if not verdict.executed]
    assert refused and refused[0].refused.startswith("forbidden box post")


def test_the_forearm_counts_as_the_tool_does() -> None:
    # Above the forearm; the tool never comes near it.
    gate = started_gate(forbidden={"lid": LID}, workspace_allowance=0.5)
    verdict = gate.command(action(z=0.05), 0, 0)
    assert verdict.refused.startswith("forbidden box lid: lower_forearm_link would enter it"), verdict.refused


@pytest.mark.parametrize(
    ("stamp", "now", "reason"),
    [
        (0, 2 * SECOND, "observation age"),
        (5 * SECOND, SECOND, "observation from the future"),
    ],
)
def test_a_command_to_an_old_or_future_observation_is_refused(stamp: int, now: int, reason: str) -> None:
    gate = started_gate()
    verdict = gate.command(action(0.02), stamp, now)
    assert not verdict.executed and verdict.refused.startswith(reason)
    assert not gate.moving
    assert gate.counts[f"refused: {reason}"] == 1


def test_more_commands_than_control_steps_do_not_pile_up_a_way() -> None:
    gate = started_gate()
    verdicts = [gate.command(action(y=-0.04), step * PERIOD_NS, step * PERIOD_NS) for step in range(10)]
    assert verdicts[-1].refused.startswith("ahead of the arm")
    before = widowx_arm().tool_pose(READY)[:3, 3]
    assert np.linalg.norm(settle(gate) - before) <= 2.0 * widowx_limits().step_translation + 1e-3


def test_more_turns_than_control_steps_do_not_pile_up_either() -> None:
    gate, limit = started_gate(forbidden={}), widowx_limits().step_rotation
    before = gate.tick().tool_pose[:3, :3]
    verdicts = [gate.command(action(turn=0.35), step * PERIOD_NS, step * PERIOD_NS) for step in range(20)]
    assert [verdict.executed for verdict in verdicts] == [True] * 2 + [False] * 18
    assert verdicts[-1].refused.startswith("ahead of the arm: the target would be 1.050 rad away")
    settle(gate)
    turned = Rotation.from_matrix(gate.tick().tool_pose[:3, :3] @ before.T).magnitude()
    assert turned == pytest.approx(2 * limit, abs=0.01)


def many(gate: SafetyGate, stamps: list[int], now: int) -> list[bool]:
    """A small command for each of the stamps. :returns: which were executed."""
    made = []
    for number, stamp in enumerate(stamps):
        verdict = gate.command(action(y=0.002 * (-1) ** number), stamp, now)
        assert verdict.executed or verdict.refused.startswith("commands per observation: 4 were executed")
        made.append(verdict.executed)
        settle(gate)
    return made


@pytest.mark.parametrize(
    "stamps",
    [
        [SECOND] * 6,
        [SECOND + number for number in range(6)],
        [SECOND + (-1) ** number * PERIOD_NS // 5 for number in range(6)],
        [SECOND - number * PERIOD_NS // 20 for number in range(6)],
    ],
)
def test_one_observation_leads_to_as_many_commands_as_a_chunk_has_however_its_stamp_is_varied(stamps) -> None:
    assert many(started_gate(), stamps, SECOND) == [True] * 4 + [False] * 2


def test_each_observation_has_its_own_commands_also_in_turn() -> None:
    first, second = SECOND, SECOND + PERIOD_NS // 2
    assert many(started_gate(), [first, second] * 5, second) == [True] * 8 + [False] * 2


def test_a_refused_command_uses_nothing_up() -> None:
    gate = started_gate(commands_per_observation=1, forbidden={"lid": LID})
    assert not gate.command(action(z=0.05), SECOND, SECOND).executed
    assert gate.command(action(y=-0.01), SECOND, SECOND).executed


def test_out_of_reach_is_refused_and_the_target_stays() -> None:
    gate = started_gate(workspace=Box((0.1, -2.0, -2.0), (2.0, 2.0, 2.0)), forbidden={})
    for step in range(20):
        verdict = gate.command(action(x=0.05), step * PERIOD_NS, step * PERIOD_NS)
        settle(gate)
    assert not verdict.executed
    assert verdict.refused.split(":")[0] in ("out of reach", "singularity", "joint limit")
    assert gate.command(action(x=-0.03), 20 * PERIOD_NS, 20 * PERIOD_NS).executed


def test_nothing_is_accepted_before_the_start() -> None:
    gate = SafetyGate(widowx_arm(), widowx_limits(), TICK_S, PERIOD_S)
    assert gate.command(action(0.02), 0, 0).refused == "held: not started"


@pytest.mark.parametrize("position", [READY * np.nan, READY + [0.0, 0.0, 9.0, 0.0, 0.0, 0.0], READY[:3]])
def test_a_start_at_an_impossible_position_is_refused(position: np.ndarray) -> None:
    gate = SafetyGate(widowx_arm(), widowx_limits(), TICK_S, PERIOD_S)
    with pytest.raises(InputError, match="joint states: expected"):
        gate.start(position, 1.0, 0)


def test_an_arm_that_starts_outside_its_workspace_may_return_but_not_leave_farther() -> None:
    gate = started_gate(workspace=Box((0.35, -0.2, 0.02), (0.45, 0.2, 0.3)), forbidden={})
    start = settle(gate)
    outwards = gate.command(action(x=-0.03), 0, 0)
    assert "workspace" in outwards.clipped
    assert settle(gate)[0] == pytest.approx(start[0], abs=1e-3)
    assert gate.command(action(x=0.03), 0, 0).executed
    assert settle(gate)[0] == pytest.approx(start[0] + 0.03, abs=1e-3)


def test_after_a_stop_only_answers_to_later_observations_count() -> None:
    gate = started_gate()
    gate.inhibit("estop")
    gate.release("estop", SECOND)
    assert gate.command(action(0.01), SECOND - 1, SECOND).refused.startswith("observation before the release")
    assert gate.command(action(0.01), SECOND, SECOND).executed


def test_after_a_stop_commands_are_relative_to_where_the_arm_stopped() -> None:
    gate = started_gate()
    gate.command(action(y=-0.05), 0, 0)
    for _ in range(5):
        gate.tick()
    gate.inhibit("estop")
    stopped = settle(gate)
    gate.release("estop", 0)
    gate.command(action(z=0.01), 0, 0)
    assert settle(gate) - stopped == pytest.approx([0.0, 0.0, 0.01], abs=5e-4)


def test_two_reasons_to_hold_need_two_releases() -> None:
    gate = started_gate()
    gate.inhibit("estop")
    gate.inhibit("deadman")
    gate.release("deadman", 0)
    assert gate.inhibitors == {"estop"}
    assert gate.command(action(0.01), 0, 0).refused == "held: estop"


def test_the_gripper_is_left_alone_until_a_command_moves_it() -> None:
    gate = started_gate()
    assert gate.tick().gripper is None
    gate.command(action(0.01, gripper=0.0), 0, 0)
    assert gate.tick().gripper == pytest.approx(1.0 - widowx_limits().gripper_rate * TICK_S)


def test_a_stop_keeps_what_the_gripper_holds() -> None:
    gate = started_gate()
    gate.command(action(0.01, gripper=0.0), 0, 0)
    for _ in range(3):
        closing = gate.tick().gripper
    assert 0.0 < closing < 1.0
    gate.inhibit("estop")
    assert [gate.tick().gripper for _ in range(20)] == [closing] * 20


def test_after_a_new_start_the_gripper_is_left_alone_again() -> None:
    gate = started_gate()
    gate.command(action(0.01, gripper=0.0), 0, 0)
    settle(gate)
    gate.start(gate.position, 0.4, 0)
    assert gate.tick().gripper is None


def test_a_step_is_as_long_as_its_way_not_as_its_largest_component() -> None:
    gate = started_gate(forbidden={})
    before, limit = settle(gate), widowx_limits().step_translation
    verdict = gate.command(action(-0.8 * limit, -0.8 * limit, 0.8 * limit), 0, 0)
    assert verdict.executed and verdict.clipped == ("step_translation",)
    assert np.linalg.norm(settle(gate) - before) == pytest.approx(limit, abs=1e-3)


def test_rotations_are_about_the_axes_of_the_base() -> None:
    gate = started_gate()
    before = gate.tick().tool_pose[:3, :3]
    for rotation in ([0.0, 0.15, 0.0], [0.0, 0.0, 0.2]):
        assert gate.command(EndEffectorAction(np.zeros(3), np.array(rotation), 1.0), 0, 0).executed
        settle(gate)
    wanted = (
        Rotation.from_rotvec([0.0, 0.0, 0.2]) * Rotation.from_rotvec([0.0, 0.15, 0.0]) * Rotation.from_matrix(before)
    )
    assert (wanted.inv() * Rotation.from_matrix(gate.tick().tool_pose[:3, :3])).magnitude() < 0.01


def test_a_command_after_a_way_by_joints_is_relative_to_its_end() -> None:
    gate = started_gate(forbidden={})
    gate.move_to(READY + [-0.2, 0.0, 0.0, 0.0, 0.0, 0.0], 0)
    reached = settle(gate)
    assert gate.command(action(z=0.01), 0, 0).executed
    assert settle(gate) - reached == pytest.approx([0.0, 0.0, 0.01], abs=1e-3)


def test_the_watchdog_notes_that_commands_stopped_coming_once() -> None:
    gate = started_gate()
    gate.command(action(0.01), 0, 0)
    settle(gate)
    for _ in range(round(10 * PERIOD_S / TICK_S)):
        gate.tick()
    assert gate.idle
    assert gate.counts["watchdog: no fresh command"] == 1
    gate.command(action(0.01), 0, 0)
    assert not gate.idle


def test_the_watchdog_counts_anew_from_a_release() -> None:
    gate = started_gate()
    for _ in range(round(10 * PERIOD_S / TICK_S)):
        gate.tick()
    gate.inhibit("deadman")
    gate.release("deadman", 0)
    assert not gate.idle
    for _ in range(round(10 * PERIOD_S / TICK_S)):
        gate.tick()
    assert gate.counts["watchdog: no fresh command"] == 2


def test_a_way_by_joints_may_leave_the_workspace_but_obeys_the_rest() -> None:
    gate = started_gate()
    rest = np.array([0.0, -1.7, 1.4, 0.0, 0.8, 0.0])
    assert gate.move_to(rest, 0) < 3.0
    settle(gate)
    assert gate.position == pytest.approx(rest)
    with pytest.raises(InputError, match="joint limit: elbow"):
        gate.move_to(rest + [0.0, 0.0, 0.5, 0.0, 0.0, 0.0], 0)
    gate.inhibit("estop")
    with pytest.raises(InputError, match="held: estop"):
        gate.move_to(READY, 0)


def test_setpoints_are_led_to_an_arm_that_does_not_follow_without_a_jump() -> None:
    gate = started_gate()
    gate.inhibit("tracking")
    elsewhere = READY + [-0.3, 0.0, 0.0, 0.0, 0.0, 0.0]
    gate.yield_to(elsewhere, in_workspace=True)
    before, steps = gate.position, []
    while gate.moving:
        steps.append(np.abs(gate.tick().position - before).max())
        before = gate.position
    assert before == pytest.approx(elsewhere)
    assert max(steps) <= widowx_limits().joints["waist"].velocity * TICK_S + 1e-9
    assert gate.command(action(0.01), 0, 0).refused == "held: tracking"


def test_setpoints_give_way_within_every_limit_or_not_at_all() -> None:
    gate = started_gate()
    gate.inhibit("tracking")
    for elsewhere, limit in (
        (READY + [-1.5, 0.0, 0.0, 0.0, 0.0, 0.0], "workspace"),
        (READY + [0.4, 0.0, 0.0, 0.0, 0.0, 0.0], "forbidden box post"),
        (READY + [0.0, 0.0, 2.0, 0.0, 0.0, 0.0], "joint limit: elbow"),
    ):
        with pytest.raises(InputError, match=limit):
            gate.yield_to(elsewhere, in_workspace=True)
        assert not gate.moving


def test_limits_that_allow_no_stop_within_a_control_period_are_refused() -> None:
    with pytest.raises(InputError, match=r"joints\.waist: expected limits that allow a stop within one control period"):
        SafetyGate(widowx_arm(), widowx_limits(), 0.01, 0.1)


def test_a_gripper_with_a_hand_in_it_opens_whatever_holds_the_arm() -> None:
    gate = started_gate()
    assert gate.command(action(gripper=0.0), 0, 0).executed
    settle(gate)
    gate.inhibit("estop")
    gate.release_gripper()
    openings, positions = [], []
    for _ in range(30):
        gate.inhibit("estop")  # as the driver does at each tick
        setpoint = gate.tick()
        openings.append(setpoint.gripper)
        positions.append(setpoint.position)
    assert openings[-1] == 1.0 and max(np.diff(openings)) <= 4.0 * TICK_S + 1e-9
    assert np.array_equal(positions[0], positions[-1]), "the arm moves"
    gate.leave_gripper()
    assert gate.tick().gripper is None


def test_a_gripper_whose_opening_nobody_knows_is_told_at_once_what_is_wanted() -> None:
    gate = started_gate()
    gate.start(READY, None, 0)
    assert gate.tick().gripper is None
    gate.command(action(0.01, gripper=0.0), 0, 0)
    assert gate.tick().gripper == 0.0
