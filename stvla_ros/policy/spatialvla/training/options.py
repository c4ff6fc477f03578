"""Options of a SpatialVLA training."""

from dataclasses import dataclass
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.sizes import LONGEST_EARLIER_S

SCENE = "scene"
"""Objective: the positions of object, goal and gripper (scene_loss.py)."""
_LONGEST_CHUNK = 32


@dataclass(frozen=True)
class SpatialVlaOptions:
    """
    :param chunk_size: actions in a chunk; 0: as many as the checkpoint's. Any checkpoint can be trained to longer
        chunks: an action's tokens are the same at every place in the chunk.
    :param decoder_inputs: actions that the decoder sees as the previous ones. ``executed``: what the robot did, which
        led to the state that the next label answers; ``labels``: what it should have done.
    :param refit_bins: whether the action bins are fitted to the training set, and the action embeddings moved onto
        them.
    :param refit_statistics: whether the statistics of the actions are fitted to the training set. Without it, the
        checkpoint's own statistics under ``data.unnorm_key`` stay, and its tokens still mean the same motions: a small
        training set need not contain the largest ones.
    :param smooth_actions: whether a new model's action embeddings start as smooth functions of the action.
    :param consensus_width: width of the rule by which the trained policy chooses tokens (``actions/consensus.py``); 0:
        as the checkpoint that it starts from, a new one by the best score.
    :param smoothing: width s of the accepted answers. 0: only the action's own token is right; else a token at distance
        d of the action counts exp(-d^2 / 2 s^2), in units of the normalised action.
    :param gripper_weight: weight of the gripper's token relative to the other two.
    :param trace_dropout: share of the samples that are trained without their traces, with traces beside the depth
        (``traces: beside``): the policy must not depend on them.
    :param earlier_s: age in seconds of a second picture with its depth that the network sees (``earlier_head.py``); 0
        for none. At the start of an episode it is the episode's first picture.
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
            raise InputError(
                "refit_statistics: expected true with refit_bins, because the bins are fitted to the scaled actions"
            )
        for name in ("consensus_width", "smoothing"):
            if not 0.0 <= getattr(self, name) <= 2.0:
                raise InputError(f"{name}: expected 0 to 2, got {getattr(self, name)}")
        if not 0.0 <= self.gripper_weight < float("inf"):
            raise InputError(f"gripper_weight: expected 0 or more, got {self.gripper_weight}")
        if not 0.0 <= self.trace_dropout <= 1.0:
            raise InputError(f"trace_dropout: expected a share of the samples, 0 to 1, got {self.trace_dropout}")
        if not 0.0 <= self.earlier_s <= LONGEST_EARLIER_S:
            raise InputError(f"earlier_s: expected 0 to {LONGEST_EARLIER_S:g} seconds, got {self.earlier_s}")
