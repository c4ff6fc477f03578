"""Finding tasks by name."""

import subprocess
import sys

import pytest

from stvla_ros.errors import InputError
from stvla_ros.sim.maniskill.tasks import ZERO_DOWNLOAD_TASK
from stvla_ros.sim.simulators import SIMULATORS
from stvla_ros.sim.tasks import find_task, make_environment, resolve_task, task_names


def test_every_listed_task_is_found_under_its_name():
    names = [name for simulator in SIMULATORS.names() for name in task_names(simulator)]
    assert {"stack_cube", "carrot_on_plate", "spoon_on_towel", "eggplant_in_basket", ZERO_DOWNLOAD_TASK} <= set(names)
    assert "simpler/google_robot_pick_coke_can" in names
    assert [find_task(name).name for name in names] == names


@pytest.mark.parametrize("name", ["", "no/such"])
def test_an_unknown_task_is_an_error_that_says_where_all_are_listed(name):
    with pytest.raises(InputError, match=f"^task '{name}': no such task, there are stack_cube, .*, …; `stvla tasks`"):
        find_task(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("spoon_on_towl", "spoon_on_towel"),
        ("stack_cubes", "stack_cube"),
        ("simpler/stack_cube", "simpler/widowx_stack_cube"),
        ("coke_can", "simpler/google_robot_pick_coke_can"),
    ],
)
def test_a_misspelt_task_is_told_the_nearest_names(name, meant):
    with pytest.raises(InputError, match=rf"did you mean {meant}\b.*\?"):
        find_task(name)


@pytest.mark.parametrize("size", [(0, 480), (640,), (640, -1)])
def test_an_impossible_image_size_is_an_error_that_names_it(size):
    with pytest.raises(InputError, match="image_size"):
        make_environment(ZERO_DOWNLOAD_TASK, image_size=size)


def test_the_usual_task_without_its_files_gives_way_to_the_zero_download_task(tmp_path, monkeypatch):
    (tmp_path / "data/robots/widowx").mkdir(parents=True)
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    task, note = resolve_task("auto")
    assert task == ZERO_DOWNLOAD_TASK
    assert str(tmp_path) in note and "download_asset bridge_v2_real2sim" in note and "instead of stack_cube" in note
    assert "\n" not in note


def test_a_task_that_was_named_never_gives_way(tmp_path, monkeypatch):
    (tmp_path / "data/robots/widowx").mkdir(parents=True)
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    monkeypatch.setenv("STVLA_SIMPLER_PYTHON", str(tmp_path / "python"))
    with pytest.raises(InputError, match="^MS_ASSET_DIR: "):
        resolve_task("stack_cube")
    with pytest.raises(InputError, match="^STVLA_SIMPLER_PYTHON "):
        resolve_task("simpler/widowx_stack_cube")


@pytest.mark.parametrize("task", [ZERO_DOWNLOAD_TASK, "return_cube", "tap_both"])
def test_the_pandas_tasks_need_no_download(task, tmp_path, monkeypatch):
    (tmp_path / "data/robots/widowx").mkdir(parents=True)
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    assert resolve_task(task) == (task, None)


@pytest.mark.parametrize("tasks", ["{'reach/ball': ball}", "{'reach/ball': ball, 'other/ball': ball}"])
def test_another_packages_tasks_are_found_by_its_simulators_name(tasks, installed):
    """The second one has a task that is not the simulator's own."""
    module = f"""
from stvla_ros.sim.simulators import Simulator
from stvla_ros.sim.task import Task

ball = Task("reach/ball", "Ball-v0", "panda", 5.0, 20, 3)

class Reach(Simulator):
    def tasks(self):
        return {tasks}

    def make(self, task, image_size, render):
        return (task.name, image_size, render)
"""
    with installed({"reach_module": module}, {"simulators": {"reach": "reach_module:Reach"}}):
        assert find_task("stack_cube").robot == "widowx"
        if "other" in tasks:
            with pytest.raises(
                InputError, match="^simulator reach: expected tasks .* reach/TASK, got 'other/ball' for"
            ):
                find_task("reach/ball")
            return
        assert find_task("reach/ball").num_episodes == 3 and task_names("reach") == ["reach/ball"]
        assert resolve_task("reach/ball") == ("reach/ball", None)
        assert make_environment("reach/ball", render=False) == ("reach/ball", None, False)
        with pytest.raises(InputError, match=r"^task 'reach/bull': .*did you mean reach/ball\?"):
            find_task("reach/bull")
        with pytest.raises(InputError, match="^task 'x/y': no such task, .*`stvla tasks`"):
            find_task("x/y")


def test_looking_up_tasks_starts_no_simulator():
    script = (
        "import sys; from stvla_ros.sim.tasks import task_names; task_names('maniskill'); task_names('simpler');"
        "print([name for name in ('torch', 'mani_skill', 'sapien', 'gymnasium') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
