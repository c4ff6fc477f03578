"""Reads settings from YAML: texts, mappings and the dataclasses that they fill. Values that are unknown, missing, of
the wrong type or not finite are refused by their dotted name.
"""

import collections.abc
import dataclasses
import difflib
import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from stvla_ros.errors import InputError, reason_of
from stvla_ros.safe_files import check_limit, read_text

Kind = TypeVar("Kind")

FORMER_NAME = "former name"
"""Key of a dataclass field's metadata: its former name. Whoever still writes the former name is told the new one."""

# Largest number of values in a YAML text with every alias written out: a few lines of aliases of aliases can stand for
# gigabytes.
_MOST_VALUES = 100_000
# Largest number of digits of a number; those of base 60 (1:30:00) take quadratic time.
_MOST_DIGITS = 400
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 200, 200, 80


def read_mapping(file: Path, what: str) -> dict[str, Any]:
    """The YAML mapping in a file. :raises InputError: naming ``what`` and the file."""
    content = read_yaml(file, what)
    if not isinstance(content, dict):
        raise InputError(f"{what} {file}: expected a YAML mapping, got {type(content).__name__}")
    return content


def read_yaml(file: Path, what: str) -> Any:
    """The content of a YAML file. :raises InputError: naming ``what`` and the file."""
    try:
        return load_yaml(read_text(file, "settings_bytes"))
    except InputError as error:  # it is too large, or no file
        raise InputError(f"{what} {error}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{what} {file}: expected a YAML file ({reason_of(error)})") from error


def build(kind: type[Kind], content: Any, prefix: str = "") -> Kind:
    """The dataclass ``kind`` with the mapping's values.

    :param prefix: text that error messages put before a key's name.
    :raises InputError: naming the key that is unknown, missing, or has a wrong type or value.
    """
    if not isinstance(content, dict):
        raise InputError(f"{prefix.rstrip('.')}: expected a mapping, got {shown(content)}")
    hints = get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in hints:
            named = key[:200] if isinstance(key, str) else shown(key)
            hint = _hint(kind, named, hints, prefix)
            raise InputError(f"{prefix}{named}: no such key{hint}, expected one of {', '.join(hints)}")
        values[key] = _value(hints[key], value, f"{prefix}{key}")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in values:
            raise InputError(f"{prefix}{field.name}: expected a value, it is missing")
    try:
        return kind(**values)
    except InputError as error:
        # A dataclass that checks itself knows its own fields, but not its place in the settings.
        names_field = re.split(r"[.:,]", str(error))[0] in hints
        where = prefix if names_field or not prefix else f"{prefix.rstrip('.')}: "
        raise InputError(f"{where}{error}") from None


def _hint(kind: type, unknown: str, known: Iterable[str], prefix: str) -> str:
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.metadata.get(FORMER_NAME) == unknown:
            return f" (it is called {prefix}{field.name} now)"
    close = difflib.get_close_matches(unknown, known, n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def _value(hint: Any, value: Any, name: str) -> Any:
    options = [each for each in get_args(hint) if each is not type(None)]
    if type(None) in get_args(hint):
        return None if value is None else _value(options[0], value, name)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value, f"{name}.")
    if get_origin(hint) is Literal:
        if value not in options:
            raise InputError(f"{name}: expected one of {', '.join(map(str, options))}, got {shown(value)}")
        return value
    if get_origin(hint) is collections.abc.Mapping:
        if not isinstance(value, dict):
            raise InputError(f"{name}: expected a mapping, got {shown(value)}")
        return {key: _value(options[1], each, f"{name}.{key}") for key, each in value.items()}
    if get_origin(hint) is tuple:
        kind = options[0]
        if not isinstance(value, list | tuple):
            raise InputError(f"{name}: expected a list, got {shown(value)}")
        return tuple(_value(kind, each, f"{name}[{number}]") for number, each in enumerate(value))
    if hint is Any:
        return value
    # YAML 1.1 reads 5e-5 as a text.
    if hint is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            value = float(value)
        except (ValueError, OverflowError):
            pass
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}: expected a finite number, got {value}")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise InputError(f"{name}: expected {hint.__name__}, got {shown(value)}")
    return value


@dataclass(frozen=True)
class Range:
    """Range of a number, in the annotation of a dataclass's field: ``Annotated[int, Range(0, 9)]``."""

    low: float
    high: float

    def check(self, name: str, value: float) -> None:
        """:raises InputError: naming the value when it lies outside."""
        if not self.low <= value <= self.high:
            what = "a whole number" if isinstance(self.low, int) and isinstance(self.high, int) else "a number"
            raise InputError(f"{name}: expected {what} from {self.low} to {self.high}, got {value}")


def ranges(kind: type) -> dict[str, Range]:
    """The ranges in the annotations of a dataclass's fields, by name."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: limit
        for name, hint in hints.items()
        for limit in getattr(hint, "__metadata__", ())
        if type(limit) is Range
    }


def check_ranges(settings: Any, prefix: str = "") -> None:
    """Check the numbers of a dataclass, and of dataclasses in it, against the ranges in their annotations. Other values
    (``auto``) are skipped; each number of a tuple is checked.

    :param prefix: text that error messages put before a field's name.
    :raises InputError: naming the field.
    """
    limits = ranges(type(settings))
    for field in dataclasses.fields(settings):
        name, value = f"{prefix}{field.name}", getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            check_ranges(value, f"{name}.")
        elif limit := limits.get(field.name):
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, int | float):
                    limit.check(name, each)


def check_filled(settings: Any, *names: str) -> None:
    """For dataclasses that check themselves. :raises InputError: naming the first of these fields that is empty."""
    for name in names:
        if not getattr(settings, name):
            raise InputError(f"{name}: expected a name, got {getattr(settings, name)!r}")


def load_yaml(text: str) -> Any:
    """The content of a YAML text.

    :raises ValueError: with one line, when it is no YAML, or stands for more values than any settings have.
    """
    try:
        check_limit("settings_bytes", len(text), "YAML", "characters")
        return yaml.load(text, _Loader)
    except Exception as error:
        # Not YAMLError alone: `!!bool x` is a KeyError in PyYAML, 2020-13-45 a ValueError, `[[[[…` a RecursionError.
        raise ValueError(reason_of(error)) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, but it counts the values before it makes any of them."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """Number of values in a node with every alias written out. Every node is counted once, however often it is named.

    :param counted: counts so far, by id of the node; 0 while it is being counted.
    """
    if id(node) in counted:
        if not counted[id(node)]:
            raise ValueError("expected values that do not contain themselves")
        return counted[id(node)]
    counted[id(node)] = 0
    if isinstance(node, yaml.ScalarNode):
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > _MOST_DIGITS:
            raise ValueError(f"expected numbers of at most {_MOST_DIGITS} digits, got one of {len(node.value)}")
        inner = 0
    elif isinstance(node, yaml.MappingNode):
        inner = sum(_count(key, counted) + _count(value, counted) for key, value in node.value)
    else:
        inner = sum(_count(each, counted) for each in node.value)
    counted[id(node)] = 1 + inner
    if inner >= _MOST_VALUES:
        raise ValueError(f"expected at most {_MOST_VALUES} values, its aliases stand for more")
    return 1 + inner


def one_line_yaml(value: Mapping[str, Any]) -> str:
    """A mapping as the text of an argument or parameter, see :func:`parse_mapping`."""
    return yaml.safe_dump(dict(value), default_flow_style=True, width=float("inf")).strip()


def shown(value: Any) -> str:
    """A value as text for an error message: short, however large the value is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"a huge {type(value).__name__}"


def parse_mapping(name: str, text: str) -> dict[str, Any]:
    """A YAML mapping given as the value of an argument or parameter.

    :raises InputError: naming it, when the text is no mapping.
    """
    check_limit("settings_bytes", len(text), name, "characters")
    try:
        value = load_yaml(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected a YAML mapping like '{{key: value}}', got {shown(text)}")
    return value
