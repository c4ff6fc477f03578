"""Finds things by name: those of this package, and those that other packages add by entry points.

An entry point of the group ``stvla_ros.trackers`` named ``mine`` with the value ``my_package:MyTracker`` makes
``tracker:=mine`` known. Every process scans for itself, so nodes and workers know the same names as the command.
Listing names imports nothing. An added thing is imported when it is used, and only then are its faults reported.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stvla_ros.errors import InputError
from stvla_ros.missing_packages import missing_package

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Thing = TypeVar("Thing")

PREFIX = "stvla_ros."
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Registry(Generic[Thing]):
    """The things of one kind by name.

    :param kind: name of one such thing, and of the argument that chooses it: ``tracker``.
    :param group: group of the entry points, without the prefix ``stvla_ros.``.
    :param built_in: ``module:attribute`` of the things in this package, by name.
    :param expected: description of a usable thing, for the error about an entry point.
    :param fits: function that tells whether an object is usable.
    :param by_place: whether a thing may also be named by its place, ``my_package.my_module:MyThing``: no package has to
        be installed for it, and the working directory is searched, too.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Mapping[str, str],
        expected: str,
        fits: Callable[[Any], bool],
        by_place: bool = False,
    ) -> None:
        self._by_place = by_place
        self.kind, self.group = kind, PREFIX + group
        self._built_in, self._expected, self._fits = dict(built_in), expected, fits

    def names(self) -> tuple[str, ...]:
        """The names of this package's things, then of the added ones; some of the latter may turn out not to be
        usable.
        """
        return (*self._built_in, *sorted({point.name for point in self.entry_points()} - self._built_in.keys()))

    def built_in(self) -> tuple[str, ...]:
        """Names of this package's things."""
        return tuple(self._built_in)

    def entry_points(self) -> "list[EntryPoint]":
        """Entry points of other packages in this group."""
        return _scan().get(self.group, [])

    def knows(self, name: str) -> bool:
        """Whether this is a name, or a place, of such a thing. Only :meth:`find` tells whether it can be used."""
        return name in self.names() or self._is_place(name)

    def _is_place(self, name: str) -> bool:
        return self._by_place and name.partition(":")[0] not in self.names() and bool(_PLACE.fullmatch(name))

    def check(self, name: str, argument: str = "") -> None:
        """Refuse now what :meth:`find` would refuse. This package's own things are not imported for this.

        :param argument: name of the argument in the error; the kind by default.
        :raises InputError: for an unknown name, and for an added thing that cannot be used.
        """
        if self._is_place(name):
            self.find(name)
            return
        if name not in self.names():
            raise InputError(f"{argument or self.kind}: expected {self.choices()}, got {name!r}")
        if self._added(name) is not None:
            self.find(name)

    def find(self, name: str) -> Thing:
        """The thing of that name, imported.

        :raises InputError: for an unknown name, an added thing that cannot be used (the entry point and its package are
            named), or one of this package's that lacks a library.
        """
        if self._is_place(name):
            return self._load_place(name)
        point = self._added(name)
        if point is not None:
            return self._load_added(point)
        if name not in self._built_in:
            raise InputError(f"{self.kind}: expected {self.choices()}, got {name!r}")
        module, _, attribute = self._built_in[name].partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            line = missing_package(error) or f"the package {error.name} is not installed"
            raise InputError(f"{self.kind} {name}: {line}") from error

    def choices(self) -> str:
        """The possible values, for an error."""
        place = f" or a place like my_package.my_module:My{self.kind.title()}" if self._by_place else ""
        return f"one of {', '.join(self.names())}{place}"

    def _load_place(self, name: str) -> Thing:
        module, _, attribute = name.partition(":")
        try:
            thing = getattr(_import(module), attribute)
        except Exception as error:  # whatever the foreign module runs into
            raise InputError(f"{self.kind} {name}: cannot be imported ({type(error).__name__}: {error})") from error
        if not self._fits(thing):
            raise InputError(f"{self.kind} {name}: expected {self._expected}, got {thing!r}")
        return thing

    def _added(self, name: str) -> "EntryPoint | None":
        """:raises InputError: for a name that several packages claim, or one and this package."""
        points = [point for point in self.entry_points() if point.name == name]
        if points and name in self._built_in:
            raise InputError(
                f"{self.kind} {name}: {entry_point_text(points[0])} takes a name of stvla_ros; rename or remove it"
            )
        if len(points) > 1:
            those = " and ".join(map(entry_point_text, points))
            raise InputError(f"{self.kind} {name}: {those} have the same name; rename or remove one")
        return points[0] if points else None

    def _load_added(self, point: "EntryPoint") -> Thing:
        try:
            thing = point.load()
        except Exception as error:  # whatever the foreign module runs into
            reason = f"{type(error).__name__}: {error}"
            raise InputError(
                f"{self.kind} {point.name}: {entry_point_text(point)} cannot be imported ({reason})"
            ) from error
        if not self._fits(thing):
            raise InputError(
                f"{self.kind} {point.name}: {entry_point_text(point)}: expected {self._expected}, got {thing!r}"
            )
        return thing


def _import(module: str) -> Any:
    """Import a module, also one in the working directory: a console script has its own folder first on the path
    instead.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    return importlib.import_module(module)


def subclass_of(base: type) -> Callable[[Any], bool]:
    """A test for :class:`Registry`: whether an object is a subclass of ``base`` with nothing left abstract."""
    return lambda thing: (
        isinstance(thing, type) and issubclass(thing, base) and not getattr(thing, "__abstractmethods__", None)
    )


def other_groups(known: Iterable[str]) -> "list[EntryPoint]":
    """Entry points in groups that begin like ours but are none of them, probably misspelt."""
    others = _scan().keys() - set(known)
    return [point for group in sorted(others) for point in _scan()[group]]


def entry_point_text(point: "EntryPoint") -> str:
    """An entry point as text for messages."""
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"
    return f"entry point '{point.name} = {point.value}' ({point.group}) of {package}"


@cache
def _scan() -> "Mapping[str, list[EntryPoint]]":
    """Entry points of the installed packages, in groups that begin like ours. Scanned once in a process: 30 ms for 300
    packages, half of it for the import below.
    """
    from importlib.metadata import entry_points

    found = entry_points()
    return {group: list(found.select(group=group)) for group in found.groups if group.startswith(PREFIX)}
