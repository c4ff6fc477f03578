"""What packages add by entry points: found in any process, named when they are at fault, and only then."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from stvla_ros import plugins
from stvla_ros.errors import InputError
from stvla_ros.perception.trackers.base import TRACKERS, Tracker
from stvla_ros.plugins import Registry, subclass_of

MODULE = """
from stvla_ros.perception.trackers.lucas_kanade import LucasKanade

class Mine(LucasKanade):
    pass
"""


def make_registry() -> Registry[type]:
    built_in = {"lucas_kanade": "stvla_ros.perception.trackers.lucas_kanade:LucasKanade", "lacking": "no_such_module:x"}
    return Registry("tracker", "trackers", built_in, "a subclass of Tracker", subclass_of(Tracker))


Install = Callable[..., Registry[type]]


@pytest.fixture
def install(installed: Callable) -> Iterator[Install]:
    """Install a package for the length of the test; returns a registry that sees it."""
    with ExitStack() as stack:

        def add(name: str = "added", module: str = MODULE, group: str = "trackers", **points: str) -> Registry[type]:
            stack.enter_context(installed({f"{name}_module": module}, {group: points}, name))
            return make_registry()

        yield add


def test_what_a_package_adds_is_listed_after_the_built_in_and_found(install: Install) -> None:
    registry = install(mine="added_module:Mine")
    assert registry.names() == ("lucas_kanade", "lacking", "mine")
    assert issubclass(registry.find("mine"), Tracker) and registry.find("mine").__name__ == "Mine"


def test_listing_names_imports_nothing(install: Install) -> None:
    registry = install(mine="added_module:Mine", module="raise RuntimeError('imported')")
    assert "mine" in registry.names()
    registry.check("lucas_kanade")
    assert "added_module" not in sys.modules


@pytest.mark.parametrize(
    ("module", "value", "message"),
    [
        ("import no_such_library", "added_module:Mine", r"cannot be imported \(ModuleNotFoundError: .*no_such_library"),
        ("raise OSError('no camera')", "added_module:Mine", r"cannot be imported \(OSError: no camera\)$"),
        ("", "added_module:Mine", r"cannot be imported \(AttributeError: .*'Mine'"),
        ("", "no_module_of_it:Mine", r"cannot be imported \(ModuleNotFoundError: .*no_module_of_it"),
        ("Mine = 3", "added_module:Mine", "expected a subclass of Tracker, got 3$"),
        ("class Mine: pass", "added_module:Mine", "expected a subclass of Tracker, got <class"),
        (
            "from stvla_ros.perception.trackers import Tracker as Mine",
            "added_module:Mine",
            "expected a subclass of Tracker, got <class",
        ),
    ],
)
@pytest.mark.parametrize("use", ["check", "find"])
def test_a_broken_one_is_named_with_its_package_when_it_is_used(
    module: str, value: str, message: str, use: str, install: Install
) -> None:
    registry = install(mine=value, module=module)
    assert registry.find("lucas_kanade").__name__ == "LucasKanade"
    sys.modules.pop("added_module", None)
    with pytest.raises(
        InputError,
        match=rf"^tracker mine: entry point 'mine = {value}' \(stvla_ros.trackers\) of added 1.0:? {message}",
    ):
        getattr(registry, use)("mine")


@pytest.mark.parametrize("use", ["check", "find"])
def test_a_built_in_name_cannot_be_taken(use: str, install: Install) -> None:
    registry = install(lucas_kanade="added_module:Mine", mine="added_module:Mine")
    assert registry.names().count("lucas_kanade") == 1
    registry.check("mine")
    with pytest.raises(
        InputError, match=r"^tracker lucas_kanade: entry point .* of added 1.0 takes a name of stvla_ros"
    ):
        getattr(registry, use)("lucas_kanade")


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    install(mine="added_module:Mine")
    registry = install("second", mine="second_module:Mine")
    assert registry.names().count("mine") == 1
    with pytest.raises(InputError, match=r"^tracker mine: .* of second 1.0 and .* of added 1.0 have the same name"):
        registry.check("mine")


def test_an_unknown_name_is_told_those_that_exist(install: Install) -> None:
    registry = install(mine="added_module:Mine")
    for use in (registry.check, registry.find):
        with pytest.raises(InputError, match="^tracker: expected one of lucas_kanade, lacking, mine, got 'yours'$"):
            use("yours")
    with pytest.raises(InputError, match="^parameter tracker: expected one of"):
        registry.check("yours", "parameter tracker")


def test_a_package_that_a_built_in_one_lacks_is_named() -> None:
    with pytest.raises(InputError, match="^tracker lacking: the package no_such_module is not installed$"):
        make_registry().find("lacking")


def test_a_misspelt_group_is_found(install: Install) -> None:
    install(group="tracker", mine="added_module:Mine")
    [found] = plugins.other_groups([TRACKERS.group])
    assert plugins.entry_point_text(found) == "entry point 'mine = added_module:Mine' (stvla_ros.tracker) of added 1.0"


def test_another_process_knows_them_too(install: Install) -> None:
    install(mine="added_module:Mine")
    code = "from stvla_ros.perception.trackers import make_tracker; print(type(make_tracker('mine')).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "Mine\n", done.stderr
