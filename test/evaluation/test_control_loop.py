"""Lockstep and simulated realtime: what is executed in which control step."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scripted_environment import ScriptedEnvironment

from stvla_ros.acting import control_loop
from stvla_ros.acting.control_loop import LockstepControl, RealtimeControl
from stvla_ros.acting.episode import make_control
from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.anchored_execution import LATEST_PHASE
from stvla_ros.control.chunk_execution import EXECUTIONS, Due
from stvla_ros.errors import InputError
from stvla_ros.policy.base import Answer, Policy, PolicyInput

PERIOD = 200_000_000
PICTURE = np.zeros((4, 4, 3), np.uint8)


class Numbered(Policy):
    """Action i of the chunk for the observation of step n moves by n + i / 10 along x."""

    name = "numbered"

    def __init__(self, length: int = 4) -> None:
        self.length = length
        self.asked: list[int] = []

    def predict(self, observation: PolicyInput) -> Answer:
        step = observation.stamp // PERIOD
        self.asked.append(step)
        return Answer(
            tuple(EndEffectorAction(np.array([step + i / 10, 0, 0]), np.zeros(3), 1.0) for i in range(self.length))
        )


def _observation(step: int) -> PolicyInput:
    return PolicyInput.of(step * PERIOD, PICTURE, np.zeros((4, 4), np.float32), None, "go")


def _run(control: LockstepControl | RealtimeControl, steps: int) -> list[float | None]:
    actions = [control.act(_observation(step), 0.0) for step in range(steps)]
    return [None if action is None else round(float(action.translation[0]), 6) for action in actions]


def _realtime(policy: Policy, execution: str, latency_ms: float, added_ms: float = 0.0) -> RealtimeControl:
    return RealtimeControl(policy, execution, PERIOD, 0, latency_ms * 1e-3, added_ms * 1e-3)


def test_in_lockstep_receding_answers_every_observation_with_its_first_action() -> None:
    policy = Numbered()
    assert _run(LockstepControl(policy, "receding", PERIOD, 0), 5) == [0, 1, 2, 3, 4]
    assert policy.asked == [0, 1, 2, 3, 4]


def test_in_lockstep_chunk_thinks_again_when_its_actions_are_used_up() -> None:
    policy = Numbered()
    assert _run(LockstepControl(policy, "chunk", PERIOD, 0), 6) == [0, 0.1, 0.2, 0.3, 4, 4.1]
    assert policy.asked == [0, 4]


@given(st.sampled_from(sorted(EXECUTIONS)), st.integers(1, 6), st.integers(1, 30))
def test_in_lockstep_every_observation_has_exactly_one_action(execution: str, length: int, steps: int) -> None:
    assert None not in _run(LockstepControl(Numbered(length), execution, PERIOD, 0), steps)


@pytest.mark.parametrize("pacing", ["lockstep", "realtime"])
def test_an_evaluated_policy_has_as_many_chunks_as_it_says(pacing: str) -> None:
    """Chunk n says n + i / 10 for the i-th step from it on; two of them are averaged."""
    evaluated = parse_policy(f"random?execution=mean_ensemble,ensembled_chunks=2,pacing={pacing},inference_latency=0")
    control = make_control(evaluated, Numbered(), ScriptedEnvironment("reach"))
    assert _run(control, 4)[1:] == [(0.1 + 1) / 2, (1.1 + 2) / 2, (2.1 + 3) / 2]


def test_a_policy_without_an_action_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one action"):
        LockstepControl(Numbered(0), "receding", PERIOD, 0).act(_observation(0), 0.0)


def test_in_realtime_an_answer_within_the_period_is_on_time() -> None:
    control = _realtime(Numbered(), "receding", 150)
    assert _run(control, 5) == [0, 1, 2, 3, 4]
    assert control.late_chunks == 0


def test_in_realtime_a_late_answer_leaves_the_arm_to_hold_and_skips_what_is_past() -> None:
    # Ready 250 ms after the observation, in the next control step: its second action is for that step.
    control = _realtime(Numbered(), "receding", 250)
    actions = _run(control, 6)
    assert actions[0] is None
    assert actions[1] == 0.1
    assert control.late_chunks > 0


def test_in_realtime_an_answer_of_one_action_that_is_late_is_of_no_use() -> None:
    control = _realtime(Numbered(1), "receding", 200)
    assert _run(control, 6) == [None] * 6
    assert control.unused_chunks > 0


def test_added_latency_counts_as_thinking() -> None:
    assert _run(_realtime(Numbered(), "ensemble", 250), 12) == _run(_realtime(Numbered(), "ensemble", 150, 100), 12)


def test_while_it_thinks_the_newest_observation_waits() -> None:
    policy = Numbered()
    _run(_realtime(policy, "receding", 450), 8)
    # Busy until 450 ms, 900 ms, 1350 ms: the newest observation by then is that of step 2, 4, 6.
    assert policy.asked == [0, 2, 4, 6]


def test_in_realtime_a_chunk_fills_the_steps_of_a_slow_inference() -> None:
    actions = _run(_realtime(Numbered(8), "chunk", 300), 12)
    assert actions[0] is None
    assert actions[1:8] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_nothing_is_executed_from_an_observation_older_than_the_live_graph_would() -> None:
    assert set(_run(_realtime(Numbered(20), "chunk", 1600), 12)) == {None}


@examples(quick=100)
@given(st.sampled_from(sorted(EXECUTIONS)), st.floats(0, 900), st.integers(1, 6))
def test_a_given_latency_makes_the_same_run_every_time(execution: str, latency: float, length: int) -> None:
    runs = [_run(_realtime(Numbered(length), execution, latency), 15) for _ in range(2)]
    assert runs[0] == runs[1]


@examples(quick=100)
@given(st.sampled_from(["receding", "chunk"]), st.floats(0, 900), st.integers(1, 6))
def test_what_is_executed_was_meant_for_that_step_or_the_one_before_it(
    execution: str, latency: float, length: int
) -> None:
    for step, action in enumerate(_run(_realtime(Numbered(length), execution, latency), 20)):
        if action is not None:
            observed, index = divmod(round(10 * action), 10)
            assert step - 1 <= observed + index <= step


class Punctual(Policy):
    """Wants the arm at (k + 1) / 10 when control step k ends, and sees where it is."""

    name = "punctual"

    def __init__(self) -> None:
        self.at = [0.0]

    def predict(self, observation: PolicyInput) -> Answer:
        step = observation.stamp // PERIOD
        ways = [(step + 1) / 10 - self.at[step], *[0.1] * 7]
        return Answer(tuple(EndEffectorAction(np.array([way, 0, 0]), np.zeros(3), 1.0) for way in ways))


def _where_it_came(execution: str, latency_ms: float, steps: int = 12) -> list[float]:
    policy = Punctual()
    control = _realtime(policy, execution, latency_ms)
    for step in range(steps):
        action = control.act(_observation(step), 0.0)
        policy.at.append(policy.at[-1] + (0.0 if action is None else float(action.translation[0])))
    return policy.at[1:]


@pytest.mark.parametrize("latency_ms", [0, 60, 199, 200, 260, 460, 590])
def test_however_late_anchored_answers_are_the_arm_comes_where_they_mean_it_to_be(latency_ms: float) -> None:
    came = _where_it_came("anchored", latency_ms)
    # What comes at the end of a step waits for the next one.
    held = int(latency_ms / 200 + 1.0 - LATEST_PHASE)
    assert came[:held] == [0.0] * held
    assert came[held:] == pytest.approx([(step + 1) / 10 for step in range(held, len(came))])


@pytest.mark.parametrize("execution", ["anchored", "anchored_mean"])
@pytest.mark.parametrize("latency_ms", [None, 60, 260, 460])
def test_what_somebody_else_did_in_its_place_is_made_up_for(execution: str, latency_ms: float | None) -> None:
    policy = Punctual()
    lockstep = latency_ms is None
    control = (
        LockstepControl(policy, execution, PERIOD, 0) if lockstep else _realtime(policy, execution, latency_ms or 0.0)
    )
    for step in range(14):
        action = control.act(_observation(step), 0.0)
        if action is None or step in (4, 5, 9):
            action = EndEffectorAction(np.array([0.25, 0, 0]), np.zeros(3), 1.0)
            control.executed(action)
        else:
            assert policy.at[-1] + action.translation[0] == pytest.approx((step + 1) / 10)
        policy.at.append(policy.at[-1] + float(action.translation[0]))


def test_raw_answers_that_are_late_leave_it_elsewhere() -> None:
    assert abs(_where_it_came("ensemble", 590)[-1] - 1.2) > 0.05


def test_a_command_that_a_newer_one_replaces_within_a_step_was_not_executed() -> None:
    control = _realtime(Punctual(), "anchored", 0)
    control.act(_observation(0), 0.0)
    corrected = []
    control._executor.correct = lambda number, moved, at=None: corrected.append((number, moved.translation.tolist()))
    action = EndEffectorAction(np.ones(3), np.zeros(3), 1.0)
    control._executor.take = lambda now: Due(0, action, number=7 + len(corrected))
    control._send()
    control._send()
    assert corrected == [(7, [0.0, 0.0, 0.0])]


def test_measured_latency_is_the_calls_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    class Slow(Numbered):
        def predict(self, observation: PolicyInput) -> Answer:
            nonlocal now
            now += 0.25
            return super().predict(observation)

    monkeypatch.setattr(control_loop, "time", SimpleNamespace(perf_counter=lambda: now))
    control = RealtimeControl(Slow(), "receding", PERIOD, 0, latency_s=None)
    # Ready in the next control step, for which the second action is.
    assert _run(control, 2) == [None, 0.1]
    assert control.inference_s == [0.25, 0.25]


def test_the_perception_takes_one_frame_after_the_other() -> None:
    policy = Numbered()
    control = RealtimeControl(policy, "receding", PERIOD, 0, latency_s=None)
    for step in range(20):
        control.act(_observation(step), 0.25)
    # 16 frames of 0.25 s take all of the 4 s; were they seen side by side, that of step 18 would be asked about.
    assert 8 < policy.asked[-1] <= 15


def test_slow_perception_is_charged_when_latency_is_measured() -> None:
    control = RealtimeControl(Numbered(), "receding", PERIOD, 0, latency_s=None)
    actions = [control.act(_observation(step), 0.25) for step in range(3)]
    assert actions[0] is None
    assert actions[1].translation[0] == pytest.approx(0.1)


@pytest.mark.parametrize("make", [lambda p: LockstepControl(p, "receding", PERIOD, 3), lambda p: _sticky(p)])
def test_the_gripper_holds_a_change(make: Callable[[Policy], LockstepControl | RealtimeControl]) -> None:
    class Wavering(Policy):
        name = "wavering"

        def predict(self, observation: PolicyInput) -> Answer:
            closed = observation.stamp // PERIOD == 1
            return Answer((EndEffectorAction(np.zeros(3), np.zeros(3), 0.0 if closed else 0.9),))

    control = make(Wavering())
    assert [control.act(_observation(step), 0.0).gripper for step in range(5)] == [1, 0, 0, 0, 1]


def _sticky(policy: Policy) -> RealtimeControl:
    return RealtimeControl(policy, "receding", PERIOD, 3, latency_s=0.01)
