"""What a training after Farsighted-LAM / SSM-VLA can be told."""

from dataclasses import dataclass
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.policy.ssm_vla.config import LONGEST_CHUNK, check_keyframes, check_seconds

VISION = "vision"
"""Objective of the policy: the picture to come, in colour and depth."""
CODES = "codes"
"""Objective of the policy: the latent actions that the latent action model would tell of what comes."""
_MOST_REPEATS = 64


@dataclass(frozen=True)
class SsmVlaOptions:
    """Of the latent action model (objective ``latent``), and of the policy (``actions``, ``vision``, ``codes``).

    The first five make the latent action model; empty: as the checkpoint has it, or for a new one its size.

    :param encoder: ``stem``, ``small`` (the frozen picture encoder with Ego3D of ``encoder_checkpoint``) or ``dinov2``.
    :param encoder_checkpoint: folder, name or hub id of a frozen encoder; empty: the shipped ``small``, or
        ``facebook/dinov2-with-registers-base``.
    :param keyframes_s: seconds after the current frame, increasing.
    :param quantiser: ``vq`` or ``none``.
    :param depth: ``both``: seen and rebuilt; ``target``: rebuilt alone; ``none``: neither.
    :param change_weight: weight of a pixel that changes; one that does not counts 1.
    :param rgb_weight, depth_weight: weights of the two errors.
    :param commitment: weight of the distance of what is quantised to its code.
    :param label_share: share of the episodes, chosen by the seed, whose motion of the arm is asked for as well (LAOM,
        arXiv 2502.00379), 0 to 1. Their data must tell the arm's pose (``observation.state``).
    :param label_weight: weight of the error of that motion.
    :param policy_size: size of the policy of a latent action model that has none; empty: ``small``.
    :param before_s: age in seconds of the earlier picture that the policy sees; 0: the checkpoint's, of a new one 1.
    :param ahead_s: time in seconds of the picture that it predicts, one of the keyframes; 0: the checkpoint's, of a new
        one 0.8.
    :param chunk_size: actions in a chunk; 0: the checkpoint's, of a new one 8.
    :param repeats: number of noises for each chunk in a step.
    :raises InputError: for a value out of range.
    """

    encoder: Literal["", "stem", "small", "dinov2"] = ""
    encoder_checkpoint: str = ""
    keyframes_s: tuple[float, ...] = ()
    quantiser: Literal["", "vq", "none"] = ""
    depth: Literal["", "both", "target", "none"] = ""
    change_weight: float = 10.0
    rgb_weight: float = 1.0
    depth_weight: float = 1.0
    commitment: float = 0.25
    label_share: float = 0.0
    label_weight: float = 0.1
    policy_size: Literal["", "tiny", "small"] = ""
    before_s: float = 0.0
    ahead_s: float = 0.0
    chunk_size: int = 0
    repeats: int = 4

    def __post_init__(self) -> None:
        if self.keyframes_s:
            check_keyframes("keyframes_s", self.keyframes_s)
        if not 1.0 <= self.change_weight <= 1e6:
            raise InputError(f"change_weight: expected 1 to 1e6, got {self.change_weight}")
        for name in ("rgb_weight", "depth_weight", "commitment", "label_weight"):
            if not 0.0 <= (value := getattr(self, name)) < float("inf"):
                raise InputError(f"{name}: expected 0 or more, got {value}")
        if not 0.0 <= self.label_share <= 1.0:
            raise InputError(f"label_share: expected 0 to 1, got {self.label_share}")
        for name in ("before_s", "ahead_s"):
            if value := getattr(self, name):
                check_seconds(name, value)
        if not 0 <= self.chunk_size <= LONGEST_CHUNK:
            raise InputError(f"chunk_size: expected 0 to {LONGEST_CHUNK} actions, got {self.chunk_size}")
        if not 1 <= self.repeats <= _MOST_REPEATS:
            raise InputError(f"repeats: expected 1 to {_MOST_REPEATS}, got {self.repeats}")
