"""Reads values of a configuration by their dotted names."""

from collections.abc import Mapping
from typing import Any

from stvla_ros.errors import InputError


class ConfigReader:
    """Reads values of nested mappings by their dotted names. Each value that cannot be used is one line (an
    ``InputError``).

    :param content: the outermost mapping.
    :param source: name of the file in messages.
    """

    def __init__(self, content: Mapping[str, Any], source: str) -> None:
        self._content, self.source = content, source

    def get(self, name: str, default: Any = None) -> Any:
        """The value of any type; ``default`` if there is none."""
        value: Any = self._content
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return value

    def block(self, name: str) -> Mapping[str, Any]:
        """A mapping."""
        value = self.get(name)
        if not isinstance(value, Mapping):
            raise InputError(f"{self.source}: expected {name} to be a mapping, got {described(value)}")
        return value

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number within limits, both included."""
        value = self.get(name, default)
        if type(value) is not int or not least <= value <= most:
            raise InputError(
                f"{self.source}: expected {name} to be a whole number from {least} to {most}, got {described(value)}"
            )
        return value

    def truth(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise InputError(f"{self.source}: expected {name} to be true or false, got {described(value)}")
        return value

    def share(self, name: str, default: float) -> float:
        """A number from 0 to 1."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
            raise InputError(f"{self.source}: expected {name} from 0 to 1, got {described(value)}")
        return float(value)

    def expect(self, name: str, wanted: int, default: int) -> None:
        """Refuse any value but ``wanted``."""
        value = self.get(name, default)
        if value != wanted:
            raise InputError(f"{self.source}: expected {name} {wanted}, got {described(value)}")


def described(value: Any) -> str:
    """A value as text for a message."""
    return "nothing" if value is None else repr(value)[:80]
