"""Converts between actions in SI units and normalized actions, by the statistics of the training data set."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError

_LOW_QUANTILE, _HIGH_QUANTILE = 0.01, 0.99
# With fewer, the 1 % quantile lies between the smallest value and the next, whatever the distribution.
MIN_ACTIONS = 100
# Of the data sets whose statistics the published checkpoints have (huggingface.co/IPEC-COMMUNITY/
# spatialvla-4b-224-pt, processor_config.json). A fine-tuned checkpoint keeps them and adds its own.
PUBLISHED_KEYS = frozenset(
    """
    austin_buds_dataset_converted_externally_to_rlds/0.1.0 austin_sailor_dataset_converted_externally_to_rlds/0.1.0
    austin_sirius_dataset_converted_externally_to_rlds/0.1.0 bc_z/0.1.0 berkeley_autolab_ur5/0.1.0
    berkeley_cable_routing/0.1.0 berkeley_fanuc_manipulation/0.1.0 bridge_orig/1.0.0 cmu_stretch/0.1.0
    dlr_edan_shared_control_converted_externally_to_rlds/0.1.0 dobbe/0.0.1 droid/1.0.0 fmb_dataset/1.0.0
    fractal20220817_data/0.1.0 furniture_bench_dataset_converted_externally_to_rlds/0.1.0
    iamlab_cmu_pickup_insert_converted_externally_to_rlds/0.1.0 jaco_play/0.1.0 kuka/0.1.0 language_table/0.1.0
    nyu_franka_play_dataset_converted_externally_to_rlds/0.1.0 rh20t_rlds/1.0.0 roboturk/0.1.0
    stanford_hydra_dataset_converted_externally_to_rlds/0.1.0 taco_play/0.1.0 toto/0.1.0
    ucsd_kitchen_dataset_converted_externally_to_rlds/0.1.0 utaustin_mutex/0.1.0 viola/0.1.0
    """.split()
)


@dataclass(frozen=True, eq=False)
class ActionStatistics:
    """How the actions of one data set are scaled: the 1 % and 99 % quantiles become -1 and 1.

    An action is (x, y, z) metres, (roll, pitch, yaw) radians about fixed axes, gripper 0 (closed) to 1 (open).

    :param q01: (7,) float64, 1 % quantile, in the action's units.
    :param q99: (7,) float64, 99 % quantile, in the action's units.
    :param mask: (7,) bool, which dimensions are scaled; the others pass through (the gripper).
    :param other_entries: further keys of the published block (mean, proprio, num_trajectories, ...), kept so that they
        can be written again.
    :raises InputError: for wrong lengths, numbers that are not finite, or a q01 above its q99.
    """

    q01: np.ndarray
    q99: np.ndarray
    mask: np.ndarray
    other_entries: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype in (("q01", np.float64), ("q99", np.float64), ("mask", np.bool_)):
            object.__setattr__(self, name, _checked_row(f"statistics {name}", getattr(self, name), dtype))
        above = np.flatnonzero(self.q01 > self.q99)
        if len(above):
            i = above[0]
            raise InputError(f"statistics q01: expected at most q99, got {self.q01[i]} > {self.q99[i]} at index {i}")

    @classmethod
    def from_config(cls, block: Mapping[str, Any]) -> "ActionStatistics":
        """
        :param block: one data set's entry under ``statistics`` in ``processor_config.json``. Without
            ``action.mask``, every dimension is scaled.
        :raises InputError: naming what is missing or wrong.
        """
        if not isinstance(block, Mapping) or not isinstance(block.get("action"), Mapping):
            raise InputError("statistics action: expected an object with q01 and q99, which is missing")
        action = dict(block["action"])
        missing = [name for name in ("q01", "q99") if name not in action]
        if missing:
            raise InputError(f"statistics {missing[0]}: expected {ACTION_DIMENSIONS} numbers, which are missing")
        return cls(
            q01=action.pop("q01"),
            q99=action.pop("q99"),
            mask=action.pop("mask", [True] * ACTION_DIMENSIONS),
            other_entries={**block, "action": action},
        )

    def to_config(self) -> dict[str, Any]:
        """The data set's entry under ``statistics`` in ``processor_config.json``."""
        action = {
            **self.other_entries.get("action", {}),
            "q01": self.q01.tolist(),
            "q99": self.q99.tolist(),
            "mask": self.mask.tolist(),
        }
        return {**self.other_entries, "action": action}

    def normalize(self, actions: ArrayLike) -> np.ndarray:
        """
        :param actions: (..., 7) in metres, radians and gripper opening.
        :returns: (..., 7) float64, scaled dimensions clipped to -1..1; 0 where q01 equals q99.
        :raises InputError: for another shape, or a NaN or infinity.
        """
        actions = checked_actions("actions", actions)
        span = self.q99 - self.q01
        scaled = 2.0 * (actions - self.q01) / np.where(span > 0.0, span, 1.0) - 1.0
        scaled = np.where(span > 0.0, np.clip(scaled, -1.0, 1.0), 0.0)
        return np.where(self.mask, scaled, actions)

    def unnormalize(self, normalized: ArrayLike) -> np.ndarray:
        """
        :param normalized: (..., 7) normalized actions.
        :returns: (..., 7) float64 in metres, radians and gripper opening.
        :raises InputError: for another shape, or a NaN or infinity.
        """
        normalized = checked_actions("normalized actions", normalized)
        return np.where(self.mask, 0.5 * (normalized + 1.0) * (self.q99 - self.q01) + self.q01, normalized)


def read_statistics(config: Mapping[str, Any]) -> dict[str, ActionStatistics]:
    """
    :param config: a checkpoint's ``processor_config.json``.
    :returns: the statistics by data set ("un-norm key").
    :raises InputError: when there are none, or naming the data set whose entry is wrong.
    """
    return statistics_by_key(config.get("statistics"), "processor_config.json statistics", "processor_config.json")


def statistics_by_key(blocks: Any, name: str, file: str) -> dict[str, ActionStatistics]:
    """
    :param blocks: a block for each data set.
    :param name: name of the blocks in messages.
    :param file: name of the file that they come from, for messages.
    :returns: the statistics by data set ("un-norm key").
    :raises InputError: when there are none, or naming the data set whose entry is wrong.
    """
    if not isinstance(blocks, Mapping) or not blocks:
        raise InputError(f"{name}: expected at least one data set, got none")
    statistics = {}
    for key, block in blocks.items():
        try:
            statistics[key] = ActionStatistics.from_config(block)
        except InputError as error:
            raise InputError(f"{file}, data set {key!r}: {error}") from error
    return statistics


def select_statistics(
    statistics: Mapping[str, ActionStatistics], unnorm_key: str | None, fallback: str = ""
) -> tuple[str, ActionStatistics]:
    """Choose the statistics that turn normalized actions into motions.

    :param unnorm_key: data set of the checkpoint. None or empty: the checkpoint's only data set; if the checkpoint was
        trained further than the published ones, the data set that was added; else ``fallback``.
    :param fallback: data set of the robot in use, taken if the checkpoint has it.
    :returns: the key and its statistics.
    :raises InputError: when there is no such key, or none was given and several are possible; lists those that exist.
    """
    added = [key for key in statistics if key not in PUBLISHED_KEYS]
    if not unnorm_key:
        if len(statistics) == 1:
            return next(iter(statistics.items()))
        if len(added) == 1:
            return added[0], statistics[added[0]]
        # With several added data sets, taking the robot's own would be a guess.
        unnorm_key = fallback if fallback in statistics and (not added or fallback in added) else ""
    if unnorm_key not in statistics:
        existing = ", ".join([*added, *(key for key in statistics if key not in added)])
        got = repr(unnorm_key) if unnorm_key else "none"
        raise InputError(
            f"unnorm_key: expected one of {existing or 'none (the checkpoint has no statistics)'}; got {got}"
        )
    return unnorm_key, statistics[unnorm_key]


def why_statistics(
    statistics: Mapping[str, ActionStatistics], key: str, unnorm_key: str | None, fallback: str = ""
) -> str:
    """The reason why :func:`select_statistics` took a key, in words."""
    if key == unnorm_key:
        return "asked for"
    if len(statistics) == 1:
        return "the checkpoint's only ones"
    return "the robot has them" if key == fallback else "added to the published ones"


def say_statistics(
    statistics: Mapping[str, ActionStatistics], key: str, unnorm_key: str | None, fallback: str = ""
) -> None:
    """Print one line on standard error if there was a choice: the size of every motion follows from it."""
    if len(statistics) > 1:
        why = why_statistics(statistics, key, unnorm_key, fallback)
        print(f"note: action statistics {key!r} of {len(statistics)} ({why})", file=sys.stderr, flush=True)


def fit_statistics(actions: ArrayLike, num_trajectories: int) -> ActionStatistics:
    """The statistics of a new data set, in the published layout.

    :param actions: (N, 7) in metres, radians and gripper opening 0..1, N >= ``MIN_ACTIONS``.
    :param num_trajectories: number of demonstrations that the actions come from; it is only written down.
    :returns: quantiles and moments of all dimensions; the gripper is not scaled.
    :raises InputError: for another shape, too few actions, a NaN or infinity, or a gripper outside 0..1.
    """
    actions = checked_actions("actions", actions)
    if actions.ndim != 2 or len(actions) < MIN_ACTIONS:
        raise InputError(
            f"actions: expected shape (N, {ACTION_DIMENSIONS}) with N >= {MIN_ACTIONS}, got {actions.shape}"
        )
    if not 1 <= num_trajectories <= len(actions):
        raise InputError(f"num_trajectories: expected 1..{len(actions)} (the actions), got {num_trajectories}")
    gripper = actions[:, -1]
    if gripper.min() < 0.0 or gripper.max() > 1.0:
        raise InputError(
            f"actions: expected a gripper of 0 (closed) to 1 (open), got {gripper.min():g}..{gripper.max():g}"
        )
    moments = {
        "mean": actions.mean(axis=0),
        "std": actions.std(axis=0),
        "max": actions.max(axis=0),
        "min": actions.min(axis=0),
    }
    return ActionStatistics(
        q01=np.quantile(actions, _LOW_QUANTILE, axis=0),
        q99=np.quantile(actions, _HIGH_QUANTILE, axis=0),
        mask=np.arange(ACTION_DIMENSIONS) < ACTION_DIMENSIONS - 1,
        other_entries={
            "action": {name: values.tolist() for name, values in moments.items()},
            "num_transitions": len(actions),
            "num_trajectories": num_trajectories,
        },
    )


def _checked_row(name: str, values: Any, dtype: type) -> np.ndarray:
    try:
        row: np.ndarray = np.array(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: expected {ACTION_DIMENSIONS} numbers, got {type(values).__name__}") from error
    if row.shape != (ACTION_DIMENSIONS,) or not np.isfinite(row).all():
        raise InputError(f"{name}: expected {ACTION_DIMENSIONS} finite numbers, got {row.tolist()}")
    row.setflags(write=False)
    return row


ACTION_DIMENSIONS = 7


def checked_actions(name: str, actions: ArrayLike) -> np.ndarray:
    """
    :returns: ``actions`` as float64.
    :raises InputError: unless they are finite numbers of shape (..., 7); the message starts with ``name``.
    """
    try:
        checked = np.asarray(actions, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: expected numbers of shape (..., {ACTION_DIMENSIONS}), got {error}") from error
    if checked.ndim < 1 or checked.shape[-1] != ACTION_DIMENSIONS:
        raise InputError(f"{name}: expected shape (..., {ACTION_DIMENSIONS}), got {checked.shape}")
    if not np.isfinite(checked).all():
        wrong = int((~np.isfinite(checked)).any(axis=-1).sum())
        raise InputError(f"{name}: expected finite numbers, got NaN or infinity in {wrong} actions")
    return checked


def to_end_effector_action(action: np.ndarray) -> EndEffectorAction:
    """
    :param action: (7,) x y z metres, roll pitch yaw radians about the fixed axes x, y, z in this order (the OXE
        convention), gripper 0..1.
    """
    rotation = Rotation.from_euler("xyz", action[3:6]).as_rotvec()
    return EndEffectorAction(action[:3], rotation, float(action[6]))
