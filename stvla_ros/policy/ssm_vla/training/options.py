"""What a training after Farsighted-LAM / SSM-VLA can be told."""

from dataclasses import dataclass
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.policy.ssm_vla.config import check_keyframes


@dataclass(frozen=True)
class SsmVlaOptions:
    """The first five make the network; empty: as the checkpoint has it, or for a new one its size.

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
