"""Definitions of message types, for bags that carry their own.

They are read from the .msg files of the running system, so that they describe the bytes on the wire in every
distribution.
"""

import os
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import FieldDesc, Typesdict
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from stvla_ros.errors import InputError

_CHECKOUT = Path(__file__).parents[2]


class MessageDefinitions:
    """A growing set of message types."""

    def __init__(self) -> None:
        self.typestore: Typestore = get_typestore(Stores.EMPTY)

    def add(self, type_name: str) -> None:
        """Add a type and the types of its fields.

        :param type_name: name of the type, such as sensor_msgs/msg/Image.
        :raises InputError: when a definition is neither among the sourced packages nor in this checkout.
        """
        types: Typesdict = {}
        pending = [type_name]
        while pending:
            name = pending.pop()
            if name in types or name in self.typestore.fielddefs:
                continue
            found = get_types_from_msg(_definition_file(name).read_text(encoding="utf-8"), name)
            types |= found
            pending += [used for _, fields in found.values() for _, kind in fields for used in _names_in(kind)]
        self.typestore.register(types)


def _names_in(kind: FieldDesc) -> list[str]:
    node: Nodetype = kind[0]
    content: Any = kind[1]
    if node == Nodetype.NAME:
        return [content]
    return _names_in(content[0]) if node in (Nodetype.ARRAY, Nodetype.SEQUENCE) else []


def _definition_file(type_name: str) -> Path:
    package, _, name = type_name.partition("/msg/")
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    candidates = [Path(prefix) / "share" / package / "msg" / f"{name}.msg" for prefix in prefixes]
    if package == "stvla_ros":
        candidates.append(_CHECKOUT / "msg" / f"{name}.msg")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"message type {type_name}: expected {package}'s .msg files under AMENT_PREFIX_PATH, found none")
