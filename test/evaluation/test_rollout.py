"""One episode straight on the environment."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_environment import EPISODES, MAX_STEPS, ScriptedEnvironment

from stvla_ros.acting.episode import (
    START_OFFSET_M,
    Rules,
    load_evaluated_policy,
    make_control,
    policy_seed,
    run_episode,
    start_offset,
)
from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import CompositorConfig
from stvla_ros.perception.spatial_traces import SpatialTraces, SpatialTracesConfig
from stvla_ros.perception.tracking import TrackingConfig
from stvla_ros.policy.base import Answer, Policy, PolicyInput
from stvla_ros.policy.families import find_family
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import Observer


def _run(
    policy: EvaluatedPolicy, episode: int = 0, seed: int = 0, rules: Rules = Rules(), task: str = "reach"
) -> tuple[EpisodeResult, ScriptedEnvironment, list]:
    environment = ScriptedEnvironment(task)
    key = EpisodeKey(task, policy.label, seed, episode)
    loaded = load_evaluated_policy(policy, "panda", policy_seed(key))
    seen: list = []
    control = make_control(policy, loaded, environment)
    result = run_episode(environment, key, Observer(policy.inputs), control, rules, lambda *each: seen.append(each))
    return result, environment, seen


def test_an_episode_ends_with_its_first_success() -> None:
    result, environment, seen = _run(parse_policy("expert"))
    assert result.success and result.ever
    assert result.steps == len(environment.steps) == len(seen) - 1 < MAX_STEPS
    assert result.instruction == "reach the goal"
    assert result.inference_ms["calls"] == result.steps
    assert [outcome for *_, outcome in seen] == [""] * result.steps + ["success"]


def test_until_the_limit_success_is_what_holds_at_the_end() -> None:
    result, environment, _ = _run(parse_policy("expert"), rules=Rules(until_limit=True))
    assert result.success and result.steps == len(environment.steps) == MAX_STEPS


def test_success_that_is_lost_again_counts_only_as_ever() -> None:
    class Passing(Policy):
        """Reaches the goal of episode 0 in the fourth step and goes on."""

        name = "passing"

        def predict(self, observation: PolicyInput) -> Answer:
            return Answer((EndEffectorAction(np.array([0.025, 0.0, -0.025]), np.zeros(3), 1.0),))

    environment, plain = ScriptedEnvironment("reach"), parse_policy("expert")
    for until_limit, success, steps in ((True, False, MAX_STEPS), (False, True, 4)):
        control = make_control(plain, Passing(), environment)
        key = EpisodeKey("reach", "passing", 0, 0)
        result = run_episode(environment, key, Observer(plain.inputs), control, Rules(until_limit))
        assert (result.success, result.ever, result.steps) == (success, True, steps)


def test_the_time_limit_is_a_failure() -> None:
    result, environment, seen = _run(parse_policy("expert"), rules=Rules(max_steps=2))
    assert (result.success, result.steps, len(environment.steps)) == (False, 2, 2)
    assert seen[-1][-1] == "failure"


def test_a_goal_condition_that_held_once_counts() -> None:
    result, _, _ = _run(parse_policy("expert"), rules=Rules(max_steps=2))
    assert result.conditions == {"near": False}
    result, _, _ = _run(parse_policy("expert"))
    assert result.conditions == {"near": True} and result.conditions_met == 1.0


def test_seed_0_is_the_benchmark_itself_and_others_move_the_arm_first() -> None:
    assert start_offset(0, 3) is None
    result, environment, seen = _run(parse_policy("expert"), seed=2)
    first = environment.steps[0].translation
    assert np.abs(first).max() <= START_OFFSET_M and np.linalg.norm(first) > 1e-4
    assert first.tolist() == start_offset(2, 0).tolist()
    assert result.steps == len(environment.steps), "the first step counts"
    assert len(seen) == result.steps, "the policy does not see it"
    assert not np.array_equal(start_offset(2, 0), start_offset(3, 0))
    assert not np.array_equal(start_offset(2, 0), start_offset(2, 1))


def test_no_seed_moves_the_arm_first_where_it_must_begin_as_placed() -> None:
    environment, evaluated = ScriptedEnvironment("reach"), parse_policy("expert")
    environment.info = replace(environment.info, fixed_start=True)
    loaded = load_evaluated_policy(evaluated, "panda", 0)
    control = make_control(evaluated, loaded, environment)
    run_episode(environment, EpisodeKey("reach", "expert", 2, 0), Observer(evaluated.inputs), control)
    _, plain, _ = _run(evaluated, seed=0)
    executed = [[step.translation.tolist() for step in each.steps] for each in (environment, plain)]
    assert executed[0] == executed[1]


def test_a_tracker_that_needs_the_robot_is_refused_where_the_simulator_has_no_urdf() -> None:
    policy = replace(parse_policy("expert"), inputs=InputsConfig(tracker="kinematic"))
    with pytest.raises(InputError, match="episode 0: task reach: its simulator has no URDF, which the tracker needs"):
        _run(policy)


def test_a_sampling_policy_draws_the_same_in_an_episode_whatever_ran_before() -> None:
    def actions(episode: int, seed: int) -> list:
        return [action.translation.tolist() for action in _run(parse_policy("random"), episode, seed)[1].steps]

    assert actions(1, 0) == actions(1, 0)
    assert actions(1, 0) != actions(2, 0)
    assert actions(1, 0)[1:] != actions(1, 1)[1:]


def test_an_error_names_policy_task_seed_and_episode() -> None:
    with pytest.raises(InputError, match=f"^expert on reach, seed 0, episode {EPISODES}: episode_id: expected"):
        _run(parse_policy("expert"), EPISODES)


def test_in_realtime_steps_without_a_command_are_held_and_counted() -> None:
    late = replace(parse_policy("expert"), pacing="realtime", inference_latency=500.0)
    result, environment, _ = _run(late)
    assert result.held_steps == result.steps == MAX_STEPS
    assert not np.any([action.translation for action in environment.steps])


def test_a_policy_gets_what_the_perception_makes_of_the_frames() -> None:
    policy = EvaluatedPolicy("looking", "expert", inputs=InputsConfig(buffer=7, variant="B"))
    _, _, seen = _run(policy, rules=Rules(max_steps=15), task="reach_far")
    config = SpatialTracesConfig(TrackingConfig(buffer=7), compositor=CompositorConfig(variant="B"))
    plain = SpatialTraces(config)
    for index, (observation, each, *_) in enumerate(seen):
        expected = plain.step(observation.rgb, index * 200_000_000, observation.depth)
        assert each.given.stamp == expected.stamp
        assert np.array_equal(each.given.picture.depth, expected.traced_depth)
        assert np.array_equal(each.given.picture.rgb, observation.rgb)
        assert np.array_equal(each.given.picture.intrinsics, observation.intrinsics)


@pytest.mark.parametrize("traces", ["none", "rgb"])
def test_without_depth_a_policy_sees_a_plane(traces: str) -> None:
    blind = EvaluatedPolicy("blind", "expert", inputs=InputsConfig(traces=traces, depth="constant"))
    _, _, seen = _run(blind, rules=Rules(max_steps=8))
    for observation, each, *_ in seen:
        assert (
            each.given.picture.depth.shape == observation.rgb.shape[:2] and each.given.picture.depth.dtype == np.float32
        )
        assert (each.given.picture.depth == 1.0).all()
        assert (each.traces is not None) == (traces == "rgb")


def test_without_traces_a_policy_sees_the_clean_depth_in_metres() -> None:
    plain = EvaluatedPolicy("plain", "expert", inputs=InputsConfig(traces="none"))
    _, _, seen = _run(plain, rules=Rules(max_steps=3))
    for observation, each, *_ in seen:
        assert np.array_equal(each.given.picture.depth, observation.depth * np.float32(1e-3))


def test_beside_the_depth_a_policy_gets_the_traces_with_the_depths_at_which_they_were_seen() -> None:
    policy = EvaluatedPolicy("beside", "expert", inputs=InputsConfig(traces="beside", buffer=7))
    _, _, seen = _run(policy, rules=Rules(max_steps=15), task="reach_far")
    plain = SpatialTraces(policy.inputs.perception())
    for index, (observation, each, *_) in enumerate(seen):
        traces = plain.step(observation.rgb, index * 200_000_000, observation.depth).traces
        given = each.given.picture
        assert np.array_equal(given.depth, observation.depth * np.float32(1e-3))
        assert np.array_equal(given.traces.traces.points, traces.points)
        assert (given.traces.depths[traces.visible] == observation.depth[0, 0] * np.float32(1e-3)).all()
    assert 0 < given.traces.traces.num_points <= 3


def test_a_new_checkpoint_of_the_second_family_is_evaluated_and_again_the_same(tmp_path) -> None:
    find_family("st4vla").create(tmp_path / "st4vla", "tiny", 0)
    policy = parse_policy(f"m={tmp_path / 'st4vla'}?steps=4,threads=1,pacing=lockstep")
    assert (policy.resolved_execution, policy.inputs.traces) == ("adaptive_ensemble", "none")
    runs = [_run(policy)[1].steps for _ in range(2)]
    moved = [np.array([[*step.translation, *step.rotation, step.gripper] for step in steps]) for steps in runs]
    assert len(moved[0]) == MAX_STEPS
    np.testing.assert_array_equal(moved[0], moved[1])
    assert 0.0 < np.abs(moved[0][:, :3]).max() <= 0.02 + 1e-9, "what an untrained checkpoint's statistics allow, metres"
