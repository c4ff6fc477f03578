"""The sections of a training's configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stvla_ros.learning.datasets.recorded_clips import RecordingsConfig
from stvla_ros.settings import FORMER_NAME


@dataclass(frozen=True)
class DataConfig:
    """The demonstrations of a training.

    :param paths: folders of LeRobotDatasets; for objectives that need no actions also videos, image folders and
        bags.
    :param clips: further data without actions, for a training that learns actions from ``paths``: videos, image
        folders, bags, and LeRobotDatasets, whose actions do not count. Only what needs no actions is learnt from them,
        and none is held out.
    :param episodes: number of episodes of each instruction that are used, the first ones; 0 for all.
    :param picture: name of the picture's feature; empty for the only or first one.
    :param action: meaning of the actions' numbers by data set path, for data sets whose names do not tell it: seven
        words in the numbers' order, of x y z, roll pitch yaw (or axis_angle_x axis_angle_y axis_angle_z), gripper (1
        when open) or gripper_closed (1 when closed).
    :param unnorm_key: name of the training set's action statistics in the checkpoint.
    :param validation_share: share of the episodes that is held out, 0..0.5.
    :param cache: folder for prepared frames.
    :param still_gripper: whether a gripper that never changes in all of the data is right (tapping, pushing); otherwise
        it is taken for a mistake.
    :param recordings: settings for reading videos, image folders and bags.
    """

    paths: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()
    episodes: int = 0
    picture: str = ""
    action: Mapping[str, str] = field(default_factory=dict)
    unnorm_key: str = field(default="stvla", metadata={FORMER_NAME: "statistics_key"})
    validation_share: float = 0.03
    cache: str = "out/cache"
    still_gripper: bool = False
    recordings: RecordingsConfig = field(default_factory=RecordingsConfig)

    @property
    def all_paths(self) -> tuple[str, ...]:
        """The demonstrations' paths, then those of the clips."""
        return (*self.paths, *self.clips)


@dataclass(frozen=True)
class OptimizerConfig:
    """
    :param name: name of the optimiser. ``adamw``; ``muon``: orthogonalised momentum for the layers' matrices, AdamW for
        the rest.
    :param learning_rate: largest learning rate.
    :param learning_rates: largest learning rates of parts of the network, instead of ``learning_rate``. The parts are
        named as in ``freeze``; the longest name that fits counts.
    :param weight_decay: weight decay, decoupled from the gradient.
    :param schedule: course of the learning rate after the warm-up.
    :param warmup_steps: number of steps in which the learning rate rises from 0 to its largest value.
    :param max_gradient_norm: norm that larger gradients are scaled down to.
    :param ema: decay of the averaged weights that are saved; 0 for none.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 5e-5
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    max_gradient_norm: float = 1.0
    ema: float = 0.0


@dataclass(frozen=True)
class AugmentationConfig:
    """
    :param zoom: largest share by which pictures, depth and intrinsics are enlarged or reduced together.
    :param shift: largest shift of pictures, depth and intrinsics together, pixels of 224.
    :param colour: largest share by which brightness, contrast and saturation change.
    :param depth_noise: largest share by which depths are scaled.
    :param light: largest natural logarithm of the factor by which another lamp changes the brightness; its colour, and
        the change towards an edge of the picture, are half as strong.
    :param texture: largest opacity of a pattern (stripes, checks, grain, clouds) that is mixed into the picture.
    """

    zoom: float = 0.0
    shift: int = 0
    colour: float = 0.0
    depth_noise: float = 0.0
    light: float = 0.0
    texture: float = 0.0


@dataclass(frozen=True)
class FamilyConfig:
    """
    :param name: name of the family of policies (``stvla_ros/policy/families.py``).
    :param options: options of the family, as its ``options`` class defines them.
    """

    name: str = "spatialvla"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageConfig:
    """One of several parts of a training, each with its own objectives and learning-rate schedule.

    :param steps: number of optimiser steps.
    :param objectives: weights of the objectives, in place of the training's.
    :param freeze: frozen parts of the network, in addition to the training's: dotted names or the beginnings of them
        (``vision_tower``, ``language_model.model.layers.0``).
    :param data: data sets to learn from, some of ``data.paths`` and ``data.clips``; empty: all.
    """

    steps: int
    objectives: Mapping[str, float] | None = None
    freeze: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
