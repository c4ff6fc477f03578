"""SimplerEnv's task table and official episodes, without the simulator."""

import subprocess
import sys

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.sim.simpler_env.placements import episode
from stvla_ros.sim.simpler_env.tasks import SIMPLER_ENV_TASKS, simpler_python, task_named
from stvla_ros.sim.tasks import make_environment


def test_the_table_has_21_google_and_4_widowx_tasks() -> None:
    robots = [task.robot for task in SIMPLER_ENV_TASKS.values()]
    assert (robots.count("google_robot"), robots.count("widowx")) == (21, 4)
    assert all(name == task.name == f"simpler/{task.simulator_id}" for name, task in SIMPLER_ENV_TASKS.items())


def test_a_task_is_found_with_and_without_the_prefix() -> None:
    assert task_named("simpler/widowx_stack_cube") == task_named("widowx_stack_cube")


def test_an_unknown_task_is_named_with_what_exists() -> None:
    with pytest.raises(InputError, match=r"^task 'simpler/juggle': not one of simpler/widowx_spoon_on_towel, "):
        task_named("simpler/juggle")


@pytest.mark.parametrize("task", SIMPLER_ENV_TASKS.values(), ids=SIMPLER_ENV_TASKS)
def test_every_episode_of_a_task_is_another_configuration(task) -> None:
    configurations = [_plain(episode(task.name, number)) for number in range(task.num_episodes)]
    assert len(set(configurations)) == task.num_episodes


@pytest.mark.parametrize("episode_id", [-1, 24])
def test_an_episode_that_does_not_exist_is_an_input_error(episode_id) -> None:
    with pytest.raises(InputError, match=rf"^episode_id: expected 0\.\.23 for widowx_stack_cube, got {episode_id}$"):
        episode("widowx_stack_cube", episode_id)


def test_coke_cans_stand_on_the_scripts_grid_of_25_positions() -> None:
    episodes = [episode("google_robot_pick_standing_coke_can", number) for number in range(25)]
    positions = np.array([one.options["obj_init_options"]["init_xy"] for one in episodes])
    np.testing.assert_allclose(positions.min(axis=0), [-0.35, -0.02])
    np.testing.assert_allclose(positions.max(axis=0), [-0.12, 0.42])


def test_drawers_are_fixed_by_the_name_or_else_by_the_episode() -> None:
    assert episode("google_robot_open_top_drawer", 0).drawer is None
    assert [episode("google_robot_open_drawer", number).drawer for number in (0, 9, 26)] == ["top", "middle", "bottom"]


def test_the_robot_faces_the_drawers_with_the_scripts_small_turn() -> None:
    stand = episode("google_robot_open_drawer", 0).stand
    assert stand.picture == "open_drawer_a0.png"
    np.testing.assert_allclose(np.abs(stand.quaternion), [np.sin(0.015), 0, 0, np.cos(0.015)], atol=1e-9)


def test_a_missing_interpreter_is_named_with_the_page_that_helps(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("STVLA_SIMPLER_PYTHON", str(tmp_path / "python"))
    with pytest.raises(
        InputError, match=r"^STVLA_SIMPLER_PYTHON .*/python: no such interpreter; docs/how-to/set-up-simpler-env\.md"
    ):
        make_environment("simpler/widowx_stack_cube")


def test_the_interpreter_named_by_the_variable_is_used(monkeypatch) -> None:
    monkeypatch.setenv("STVLA_SIMPLER_PYTHON", sys.executable)
    assert str(simpler_python()) == sys.executable


@pytest.mark.parametrize("size", [(0, 480), (640,), (640, -1)])
def test_an_impossible_image_size_is_an_input_error(size) -> None:
    with pytest.raises(InputError, match="^image_size: expected .width, height. of at least 1 pixel"):
        make_environment("simpler/widowx_stack_cube", image_size=size)


def test_an_interpreter_without_simplerenv_is_one_clear_error(monkeypatch) -> None:
    monkeypatch.setenv("STVLA_SIMPLER_PYTHON", sys.executable)
    with pytest.raises(
        InputError, match="^worker simpler/widowx_stack_cube: No module named .*docs/how-to/set-up-simpler-env.md"
    ):
        make_environment("simpler/widowx_stack_cube")


def test_the_table_imports_nothing_heavy() -> None:
    script = "import sys, stvla_ros.sim.simpler_env.tasks; print(*sys.modules)"
    imported = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert "numpy" in imported
    assert not {"torch", "rclpy", "sapien", "mani_skill", "cv2", "scipy"} & set(imported)


def _plain(value) -> str:
    return repr({**vars(value), "stand": None if value.stand is None else value.stand.picture})
