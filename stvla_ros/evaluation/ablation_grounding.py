"""`stvla ablate grounding`: networks that learn from demonstrations of the whole table or of a half, and are asked.

Stage 1 is a network of its own, which those that begin with it share: so it is there to be asked before stage 2. It is
handed on as checkpoints are written, its optimiser is not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stvla_ros.acting.results import EpisodeResult
from stvla_ros.atomic_files import make_folder, write_json
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablation_networks import Network, record_demonstrations, trained_checkpoint
from stvla_ros.evaluation.ablation_plan import AblationPlan, trained_on, write_ablation
from stvla_ros.evaluation.grounding_arms import (
    ACTING,
    FIRST,
    NO_PROMPT,
    SECOND,
    SPATIALVLA,
    Arm,
    equal_steps,
    find_arm,
    first_stage,
    second_stage,
    two_stages,
)
from stvla_ros.evaluation.grounding_errors import ask_networks, write_errors
from stvla_ros.sim.environment import HALVES
from stvla_ros.sim.tasks import find_task

_ALL = "all"
_COSTS = "costs.json"


@dataclass(frozen=True)
class ArmNetwork(Network):
    """
    :param part: half of the table that its demonstrations come from, or ``all``.
    :param answers: whether it can be asked.
    """

    part: str = _ALL
    answers: bool = True


@dataclass(frozen=True)
class GroundingPlan(AblationPlan):
    """
    :param grounding: number of placements of each task that questions are asked about.
    :param demonstrated: halves of the table that demonstrations come from, or ``all``; networks of their own for each.
    :param questions: number of questions of each form that the networks are asked.
    :param spatialvla_config: training configuration of the setting ``spatialvla``.
    :param steps: optimiser steps of each stage; 0 for the configuration's.
    """

    grounding: int = 0
    demonstrated: tuple[str, ...] = (_ALL,)
    questions: int = 0
    spatialvla_config: Path = Path()
    steps: int = 0

    def __post_init__(self) -> None:
        for name in ("demonstrations", "grounding"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1 for grounding, got {getattr(self, name)}")
        if len(set(self.demonstrated)) != len(self.demonstrated):
            raise InputError(f"demonstrated: expected different ones, got {', '.join(self.demonstrated)}")
        for task in self.tasks:
            if not find_task(task).has_expert:
                raise InputError(f"tasks: expected tasks with an expert for grounding, {task} has none")

    @property
    def networks(self) -> Sequence[ArmNetwork]:
        return self._networks({part: {"grounding.paths": [""]} for part in self.demonstrated}, {})

    def prepare(self) -> Sequence[ArmNetwork]:
        data = {}
        for part in self.demonstrated:
            paths = record_demonstrations(
                self.tasks,
                self.demonstrations,
                self.eval_arguments.workers,
                self.folder / f"demonstrations{_ending(part)}",
                self.grounding,
                "" if part == _ALL else part,
            )
            data[part] = {**trained_on(paths, self.folder), "grounding.paths": paths}
        return self._networks(data, self._costs(data[self.demonstrated[0]]))

    def examine(self, networks: Sequence[ArmNetwork]) -> None:  # type: ignore[override]  # its own networks
        training = self.folder / "training"
        asked = {network.name: trained_checkpoint(network, training) for network in networks if network.answers}
        places = [each.folder for each in self._official.values()]
        ask_networks(asked, places, self.questions, self.folder / "answers")

    def write(  # type: ignore[override]
        self, networks: Sequence[ArmNetwork], tasks: Sequence[str], results: Sequence[EpisodeResult]
    ) -> str:
        texts = []
        for part in self.demonstrated:
            those = [network for network in networks if network.part == part]
            labels = {network.policy.label for network in those}
            own = [result for result in results if result.key.policy in labels]
            if part == _ALL:
                texts.append(write_ablation(self, those, tasks, own))
                continue
            for half in sorted(HALVES, key=lambda half: half == part):
                inside = [each for each in own if self._official[each.key.task].halves[each.key.episode] == half]
                where = "that no demonstration shows" if half != part else "of the demonstrations"
                about = f"demonstrations of the {part} half, object in the {half} half, {where}"
                if inside:
                    texts.append(write_ablation(self, those, tasks, inside, f"ablation-{part}-{half}", about))
        arms = {network.name: (network.arm, network.after) for network in networks if network.answers}
        texts.append(write_errors(arms, self.folder / "answers", self.folder))
        return "\n".join(texts)

    @cached_property
    def _official(self) -> Mapping[str, Any]:
        from stvla_ros.learning.grounding.official import record_official

        halves = any(part != _ALL for part in self.demonstrated)
        evaluation = self.eval_arguments
        return record_official(self.tasks, evaluation.episodes, evaluation.workers, self.folder / "official", halves)

    def _networks(self, data: Mapping[str, Mapping[str, Any]], costs: Mapping[str, float]) -> list[ArmNetwork]:
        """
        :param data: changes of the configuration for the demonstrations of each part of the table.
        :param costs: seconds of the trainings' steps; empty: those with more steps have as many as the stage.
        """
        return [
            network
            for part, changes in data.items()
            for number, seed in enumerate(self.trainings.seeds or (None,))
            for network in self._of_seed(part, number, {} if seed is None else {"seed": seed}, changes, costs)
        ]

    def _of_seed(
        self,
        part: str,
        number: int,
        seeded: Mapping[str, int],
        data: Mapping[str, Any],
        costs: Mapping[str, float],
    ) -> list[ArmNetwork]:
        given = {**self.trainings.overrides, **seeded, **data}
        first, second = two_stages(self._read(self.trainings.config, {"grounding.paths": [""], **given}), self.steps)
        ending = _ending(part) + "".join(f"-s{seed}" for seed in seeded.values())
        arms = [(setting, find_arm(setting.name)) for setting in self.settings]
        networks = []
        for name in dict.fromkeys(arm.after for _, arm in arms if arm.after):
            changes = first_stage(first, shuffled=any(arm.after == name and arm.shuffled for _, arm in arms))
            policy = replace(self.settings[0].policy, label=f"grounding-{name}{ending}")
            networks.append(
                ArmNetwork(
                    f"{name}{ending}",
                    name,
                    number,
                    policy,
                    self.trainings.config,
                    {**given, **changes},
                    acts=False,
                    part=part,
                )
            )
        for setting, arm in arms:
            steps = 0
            if arm.longer and costs:
                steps = equal_steps(costs, first, second, costs[SPATIALVLA if arm.other else ACTING])
            network = ArmNetwork(
                setting.name + ending,
                setting.policy.label + _ending(part),
                number,
                replace(setting.policy, label=setting.policy.label + ending),
                self.trainings.config,
                {**given, **second_stage(arm, second, steps)},
                f"{arm.after}{ending}" if arm.after else "",
                part=part,
            )
            networks.append(self._of_other_family(network, steps or second.steps) if arm.other else network)
        return networks

    def _of_other_family(self, network: ArmNetwork, steps: int) -> ArmNetwork:
        # What the other configuration has of its own is left out.
        own = ("grounding", "family", "stages")
        kept = {name: value for name, value in network.overrides.items() if name.partition(".")[0] not in own}
        # It sees depth, and no traces: the plain family.
        changes = {"steps": steps, "inputs.traces": "none"}
        return replace(network, config=self.spatialvla_config, overrides={**kept, **changes}, answers=False)

    def _costs(self, data: Mapping[str, Any]) -> dict[str, float]:
        """Seconds of a step of each training, measured once for the ablation; empty where no arm needs them."""
        if not any(find_arm(setting.name).longer for setting in self.settings):
            return {}
        from stvla_ros.learning.training.step_costs import step_seconds

        given = {**self.trainings.overrides, **data}
        config = self.trainings.config
        first, second = two_stages(self._read(config, given), self.steps)
        acting = Arm(asked=False, prompt=NO_PROMPT)
        changes = {FIRST: first_stage(first), SECOND: second_stage(Arm(), second), ACTING: second_stage(acting, second)}
        configs = {name: self._read(config, {**given, **each}) for name, each in changes.items()}
        if any(setting.name == SPATIALVLA for setting in self.settings):
            network = ArmNetwork(SPATIALVLA, "", 0, self.settings[0].policy, config, {**given, **changes[ACTING]})
            other = self._of_other_family(network, 1)
            configs[SPATIALVLA] = self._read(self.spatialvla_config, other.overrides)
        noted = self.folder / _COSTS
        if noted.is_file():
            found: dict[str, float] = json.loads(noted.read_text())
            if found.keys() >= configs.keys():
                return found
        print("measuring what a step of each training takes", flush=True)
        make_folder(self.folder)
        found = step_seconds(configs, self.folder / "costs")
        write_json(noted, found)
        return found

    @staticmethod
    def _read(config: Path, overrides: Mapping[str, Any]) -> Any:
        from stvla_ros.learning.training.config import read_config

        return read_config(config, overrides)


def _ending(part: str) -> str:
    return "" if part == _ALL else f"-{part}"
