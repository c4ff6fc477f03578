"""The arms of `stvla ablate grounding`: which parts of the method each has, as changes of one two-stage training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError

if TYPE_CHECKING:
    from stvla_ros.learning.training.config import TrainingConfig
    from stvla_ros.learning.training.config_sections import StageConfig

NO_PROMPT = "{instruction}"
# As long as a spatial prompt, and without a meaning.
_PADDING = "Your task is {instruction}. " + ", ".join(["xxx"] * 16) + "."


@dataclass(frozen=True)
class Arm:
    """
    :param sees_first: whether it learns where things are (stage 1) before it learns to act.
    :param asked: whether questions go on beside the demonstrations.
    :param prompt: text around the instruction; empty: the spatial prompt of the configuration.
    :param shuffled: whether all answers are those of other pictures.
    :param decay: factor of the gradient from the actions into the language model; None: the configuration's.
    :param longer: whether it has as many steps as take the time of all of the first arm's training.
    :param other: whether it is the network of another configuration, of another family.
    """

    sees_first: bool = True
    asked: bool = True
    prompt: str = ""
    shuffled: bool = False
    decay: float | None = None
    longer: bool = False
    other: bool = False

    @property
    def after(self) -> str:
        """Name of the network of stage 1 that it continues from; empty for none."""
        return "" if not self.sees_first else "stage1-shuffled" if self.shuffled else "stage1"


FULL, SPATIALVLA = "full", "spatialvla"
ARMS: Mapping[str, Arm] = {
    FULL: Arm(),
    "vanilla": Arm(sees_first=False, asked=False, prompt=NO_PROMPT),
    "vanilla-longer": Arm(sees_first=False, asked=False, prompt=NO_PROMPT, longer=True),
    "co-trained": Arm(sees_first=False, prompt=NO_PROMPT),
    "no-prompt": Arm(prompt=NO_PROMPT),
    "shuffled": Arm(shuffled=True),
    SPATIALVLA: Arm(sees_first=False, asked=False, longer=True, other=True),
    "padded-prompt": Arm(prompt=_PADDING),
    "decay-0": Arm(decay=0.0),
    "decay-1": Arm(decay=1.0),
    "guided": Arm(sees_first=False),
    "left-alone": Arm(asked=False, prompt=NO_PROMPT),
}
"""All arms by name. ``vanilla-longer`` and ``spatialvla``, the network of the other family, are trained for as long as
``full``; ``guided`` is the full method without stage 1; ``left-alone`` learns where things are, then actions alone."""
USUAL_ARMS = (FULL, "vanilla", "vanilla-longer", "co-trained", "no-prompt", "shuffled", SPATIALVLA)


def find_arm(name: str) -> Arm:
    """:raises InputError: when there is none."""
    if name not in ARMS:
        raise InputError(f"settings: expected some of {', '.join(ARMS)} for grounding, got {name!r}")
    return ARMS[name]


def two_stages(config: "TrainingConfig", steps: int = 0) -> tuple["StageConfig", "StageConfig"]:
    """The two stages of a training: questions alone, then actions beside questions.

    :param steps: number of steps of each in place of its own; 0 for its own.
    :raises InputError: when it has others.
    """
    from stvla_ros.policy.families import ACTIONS, GROUNDING  # slow, and the names of the arms need none of it

    stages = config.all_stages(1)
    asked = [set(stage.objectives or {}) for stage in stages]
    if len(stages) != 2 or asked[0] != {GROUNDING} or not asked[1] >= {ACTIONS, GROUNDING}:
        said = "; ".join(", ".join(sorted(each)) for each in asked)
        raise InputError(f"config: stages: expected two, for {GROUNDING} and for {ACTIONS} and {GROUNDING}, got {said}")
    first, second = (replace(stage, steps=steps or stage.steps, data=()) for stage in stages)
    return first, second


def first_stage(stage: "StageConfig", shuffled: bool = False) -> dict[str, Any]:
    """Changes of the configuration for a network that learns where things are, and nothing else, by dotted name."""
    return {"stages": [_stage(stage)], **({"grounding.shuffled": True} if shuffled else {})}


def second_stage(arm: Arm, stage: "StageConfig", steps: int = 0) -> dict[str, Any]:
    """Changes of the configuration for an arm's training in actions, by dotted name.

    :param stage: the configuration's second stage.
    :param steps: number of steps in place of the stage's; 0 for the stage's own.
    """
    from stvla_ros.policy.families import GROUNDING  # slow, and the names of the arms need none of it

    objectives = dict(stage.objectives or {})
    if not arm.asked:
        del objectives[GROUNDING]
    changes: dict[str, Any] = {
        "stages": [_stage(replace(stage, steps=steps or stage.steps, objectives=objectives, data=()))]
    }
    if arm.prompt:
        changes["family.options.prompt"] = arm.prompt
    if arm.decay is not None:
        changes["family.options.gradient_decay"] = arm.decay
    if arm.shuffled:
        changes["grounding.shuffled"] = True
    return changes


def equal_steps(costs: Mapping[str, float], first: "StageConfig", second: "StageConfig", step: float) -> int:
    """The number of steps that take as long as both stages.

    :param costs: seconds of a step, by ``FIRST`` and ``SECOND``.
    :param step: seconds of one of those steps.
    """
    return max(1, round((first.steps * costs[FIRST] + second.steps * costs[SECOND]) / step))


FIRST, SECOND, ACTING = "stage 1", "stage 2", "actions alone"
"""Names of trainings whose steps are measured."""


def _stage(stage: "StageConfig") -> dict[str, Any]:
    return {"steps": stage.steps, "objectives": dict(stage.objectives or {}), "freeze": list(stage.freeze)}
