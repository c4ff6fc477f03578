"""Corrections: a policy acts in turn with the expert, and its answers may be late."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.demonstrations.noise import ActionNoise, NoiseParameters
from stvla_ros.learning.demonstrations.policy_actor import PolicyActor
from stvla_ros.learning.demonstrations.record import RecordArguments, main
from stvla_ros.learning.demonstrations.rollout import roll_out
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.sim.environment import Environment, Observation
from stvla_ros.sim.tasks import make_environment

STEPS = 24


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    create_checkpoint(folder, "tiny")
    return folder


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    made = make_environment("panda_pick_cube", image_size=(64, 48))  # it needs no download
    yield made
    made.close()


class Witness:
    """Acts as the actor does, and remembers who acted: the expert, the policy, or nobody."""

    def __init__(self, actor: PolicyActor) -> None:
        self._actor = actor
        self.who: list[str] = []

    def __call__(
        self, observation: Observation, stamp: int, instruction: str, label: EndEffectorAction
    ) -> EndEffectorAction:
        action = self._actor(observation, stamp, instruction, label)
        still = not (action.translation.any() or action.rotation.any())
        self.who.append("expert" if action is label else "nobody" if still else "policy")
        return action


def corrected(environment: Environment, actor: PolicyActor, seed: int = 0) -> tuple[Demonstration, list[str]]:
    observation = environment.reset_random(seed)
    actor.begin(np.random.default_rng(seed))
    witness = Witness(actor)
    none = ActionNoise(NoiseParameters(0.0, 0.0, 0.0, 0.0), np.random.default_rng(0))
    return roll_out(environment, observation, witness, none, STEPS), witness.who


def test_under_latency_the_arm_holds_until_an_answer_is_there_and_labels_stay_the_experts(
    environment: Environment, checkpoint: Path
) -> None:
    actor = PolicyActor(f"{checkpoint}?execution=anchored_mean", environment, (450.0, 450.0))
    episode, who = corrected(environment, actor)
    # Answers to the first observation come in the third control step.
    assert who[:2] == ["nobody", "nobody"] and {"policy", "expert"} <= set(who)
    still = np.abs(episode.executed_action[:, :6]).max(axis=1) == 0
    assert [name == "nobody" for name in who] == still.tolist()
    moved = np.abs(episode.action[:, :6]).max(axis=1) > 0
    assert moved[:2].all()
    as_labelled = (episode.executed_action == episode.action).all(axis=1)
    assert as_labelled[[name == "expert" for name in who]].all()
    assert not as_labelled[[name == "policy" for name in who]].any()
    assert actor.source == {"latency_ms": 450.0}


def test_the_executor_knows_what_the_expert_did_in_the_policys_place(
    environment: Environment, checkpoint: Path
) -> None:
    actor = PolicyActor(f"{checkpoint}?execution=anchored", environment, (300.0, 300.0))
    episode, _ = corrected(environment, actor)
    known = actor._control._executor._ledger.since(0).translation
    assert known == pytest.approx(episode.executed_action[:, :3].sum(axis=0), abs=1e-6)


def test_every_episode_draws_its_own_latency_by_its_seed(environment: Environment, checkpoint: Path) -> None:
    actor = PolicyActor(str(checkpoint), environment, (0.0, 400.0))
    drawn = []
    for seed in (1, 2, 1):
        actor.begin(np.random.default_rng(seed))
        drawn.append(actor.source["latency_ms"])
    assert drawn[0] == drawn[2] != drawn[1] and 0 <= min(drawn) <= max(drawn) <= 400


def test_without_a_latency_the_world_waits_and_nobody_holds(environment: Environment, checkpoint: Path) -> None:
    actor = PolicyActor(str(checkpoint), environment)
    assert corrected(environment, actor)[1][0] == "policy" and actor.source == {}


@pytest.mark.parametrize(
    ("latency", "policy", "message"),
    [
        ((400.0, 0.0), "random", "latency: expected two numbers of milliseconds, 0 <= low <= high <= 1500"),
        ((-1.0, 400.0), "random", "latency: expected two numbers"),
        ((0.0, 1501.0), "random", "latency: expected two numbers"),
        ((0.0, float("nan")), "random", "latency: expected two numbers"),
        ((0.0, 400.0), "", "latency: expected a policy with it"),
    ],
)
def test_a_latency_that_cannot_be_used_is_refused_before_anything_is_recorded(
    tmp_path: Path, latency: tuple[float, float], policy: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        main(RecordArguments(("panda_pick_cube",), latency=latency, policy=policy, output=str(tmp_path / "set")))
    assert list(tmp_path.iterdir()) == []


def test_stvla_records_corrections_under_latency(tmp_path: Path, checkpoint: Path) -> None:
    arguments = RecordArguments(("panda_pick_cube",), episodes=1, image_width=64, image_height=48, workers=1)
    where = {"policy": f"{checkpoint}?execution=anchored", "latency": (60.0, 460.0), "output": str(tmp_path / "set")}
    assert main(replace(arguments, **where)) == 0
    assert 60 <= LeRobotReader(tmp_path / "set").episode(0).source["latency_ms"] <= 460
