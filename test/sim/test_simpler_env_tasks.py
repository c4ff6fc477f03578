"""SimplerEnv's task table and official episodes, without the simulator."""

import subprocess
import sys

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.sim.regions import CLEARANCE_M, CLEARANCE_RAD, REGIONS
from stvla_ros.sim.simpler_env.experts import EXPERTISE
from stvla_ros.sim.simpler_env.placements import episode, has_settled, random_episode
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


def test_the_table_says_an_expert_where_there_is_a_plan() -> None:
    assert {task.simulator_id for task in SIMPLER_ENV_TASKS.values() if task.has_expert} == set(EXPERTISE)


# Upstream's three rotations of the can: long axis (the object's y) along the table, upright, across.
LYING_ACROSS, STANDING, LYING_ALONG = (
    Rotation.from_euler("z", np.pi),
    Rotation.from_euler("x", np.pi / 2),
    Rotation.from_euler("z", np.pi / 2),
)
POSES = {"horizontal": LYING_ACROSS, "standing": STANDING, "vertical": LYING_ALONG}


def can(one) -> tuple[np.ndarray, Rotation]:
    options = one.options["obj_init_options"]
    return np.array(options["init_xy"]), Rotation.from_quat(np.array(options["init_rot_quat"])[[1, 2, 3, 0]])


@examples(quick=100)
@given(st.integers(0, 2**32 - 1))
def test_a_random_can_stands_in_the_region_and_near_no_official_one(seed: int) -> None:
    region = REGIONS["google_robot_pick_coke_can"]
    place, rotation = can(random_episode("google_robot_pick_coke_can", np.random.default_rng(seed)))
    assert region.x[0] <= place[0] <= region.x[1] and region.y[0] <= place[1] <= region.y[1]
    for number in range(75):
        options = episode("google_robot_pick_coke_can", number).options["obj_init_options"]
        official = list(POSES.values())[number // 25]
        away = np.linalg.norm(place - options["init_xy"])
        assert away >= CLEARANCE_M or (rotation * official.inv()).magnitude() >= CLEARANCE_RAD


@pytest.mark.parametrize("pose", POSES)
def test_a_task_of_one_pose_draws_that_pose_turned_by_up_to_30_degrees_about_the_vertical(pose: str) -> None:
    turns = []
    for seed in range(200):
        _, rotation = can(random_episode(f"google_robot_pick_{pose}_coke_can", np.random.default_rng(seed)))
        turn = (rotation * POSES[pose].inv()).as_rotvec()
        np.testing.assert_allclose(turn[:2], 0.0, atol=1e-9)
        turns.append(turn[2])
    assert max(np.abs(turns)) <= np.deg2rad(30) + 1e-9
    assert min(turns) < -0.4 and max(turns) > 0.4 and len(set(np.round(turns, 6))) > 190


def test_the_task_of_all_poses_draws_each_of_them() -> None:
    long_axes = [
        can(random_episode("google_robot_pick_coke_can", np.random.default_rng(seed)))[1].apply([0.0, 1.0, 0.0])
        for seed in range(60)
    ]
    assert {int(np.argmax(np.abs(axis))) for axis in long_axes} == {0, 1, 2}


def test_a_task_without_random_placements_says_so() -> None:
    with pytest.raises(InputError, match="^task simpler/google_robot_open_drawer: it has no random placements"):
        random_episode("google_robot_open_drawer", np.random.default_rng(0))


@pytest.mark.parametrize(
    ("shift", "turn", "settled"),
    [((0.01, 0.0), (0, 0, 0.1), True), ((0.0, 0.03), (0, 0, 0), False), ((0.0, 0.0), (np.pi / 2, 0, 0), False)],
)
def test_a_can_that_rolled_away_or_fell_over_has_not_settled(shift, turn, settled) -> None:
    one = random_episode("google_robot_pick_standing_coke_can", np.random.default_rng(1))
    place, rotation = can(one)
    now = (Rotation.from_rotvec(turn) * rotation).as_quat()[[3, 0, 1, 2]]
    assert has_settled(one, np.array([*(place + shift), 0.87]), now) is settled


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
