"""What one command may do at most. Imports nothing, because every command line reads the robots."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caps:
    """The most that one command may move the target pose.

    :param translation: metres.
    :param rotation: radians.
    """

    translation: float = float("inf")
    rotation: float = float("inf")
