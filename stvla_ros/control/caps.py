"""The largest motion of one command. Imports nothing, because every command line reads the robots."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caps:
    """The largest motion of the target pose by one command.

    :param translation: length of the translation, metres.
    :param rotation: angle of the rotation, radians.
    """

    translation: float = float("inf")
    rotation: float = float("inf")
