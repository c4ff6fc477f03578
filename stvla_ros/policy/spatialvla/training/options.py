"""What a SpatialVLA training can be told."""

from dataclasses import dataclass
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.sizes import LONGEST_EARLIER_S

SCENE = "scene"
"""Objective: where are object, goal and gripper? (scene_loss.py)"""
_LONGEST_CHUNK = 32


@dataclass(frozen=True)
class SpatialVlaOptions:
    """
    :param chunk_size: actions in a chunk; 0: as many as the checkpoint's. Any checkpoint can be trained on to longer
        ones: an action's tokens are the same wherever in the chunk it stands.
    :param decoder_inputs: the actions before, after which the next one is told. ``executed``: what the robot did, which
        led to the state that the next label answers; ``labels``: what it should have done.
    :param refit_bins: fit the action bins to the training set and move the action embeddings onto them.
    :param refit_statistics: fit the actions' statistics to the training set. Without it those that the checkpoint has
        under ``data.unnorm_key`` stay, and its tokens go on to mean the same motions: a small training set need not
        hold the largest ones.
    :param smooth_actions: start a new model's action embeddings from smooth functions of the action.
    :param consensus_width: how the trained policy chooses tokens (``actions/consensus.py``); 0: the best score.
    :param smoothing: 0: the action's own token is the only right answer; else tokens count by their distance to the
        action, exp(-d^2 / 2 smoothing^2), in units of the normalised action.
    :param gripper_weight: of the gripper's token against the other two.
    :param trace_dropout: share of the samples that are trained on without their traces, where those are given beside
        the depth (``traces: beside``): the policy must not need them.
    :param earlier_s: the network sees a second picture, with its depth, of so many seconds before the newest one
        (``earlier_head.py``); 0 for none. In the first moments of an episode it is the episode's first.
    :raises InputError: for a value out of range.
    """

    chunk_size: int = 0
    decoder_inputs: Literal["executed", "labels"] = "executed"
    refit_bins: bool = True
    refit_statistics: bool = True
    smooth_actions: bool = False
    consensus_width: float = 0.0
    smoothing: float = 0.0
    gripper_weight: float = 1.0
    trace_dropout: float = 0.3
    earlier_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.chunk_size <= _LONGEST_CHUNK:
            raise InputError(f"chunk_size: expected 0 to {_LONGEST_CHUNK} actions, got {self.chunk_size}")
        if self.refit_bins and not self.refit_statistics:
            raise InputError("refit_statistics: expected true with refit_bins, which are fitted to what they scale")
        for name in ("consensus_width", "smoothing"):
            if not 0.0 <= getattr(self, name) <= 2.0:
                raise InputError(f"{name}: expected 0 to 2, got {getattr(self, name)}")
        if not 0.0 <= self.gripper_weight < float("inf"):
            raise InputError(f"gripper_weight: expected 0 or more, got {self.gripper_weight}")
        if not 0.0 <= self.trace_dropout <= 1.0:
            raise InputError(f"trace_dropout: expected a share of the samples, 0 to 1, got {self.trace_dropout}")
        if not 0.0 <= self.earlier_s <= LONGEST_EARLIER_S:
            raise InputError(f"earlier_s: expected 0 to {LONGEST_EARLIER_S:g} seconds, got {self.earlier_s}")
