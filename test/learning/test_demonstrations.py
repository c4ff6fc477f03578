"""Recording: noise, staging, and a data set of the real simulator."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from made_demonstrations import differing_parts, make_demonstration
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import action_row
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.demonstrations.noise import ActionNoise, NoiseParameters
from stvla_ros.learning.demonstrations.record import RECORDING, RecordArguments, main
from stvla_ros.learning.demonstrations.staging import load_episode, save_episode
from stvla_ros.policy.action_statistics import to_end_effector_action
from stvla_ros.sim.environment import reset_at_random

SMALL = {"image_width": 64, "image_height": 48, "workers": 1}


@pytest.fixture(autouse=True)
def needs_assets(request: pytest.FixtureRequest) -> None:
    if "records" in request.node.name:
        request.getfixturevalue("scenes")


@examples(quick=50)
@given(st.integers(0, 2**32 - 1))
def test_an_action_row_is_what_policies_make_actions_of(seed: int) -> None:
    random = np.random.default_rng(seed)
    action = EndEffectorAction(random.normal(0, 0.02, 3), random.normal(0, 0.3, 3), float(random.uniform(0, 1)))
    again = to_end_effector_action(action_row(action).astype(np.float64))
    assert np.allclose(again.translation, action.translation, atol=1e-6)
    turn = Rotation.from_rotvec(again.rotation) * Rotation.from_rotvec(action.rotation).inv()
    assert turn.magnitude() < 1e-5
    assert again.gripper == pytest.approx(action.gripper, abs=1e-6)


def test_the_same_seed_gives_the_same_noise() -> None:
    still = EndEffectorAction.hold(1.0)

    def run(seed: int) -> np.ndarray:
        noise = ActionNoise(NoiseParameters(), np.random.default_rng(seed))
        return np.stack([action_row(noise(still)) for _ in range(50)])

    assert (run(1) == run(1)).all()
    assert (run(1) != run(2)).any()


def test_no_noise_executes_the_label() -> None:
    noise = ActionNoise(NoiseParameters(0.0, 0.0, 0.0, 0.0), np.random.default_rng(0))
    action = EndEffectorAction(np.array([0.01, 0.0, -0.02]), np.array([0.0, 0.1, 0.0]), 0.0)
    for _ in range(20):
        assert (action_row(noise(action)) == action_row(action)).all()


def test_pushes_and_slips_happen_as_often_as_asked() -> None:
    parameters = NoiseParameters(0.0, push_probability=0.05, push=0.02, slip_probability=0.02)
    still, steps = EndEffectorAction.hold(1.0), 20_000
    noise = ActionNoise(parameters, np.random.default_rng(0))
    rows = np.stack([action_row(noise(still)) for _ in range(steps)])
    pushed = np.linalg.norm(rows[:, :3], axis=1) > 1e-6
    assert np.allclose(np.linalg.norm(rows[pushed, :3], axis=1), 0.02, atol=1e-6)
    # A push lasts 4 steps on average and begins in 5 % of the steps without one; a slip 2, in 2 %.
    assert pushed.mean() == pytest.approx(4 / (4 + 19), rel=0.15)
    assert (rows[:, 6] == 0.0).mean() == pytest.approx(2 / (2 + 49), rel=0.25)


@pytest.mark.parametrize("field", ["translation", "push_probability", "push", "slip_probability"])
def test_noise_out_of_range_is_refused(field: str) -> None:
    for value in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match=f"noise {field}: expected 0 to"):
            NoiseParameters(**{field: value})


@pytest.mark.parametrize("left_out", [(), ("depth",), ("intrinsics", "state", "scene_points", "executed_action")])
def test_a_staged_episode_comes_back_bit_for_bit(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    episode = make_demonstration(3, **dict.fromkeys(left_out))
    save_episode(tmp_path / "a.npz", episode)
    assert differing_parts(load_episode(tmp_path / "a.npz"), episode) == []
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_damaged_staged_episode_is_one_clear_error(tmp_path: Path) -> None:
    save_episode(tmp_path / "a.npz", make_demonstration(0))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match="a.npz: expected a recorded episode"):
            load_episode(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("stack_cub",)}, "no such task"),
        ({"tasks": ("simpler/google_robot_open_drawer",)}, "expected tasks with an expert"),
        ({"episodes": 0}, "expected at least 1"),
    ],
)
def test_a_bad_recording_argument_is_one_clear_error(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        main(RecordArguments(**{"output": str(tmp_path / "set"), **changes}))
    assert not (tmp_path / "set").exists()


def test_an_existing_data_set_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match="expected a new folder"):
        main(RecordArguments(output=str(tmp_path / "set")))


def test_stvla_records_the_same_data_set_after_it_was_killed(tmp_path: Path) -> None:
    arguments = RecordArguments(tasks=("stack_cube",), episodes=2, output=str(tmp_path / "a"), **SMALL)
    assert main(arguments) == 0
    options = "--tasks stack_cube --episodes 2 --image-width 64 --image-height 48 --workers 1".split()
    command = [sys.executable, "-m", "stvla_ros.cli", "record", *options, "--output", str(tmp_path / "b")]
    staging = tmp_path / ".b-episodes"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(staging.glob("*.npz")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(workers, timeout=60)
    assert workers and not left, "nobody is left who would go on recording"
    assert len(list(staging.glob("*.npz"))) >= 1 and not (tmp_path / "b").exists()
    with pytest.raises(InputError, match="other settings"):
        main(dataclasses.replace(arguments, output=str(tmp_path / "b"), seed=1))
    assert main(dataclasses.replace(arguments, output=str(tmp_path / "b"))) == 0
    one, other = LeRobotReader(tmp_path / "a"), LeRobotReader(tmp_path / "b")
    assert len(one) == len(other) == 2
    for number in range(2):
        assert differing_parts(one.episode(number), other.episode(number)) == []
    assert one.episode(0).success and one.instructions()[0] == "stack the green block on the yellow block"
    assert not staging.exists()
    noted, again = ((tmp_path / name / RECORDING).read_text() for name in "ab")
    assert noted == again and json.loads(noted)["seed"] == 0


def test_half_a_table_is_refused_for_an_environment_that_has_no_halves() -> None:
    class Whole:
        info = SimpleNamespace(task="reach/ball")

        def reset_random(self, seed: int) -> int:
            return seed

    assert reset_at_random(Whole(), 7, "") == 7
    with pytest.raises(InputError, match="^half: expected none, task reach/ball has no halves of the table$"):
        reset_at_random(Whole(), 7, "left")
