"""Options of an ST4VLA training."""

from dataclasses import dataclass
from typing import Literal

from stvla_ros.errors import InputError

_MOST_REPEATS = 64


@dataclass(frozen=True)
class St4VlaOptions:
    """
    :param gradient_decay: factor of the gradient that flows from the actions into the language model, 0 to 1; None: as
        the checkpoint says (docs/explanation/st4vla.md).
    :param prompt: spatial prompt with ``{instruction}`` in it; empty: the checkpoint's. ``{instruction}`` alone means
        no prompt.
    :param repeats: number of noises for each condition in a step.
    :param past_end: content of a chunk after its episode's end: ``ignored``, or ``zeros`` in all numbers, the gripper
        too, as published.
    :raises InputError: for a value out of range.
    """

    gradient_decay: float | None = None
    prompt: str = ""
    repeats: int = 4
    past_end: Literal["ignored", "zeros"] = "ignored"

    def __post_init__(self) -> None:
        if self.gradient_decay is not None and not 0.0 <= self.gradient_decay <= 1.0:
            raise InputError(f"gradient_decay: expected 0 to 1, got {self.gradient_decay}")
        if not 1 <= self.repeats <= _MOST_REPEATS:
            raise InputError(f"repeats: expected 1 to {_MOST_REPEATS}, got {self.repeats}")
        if self.prompt and "{instruction}" not in self.prompt:
            raise InputError(f"prompt: expected a text with {{instruction}}, got {self.prompt!r}")
