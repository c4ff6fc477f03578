"""Hostile files are small on the disk; what reading them costs is bounded by ``mutations.only_bad_input``: seconds of
the processor, and half a gigabyte.
"""

from collections.abc import Callable
from pathlib import Path

from mutations import only_bad_input

from stvla_ros.errors import InputError


def refusal(call: Callable[[], object], named: Path | str) -> str:
    """The one line with which something is refused, soon and without much memory."""
    said = ""
    with only_bad_input(str(named)):
        try:
            call()
        except InputError as error:
            said = str(error)
            raise
    assert said, "it was not refused"
    return said
