"""Messages of any type as lines for people. Long arrays and texts are abbreviated."""

import difflib
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from stvla_ros.errors import InputError

# Of a longer array only the first elements and their total number are shown; a longer text is cut off, too.
_MOST_NUMBERS, _MOST_MESSAGES, _FIRST = 16, 8, 3
_MOST_CHARACTERS = 300
# The element type of a sequence or an array, in rosidl's notation: sequence<double>, sequence<uint8, 16>, double[36].
_ELEMENT = re.compile(r"sequence<([^,>]+)(?:,\s*\d+)?>|(.+)\[\d+\]")


def message_lines(value: Any, full: bool = False, indent: str = "") -> Iterator[str]:
    """
    :param value: message, or one of its fields.
    :param full: whether everything is shown, however long.
    :param indent: text before every line.
    """
    if not _is_message(value):
        yield from _labelled("", value, full, indent)
        return
    for name in value.get_fields_and_field_types():
        yield from _labelled(f"{name}:", getattr(value, name), full, indent)


def field_of(message: Any, path: str) -> Any:
    """The value of a field within a message, such as header.stamp or status.0.name.

    :raises InputError: for a number that the array does not reach to.
    """
    value = message
    for part in path.split("."):
        if not part.isdecimal():
            value = getattr(value, part)
        elif int(part) < len(value):
            value = value[int(part)]
        else:
            raise InputError(f"field {path}: expected a number below {len(value)}, as many there are, got {part}")
    return value


def check_field(message_type: type, path: str) -> None:
    """:raises InputError: for an unknown field of this type; the message names the existing ones."""
    kind: Any = message_type
    for part in path.split("."):
        element = _ELEMENT.fullmatch(kind) if isinstance(kind, str) else None
        if element:
            if not part.isdecimal():
                raise InputError(f"field {path}: expected a number in place of {part!r}, there are several ({kind})")
            kind = _type_of(element[1] or element[2])
            continue
        fields = {} if isinstance(kind, str) else kind.get_fields_and_field_types()
        if part not in fields:
            close = difflib.get_close_matches(part, fields, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            known = f"one of {', '.join(fields)}" if fields else f"nothing below a {kind}"
            raise InputError(f"field {path}: expected {known}, got {part!r}{hint}")
        kind = _type_of(fields[part])


def _type_of(name: str) -> Any:
    """The class of a type such as std_msgs/Header; any other name unchanged."""
    package, slash, own = name.partition("/")
    if not slash or _ELEMENT.fullmatch(name):
        return name
    return getattr(importlib.import_module(f"{package}.msg"), own)


def _is_message(value: Any) -> bool:
    return hasattr(value, "get_fields_and_field_types")


def _labelled(label: str, value: Any, full: bool, indent: str) -> Iterator[str]:
    if _is_message(value):
        yield f"{indent}{label}"
        yield from message_lines(value, full, indent + "  ")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) and _is_message(value[0]):
        shown = value if full or len(value) <= _MOST_MESSAGES else value[:_FIRST]
        yield f"{indent}{label}"
        for each in shown:
            first, *others = message_lines(each, full, indent + "  ")
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from others
        if len(shown) < len(value):
            yield f"{indent}  … {len(value)} in all"
    else:
        yield f"{indent}{label}{' ' if label else ''}{_plain(value, full)}"


def _plain(value: Any, full: bool) -> str:
    """A number, a text, or an array of them, in one line."""
    if isinstance(value, str):
        cut = value if full or len(value) <= _MOST_CHARACTERS else value[:_MOST_CHARACTERS]
        # A sender's text must not control the terminal.
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in cut)
        return f'"{text}"' + ("" if len(cut) == len(value) else f" … {len(value)} characters in all")
    if isinstance(value, bytes) and len(value) == 1:
        return str(value[0])  # a field of type byte
    if isinstance(value, bool):
        return str(value).lower()
    if not hasattr(value, "__len__"):
        return f"{value:.9g}" if isinstance(value, float) else str(value)
    shown = value if full or len(value) <= _MOST_NUMBERS else value[:_FIRST]
    listed = ", ".join(_plain(each, full) for each in (shown.tolist() if hasattr(shown, "tolist") else shown))
    return f"[{listed}]" if len(shown) == len(value) else f"[{listed}, … {len(value)} in all]"
