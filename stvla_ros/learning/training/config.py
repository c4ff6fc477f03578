"""The configuration of a training run: config/train/*.yaml."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stvla_ros.control.chunk_execution import EXECUTIONS
from stvla_ros.errors import InputError
from stvla_ros.learning.training.asked_questions import GroundingConfig
from stvla_ros.learning.training.config_layers import fill_from_base, put_over
from stvla_ros.learning.training.config_sections import (
    AugmentationConfig,
    DataConfig,
    FamilyConfig,
    OptimizerConfig,
    StageConfig,
)
from stvla_ros.policy.families import ACTIONS, GROUNDING, find_family
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.training_record import PUBLISHED_EXECUTION
from stvla_ros.settings import build, read_mapping, shown


@dataclass(frozen=True)
class TrainingConfig:
    """
    :param family: family of the policy.
    :param checkpoint: checkpoint to start from, a folder or a hub id; empty for a new model of ``size``.
    :param size: size of a new model.
    :param output: folder of the run; the trained checkpoint is its ``checkpoint`` (and ``adapter``) subfolder.
    :param seed: seed of weights, order and augmentation.
    :param steps: number of optimiser steps; 0: given by ``epochs`` or ``stages``.
    :param epochs: number of passes over the training set; 0: given by ``steps`` or ``stages``.
    :param stages: stages, one after the other; empty: one stage with all ``steps`` or ``epochs``.
    :param objectives: objectives with their weights: ``actions``, and the family's others.
    :param freeze: frozen parts of the network, as in a stage.
    :param batch_size: samples in a forward pass.
    :param gradient_accumulation: forward passes in an optimiser step.
    :param execution: execution of the trained policy's chunks (``control/chunk_execution.py``); `stvla sim`, `robot`
        and `eval` use it unless told otherwise. Left out of a file: that of the checkpoint.
    :param precision: type of the forward pass, and of the weights below adapters; auto: bfloat16 where the device
        computes in it, else float32.
    :param gradient_checkpointing: whether each layer is computed again for its gradient instead of keeping what it
        computed: a third more time, and memory for one layer instead of all.
    :param device: device of the training: auto, cpu, cuda or cuda:N.
    :param save_every: optimiser steps between resumable states.
    :param log_every: optimiser steps between log entries.
    :param validate_every: optimiser steps between validations.
    :raises InputError: naming the key that cannot be used.
    """

    family: FamilyConfig = field(default_factory=FamilyConfig)
    checkpoint: str = ""
    size: str = "small"
    output: str = "out/training"
    seed: int = 0
    steps: int = 0
    epochs: float = 0.0
    stages: tuple[StageConfig, ...] = ()
    objectives: Mapping[str, float] = field(default_factory=lambda: {ACTIONS: 1.0})
    freeze: tuple[str, ...] = ()
    batch_size: int = 1
    gradient_accumulation: int = 1
    execution: str = PUBLISHED_EXECUTION
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    device: str = "auto"
    save_every: int = 200
    log_every: int = 10
    validate_every: int = 200
    data: DataConfig = field(default_factory=DataConfig)
    inputs: InputsConfig = field(default_factory=InputsConfig)
    lora: LoraConfig | None = None
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    grounding: GroundingConfig = field(default_factory=GroundingConfig)

    def __post_init__(self) -> None:
        if bool(self.steps) + bool(self.epochs) + bool(self.stages) != 1:
            raise InputError(
                f"steps, epochs: expected one of them or stages, got {self.steps}, {self.epochs} and "
                f"{len(self.stages)} stages"
            )
        positive = {
            "batch_size": self.batch_size,
            "gradient_accumulation": self.gradient_accumulation,
            "save_every": self.save_every,
            "log_every": self.log_every,
            "validate_every": self.validate_every,
            "optimizer.learning_rate": self.optimizer.learning_rate,
            **{f"optimizer.learning_rates.{part}": rate for part, rate in self.optimizer.learning_rates.items()},
            **{f"stages[{number}].steps": stage.steps for number, stage in enumerate(self.stages)},
        }
        for name, value in positive.items():
            if not value > 0:
                raise InputError(f"{name}: expected more than 0, got {value}")
        shares = {
            "data.validation_share": (self.data.validation_share, 0.5),
            "optimizer.ema": (self.optimizer.ema, 1.0),
            "augmentation.zoom": (self.augmentation.zoom, 0.5),
            "augmentation.colour": (self.augmentation.colour, 1.0),
            "augmentation.depth_noise": (self.augmentation.depth_noise, 1.0),
            "augmentation.light": (self.augmentation.light, 2.0),
            "augmentation.texture": (self.augmentation.texture, 1.0),
            "augmentation.shift": (self.augmentation.shift, 56),
            "steps": (self.steps, 10**9),
            "epochs": (self.epochs, 10**6),
            "seed": (self.seed, 2**31 - 1),
        }
        for name, (value, high) in shares.items():
            if not 0 <= value <= high:
                raise InputError(f"{name}: expected 0 to {high:g}, got {value}")
        if self.execution not in EXECUTIONS:
            raise InputError(f"execution: expected one of {', '.join(EXECUTIONS)}, got {self.execution!r}")
        if self.lora is not None and self.lora.rank < 1:
            raise InputError(f"lora.rank: expected at least 1, got {self.lora.rank}")
        self.family_options()
        self._check_objectives("objectives", self.objectives)
        for number, stage in enumerate(self.stages):
            if stage.objectives is not None:
                self._check_objectives(f"stages[{number}].objectives", stage.objectives)
            for path in stage.data:
                if path not in self.data.all_paths:
                    paths = ", ".join(self.data.all_paths)
                    raise InputError(f"stages[{number}].data: expected some of data.paths ({paths}), got {path!r}")

        if self.data.clips:
            self._check_clips()
        if self.all_objectives().get(GROUNDING) and not self.grounding.paths:
            raise InputError("grounding.paths: expected questions for the objective grounding, got none")

    def _check_clips(self) -> None:
        free = find_family(self.family.name).action_free
        if not self.needs_actions:
            raise InputError("data.clips: expected none, nothing needs actions here: put them into data.paths")
        if not free.intersection(self.all_objectives()):
            learns = ", ".join(sorted(free)) or "none, the family has none"
            raise InputError(f"data.clips: expected an objective that needs no actions ({learns}), there is none")

    def _check_objectives(self, name: str, weights: Mapping[str, float]) -> None:
        known = find_family(self.family.name).objectives
        for objective, weight in weights.items():
            if objective not in known:
                raise InputError(f"{name}: expected some of {', '.join(known)}, got {objective!r}")
            if not 0 <= weight < float("inf"):
                raise InputError(f"{name}.{objective}: expected 0 or more, got {weight}")
        if not any(weights.values()):
            raise InputError(f"{name}: expected one weight above 0 at least, got {dict(weights)}")

    @property
    def needs_actions(self) -> bool:
        """Whether something is trained for that needs the demonstrated actions."""
        return not find_family(self.family.name).action_free.issuperset(self.all_objectives())

    def family_options(self) -> Any:
        """The family's options. :raises InputError: naming the key that cannot be used."""
        return build(find_family(self.family.name).options, dict(self.family.options), "family.options.")

    def all_stages(self, steps: int) -> tuple[StageConfig, ...]:
        """The stages, one after the other: their objectives without those of weight 0, and all frozen parts.

        :param steps: number of steps of the whole run, if there are no stages.
        """
        return tuple(
            StageConfig(
                stage.steps,
                {
                    name: weight
                    for name, weight in (self.objectives if stage.objectives is None else stage.objectives).items()
                    if weight
                },
                (*self.freeze, *stage.freeze),
                stage.data or self.data.all_paths,
            )
            for stage in self.stages or (StageConfig(steps),)
        )

    def all_objectives(self) -> dict[str, float]:
        """The objectives of all stages, each with its largest weight."""
        weights: dict[str, float] = {}
        for stage in self.all_stages(1):
            for name, weight in (stage.objectives or {}).items():
                weights[name] = max(weight, weights.get(name, 0.0))
        return weights


# Key of a configuration file that is no part of the configuration.
_PRESETS = "presets"
# The present names of keys, by their former dotted names.
_MOVED = {
    **{name: f"family.options.{name}" for name in ("refit_bins", "smooth_actions", "consensus_width")},
    "loss.smoothing": "family.options.smoothing",
    "loss.gripper_weight": "family.options.gripper_weight",
    "loss.scene_weight": "objectives.scene",
}


def read_config(file: Path, overrides: Mapping[str, Any] | None = None, preset: str = "") -> TrainingConfig:
    """The configuration of a file. If it starts from a checkpoint, ``inputs`` and ``execution`` are that checkpoint's
    where nothing else is given.

    :param overrides: values that replace the file's and the preset's, by dotted name (``data.episodes``). One of
        ``steps``, ``epochs`` and ``stages`` replaces whichever the file has.
    :param preset: name of one of the file's ``presets``, each of which has values in place of the file's own, also by
        dotted name; empty for none.
    :raises InputError: naming the file and the key that is unknown or has a wrong type or value.
    """
    content = read_mapping(file, "config")
    chosen = _preset(file, content.pop(_PRESETS, None) or {}, preset)
    _refuse_moved(file, content, {**chosen, **(overrides or {})})
    try:
        put_over(content, chosen)
        put_over(content, overrides or {})
        fill_from_base(content)
        return build(TrainingConfig, content)
    except InputError as error:
        raise InputError(f"config {file}: {error}") from None


def _preset(file: Path, presets: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(presets, dict) or not all(isinstance(each, dict) for each in presets.values()):
        raise InputError(f"config {file}: {_PRESETS}: expected a mapping of mappings, got {shown(presets)}")
    if not name:
        return {}
    if name not in presets:
        known = ", ".join(map(str, presets)) or "none, the file has no presets"
        raise InputError(f"config {file}: preset: expected one of {known}, got {name!r}")
    return {str(key): value for key, value in presets[name].items()}


def _refuse_moved(file: Path, content: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    written = {**dict.fromkeys(content), **dict.fromkeys(overrides)}
    if isinstance(content.get("loss"), dict):
        written |= dict.fromkeys(f"loss.{name}" for name in content["loss"])
    for old, new in _MOVED.items():
        if old in written:
            raise InputError(f"config {file}: {old}: no such key, it is called {new} now")
    if "loss" in written:
        raise InputError(f"config {file}: loss: no such key, its parts are in objectives and family.options now")


def record(config: TrainingConfig) -> dict[str, Any]:
    """The content of ``training.json``: the family, the policy's inputs and execution, and how it was trained."""
    training = to_mapping(config)
    family, inputs, execution = (training.pop(name) for name in ("family", "inputs", "execution"))
    options = _plain(dataclasses.asdict(config.family_options()))
    return {
        "family": family["name"],
        "options": options,
        "inputs": inputs,
        "execution": execution,
        "training": training,
    }


def to_mapping(config: TrainingConfig) -> dict[str, Any]:
    """The configuration in types that YAML and JSON can hold."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
