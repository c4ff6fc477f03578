"""What is found out about what other packages add."""

from collections.abc import Callable

from made_records import all_good, only

from stvla_ros.doctor.entry_points import check_entry_points

TRACKER = """
from stvla_ros.perception.trackers.lucas_kanade import LucasKanade
"""
SIMULATOR = """
from stvla_ros.sim.simulators import Simulator
from stvla_ros.sim.task import Task

class Reach(Simulator):
    def tasks(self):
        return {"ball": Task("ball", "Ball-v0", "panda", 5.0, 20, 3)}

    def make(self, task, image_size, render):
        raise NotImplementedError
"""


def test_nothing_is_added() -> None:
    [found] = check_entry_points()
    assert (found.level, found.text) == ("ok", "no other package adds anything")


def test_what_can_be_used_is_named(installed: Callable) -> None:
    with installed({"added_tracker": TRACKER}, {"trackers": {"mine": "added_tracker:LucasKanade"}}):
        found = list(check_entry_points())
    assert all_good(found)
    assert found[0].text.startswith("tracker mine: entry point 'mine = added_tracker:LucasKanade'")


def test_each_that_cannot_be_used_is_an_error_of_its_own(installed: Callable) -> None:
    points = {
        "trackers": {"lost": "no_such_module:Tracker", "mine": "added_tracker:LucasKanade"},
        "depth": {"sensor": "added_tracker:LucasKanade"},
        "simulators": {"reach": "added_simulator:Reach"},
        "tracker": {"misspelt": "added_tracker:LucasKanade"},
    }
    with installed({"added_tracker": TRACKER, "added_simulator": SIMULATOR}, points):
        found = list(check_entry_points())
    errors = [each.text for each in found if each.level == "error"]
    assert len(errors) == 3
    assert errors[0].startswith("tracker lost: entry point 'lost = no_such_module:Tracker'")
    assert "takes a name of stvla_ros" in errors[1]
    assert errors[2].startswith("simulator reach: expected tasks by their names, each reach/TASK, got 'ball'")
    misspelt = only((each for each in found if each.level == "warning"), "warning", "nothing looks into this group")
    assert "'misspelt = " in misspelt.text
    assert [each.text[:12] for each in found if each.level == "ok"] == ["tracker mine"]
