"""Paths in files from outside: names of a folder's own files, and patterns of such names."""

import string
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from stvla_ros.errors import InputError, reason_of
from stvla_ros.safe_files import check_limit, short_number

_WIDEST = 12
_LARGEST_INDEX = 2**31


def fill_template(template: Any, values: Mapping[str, str | int], where: str) -> str:
    """Make a path from the pattern in a data set's metadata, such as ``data/chunk-{chunk_index:03d}``.

    Of Python's format strings only names of values and widths of a few digits are accepted: ``{a.b}`` would read
    attributes of objects, and ``{a:2000000000}`` fill the memory.

    :raises InputError: naming ``where``, for anything else.
    """
    known = ", ".join("{" + name + "}" for name in values)
    if not isinstance(template, str):
        raise InputError(f"{where}: expected a text with {known}, got {type(template).__name__}")
    check_limit("path_characters", len(template), where, "characters")
    filled = ""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InputError(f"{where}: expected a text with {known} ({reason_of(error)})") from None
    for text, name, form, conversion in parts:
        filled += text
        if name is None:
            continue
        if name not in values or conversion:
            raise InputError(f"{where}: expected no other fields than {known}, got {{{name[:80]}}}")
        filled += _field(values[name], form or "", f"{where}: {{{name}}}")
    check_limit("path_characters", len(filled), where, "characters")
    return filled


def _field(value: str | int, form: str, where: str) -> str:
    if isinstance(value, str):
        if form not in ("", "s"):
            raise InputError(f"{where}: expected no width, got {form[:80]!r}")
        return value
    if not 0 <= value <= _LARGEST_INDEX:
        raise InputError(f"{where}: expected an index of 0 to {_LARGEST_INDEX}, got {short_number(value)}")
    digits = form.removesuffix("d")
    if digits and not (digits.isascii() and digits.isdecimal() and len(digits) <= 3 and int(digits) <= _WIDEST):
        raise InputError(f"{where}: expected a width of at most {_WIDEST} digits, such as :06d, got {form[:80]!r}")
    return format(value, f"{digits}d")


def path_inside(folder: Path, name: Any, where: str) -> Path:
    """The path of the file ``name``, which the metadata in a folder give for a file of this folder.

    Only the name is checked, no link is followed: the hub's cache keeps files elsewhere and links to them.

    :raises InputError: naming ``where``, for a name that leads out of the folder.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{where}: expected a path in the folder, got {ascii(name)[:80]}")
    check_limit("path_characters", len(name), where, "characters")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError(f"{where}: expected a path inside {folder}, got {name!r}")
    return folder / path
