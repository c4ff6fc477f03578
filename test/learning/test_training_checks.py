"""Data that cannot work are refused with the reason; data that are only suspicious are named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from foreign_dataset import write_bridge_dataset
from hypothesis import given
from hypothesis import strategies as st
from training_data import EPISODES, FRAMES, changed, check, demonstration, refusal, usual, write

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.training.checks import check_count, check_rotations, check_translations
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.config_sections import DataConfig
from stvla_ros.learning.training.selection import Selection, choose_episodes, select_episodes
from stvla_ros.policy.inputs import InputsConfig

RATES = (3.0, 5.0, 10.0, 20.0)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> LeRobotReader:
    return usual(tmp_path_factory.mktemp("data") / "good")


def test_good_data_pass_without_a_word(good: LeRobotReader) -> None:
    assert check(good) == []


def test_a_tracker_that_needs_the_robot_is_refused_where_it_is_used(good: LeRobotReader) -> None:
    inputs = InputsConfig(tracker="kinematic")
    assert refusal(good, config=TrainingConfig(steps=1, inputs=inputs)) == (
        "inputs.tracker: expected one that needs no robot, data sets have no joints and no camera's pose, got kinematic"
    )
    assert check(good, config=TrainingConfig(steps=1, inputs=replace(inputs, traces="none"))) == []


def test_a_robot_cannot_be_left_out_of_what_data_sets_show(good: LeRobotReader) -> None:
    inputs = InputsConfig(drawing={"ignore_robot": True})
    assert refusal(good, config=TrainingConfig(steps=1, inputs=inputs)).startswith(
        "inputs.drawing.ignore_robot: expected false, data sets have no joints and no camera's pose"
    )
    assert check(good, config=TrainingConfig(steps=1, inputs=replace(inputs, traces="beside"))) == []


# --- actions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "change", "said"),
    [
        (6, np.ones_like, "gripper that opens and closes, it is open in every frame"),
        (6, np.zeros_like, "gripper that opens and closes, it is closed in every frame"),
        (6, lambda g: 0.6 + 0.4 * g, "gripper that opens and closes, it is open in every frame"),
        (6, lambda g: 2 * g - 1, "gripper from 0 (closed) to 1 (open), got -1 to 1"),
        (6, lambda g: 255 * g, "gripper from 0 (closed) to 1 (open), got 0 to 255"),
        (slice(0, 7), lambda a: np.full_like(a, 0.5), "translations that differ, all are 0.5, 0.5, 0.5"),
        (slice(0, 3), np.zeros_like, "translations that differ, all are 0, 0, 0"),
        (slice(0, 3), lambda xyz: 1000 * xyz, "in metres, 1 % are longer than"),
        (slice(0, 3), lambda xyz: 100 * xyz, "in metres, 1 % are longer than"),
        (slice(0, 3), lambda xyz: 1e-3 * xyz, "in metres, 99 % are shorter than"),
        (slice(3, 6), np.rad2deg, "yaw of one step in radians, 1 % are above"),
        (slice(3, 4), lambda roll: roll + 3.1, "roll of one step in radians, 1 % are above"),
    ],
    ids=[
        "always open",
        "always closed",
        "never below half",
        "-1..1",
        "0..255",
        "all constant",
        "no translation",
        "millimetres",
        "centimetres",
        "kilometres",
        "degrees",
        "angles",
    ],
)
def test_actions_that_cannot_work_are_refused(tmp_path: Path, columns: Any, change: Any, said: str) -> None:
    message = refusal(changed(tmp_path / "data", columns, change))
    assert message.startswith(f"data set {tmp_path / 'data'}, action: expected ") and said in message


@pytest.fixture(scope="module")
def selections(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Selection]:
    """By frames a second, the usual ones of OXE's data sets."""
    folder = tmp_path_factory.mktemp("rates")
    return {fps: select_episodes(usual(folder / f"{fps:g}", fps=fps), 0) for fps in RATES}


STEPS = {
    "fps": st.sampled_from(RATES),
    "speed": st.floats(0.02, 0.9),
    "turn": st.floats(0.3, 9.0),
    "seed": st.integers(0, 2**32),
}


@examples(quick=50)
@given(**STEPS)
def test_actions_of_usual_robots_in_metres_and_radians_pass(
    selections: dict[float, Selection], fps: float, speed: float, turn: float, seed: int
) -> None:
    selection = replace(selections[fps], actions=(steps(fps, speed, turn, seed),))
    assert [*check_translations(selection), *check_rotations(selection)] == []


@examples(quick=50)
@given(**STEPS)
def test_the_same_actions_in_millimetres_or_degrees_are_refused(
    selections: dict[float, Selection], fps: float, speed: float, turn: float, seed: int
) -> None:
    actions = steps(fps, speed, turn, seed)
    with pytest.raises(InputError, match="in metres"):
        list(check_translations(replace(selections[fps], actions=(actions * 1000.0,))))
    with pytest.raises(InputError, match="in radians"):
        list(check_rotations(replace(selections[fps], actions=(np.rad2deg(actions),))))


def steps(fps: float, speed: float, turn: float, seed: int) -> np.ndarray:
    """(300, 7) of a robot that goes and yaws at 0.3 to 1 of ``speed`` m/s and ``turn`` rad/s, half a turn a step at
    most.
    """
    random = np.random.default_rng(seed)
    direction = random.normal(size=(300, 3))
    xyz = speed / fps * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    yaw = np.full((300, 1), min(turn / fps, np.pi)) * random.choice([-1.0, 1.0], (300, 1))
    share = random.uniform(0.3, 1.0, (300, 1))
    return np.hstack([share * xyz, np.zeros((300, 2)), share * yaw, np.ones((300, 1))])


def test_positions_instead_of_steps_are_refused_at_a_high_rate_and_named_otherwise(tmp_path: Path) -> None:
    episodes = [demonstration(seed) for seed in range(EPISODES)]
    for episode in episodes:
        episode.action[:, :3] = [0.3, 0.0, 0.2] + np.cumsum(episode.action[:, :3], axis=0)
    warnings = check(write(tmp_path / "slow", episodes))
    assert any("faster than" in line and "are they metres in one step?" in line for line in warnings)
    assert any("the actions add up to a path of" in line for line in warnings)
    fast = [demonstration(seed, fps=20.0, action=each.action) for seed, each in enumerate(episodes)]
    assert "positions instead of steps" in refusal(write(tmp_path / "fast", fast, robot=""))


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = write_bridge_dataset(tmp_path / "data")
    file = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    actions = table["action"].to_pylist()
    actions[3][2] = float("nan")
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, "action", pa.array(actions, table["action"].type)), file)
    message = refusal(LeRobotReader(folder))
    assert str(folder) in message and "column action: expected finite numbers" in message


def test_one_constant_axis_is_named_and_a_constant_rotation_is_usual(tmp_path: Path) -> None:
    assert check(changed(tmp_path / "flat", 2, np.zeros_like)) == [
        f"data set {tmp_path / 'flat'}, action: z is 0 in every frame"
    ]
    assert check(changed(tmp_path / "straight", slice(3, 6), np.zeros_like)) == []


def test_outliers_idle_frames_and_half_open_grippers_are_named(tmp_path: Path) -> None:
    episodes = [demonstration(seed, frames=40) for seed in range(EPISODES)]
    episodes[0].action[0, 0] = 0.9
    assert any("outliers are clipped" in line for line in check(write(tmp_path / "far", episodes)))
    for episode in episodes:
        episode.action[5:30, :6] = 0.0
        episode.action[30:, 6] = 0.4
    warnings = check(write(tmp_path / "idle", episodes))
    assert any("nothing moves in 6" in line for line in warnings)
    assert any("gripper is half open in 25% of the frames" in line for line in warnings)


def test_turn_by_more_than_half_a_circle_in_one_step_is_named(tmp_path: Path) -> None:
    episodes = [demonstration(seed, frames=40) for seed in range(EPISODES)]
    episodes[0].action[0, 5] = 6.2
    assert any("largest rotation 6.2 rad" in line for line in check(write(tmp_path / "d", episodes)))


# --- episodes, instructions -------------------------------------------------------------------------------------------


def test_too_few_frames_are_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "data", [demonstration(seed) for seed in range(8)]))
    assert "expected at least 100 frames" in message and "got 96" in message


def test_episodes_of_one_frame_are_refused_when_many_and_named_when_few(tmp_path: Path) -> None:
    def with_single(count: int, name: str) -> LeRobotReader:
        single = [demonstration(100 + seed, frames=1) for seed in range(count)]
        return write(tmp_path / name, [*(demonstration(seed) for seed in range(EPISODES)), *single])

    assert "2 of 12 have one" in refusal(with_single(2, "many"))
    assert check(with_single(1, "few")) == [f"data set {tmp_path / 'few'}: 1 of 11 episodes have one frame"]


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_missing_instruction_is_refused(tmp_path: Path, version: str) -> None:
    folder = write_bridge_dataset(tmp_path / "data", version=version, instructions=("put the block down", " "))
    message = refusal(LeRobotReader(folder))
    assert str(folder) in message and "expected an instruction" in message and "episode 1" in message


def test_rare_and_imbalanced_instructions_are_named(tmp_path: Path) -> None:
    episodes = [demonstration(seed, frames=30) for seed in range(EPISODES)]
    warnings = check(write(tmp_path / "d", [*episodes, demonstration(50, instruction="stack")]))
    assert any("has 300 frames, 'stack' 12" in line for line in warnings)
    assert any("1 of 2 have fewer than 10 episodes, as 'stack'" in line for line in warnings)


def test_only_the_chosen_episodes_count(tmp_path: Path) -> None:
    episodes = [demonstration(seed, frames=60) for seed in range(4)]
    episodes[3].action[:, :3] *= 1000.0
    reader = write(tmp_path / "data", episodes)
    assert "in metres" in refusal(reader)
    check(reader, config=TrainingConfig(steps=1, data=DataConfig(episodes=2)))


def test_first_episodes_of_each_instruction_are_chosen() -> None:
    texts = ["a", "b", "a", "a", "b", "c"]
    assert choose_episodes(texts, 0) == [0, 1, 2, 3, 4, 5]
    assert choose_episodes(texts, 1) == [0, 1, 5]
    assert choose_episodes(texts, 2) == [0, 1, 2, 4, 5]


def test_selection_keeps_each_episodes_own_actions(good: LeRobotReader) -> None:
    selection = select_episodes(good, 3)
    assert selection.numbers == (0, 1, 2) and selection.frames == 3 * FRAMES
    for number, actions in zip(selection.numbers, selection.actions, strict=True):
        np.testing.assert_array_equal(actions, good.episode(number).action)


# --- several data sets ------------------------------------------------------------------------------------------------


def test_data_sets_of_different_rates_are_refused(tmp_path: Path, good: LeRobotReader) -> None:
    message = refusal(good, usual(tmp_path / "other", fps=10.0))
    assert message.startswith(f"data set {tmp_path / 'other'}: expected 5 frames a second")


def test_data_sets_of_different_scales_are_refused(tmp_path: Path, good: LeRobotReader) -> None:
    message = refusal(good, changed(tmp_path / "small", slice(0, 3), lambda xyz: xyz / 20))
    assert (
        f"translations like those of data set {tmp_path / 'small'}, they are" in message and "times as long" in message
    )


def test_gripper_of_one_state_is_only_named_beside_data_with_both(tmp_path: Path, good: LeRobotReader) -> None:
    pushing = changed(tmp_path / "push", 6, np.zeros_like)
    assert check(good, pushing) == [f"data set {tmp_path / 'push'}, action: gripper is closed in every frame"]


def test_a_gripper_that_never_changes_is_only_named_where_that_is_right(tmp_path: Path) -> None:
    pushing = changed(tmp_path / "push", 6, np.zeros_like)
    assert refusal(pushing).endswith("closed in every frame; where that is right, set data.still_gripper")
    right = TrainingConfig(steps=1, data=DataConfig(still_gripper=True))
    assert check(pushing, config=right) == [f"data set {tmp_path / 'push'}, action: gripper is closed in every frame"]


def test_data_set_that_is_listed_twice_is_named(good: LeRobotReader) -> None:
    assert check(good, good) == [f"data set {good.info.path}: listed 2 times"]


def test_rate_unlike_the_robots_is_named(tmp_path: Path) -> None:
    (line,) = check(usual(tmp_path / "fast", fps=10.0))
    assert "10 frames a second, widowx is controlled at 5" in line


def test_few_episodes_are_told(tmp_path: Path) -> None:
    selection = select_episodes(usual(tmp_path / "set"), 0)
    few, one = list(check_count([selection], 0.1))
    assert few == "episodes: 10 in all are few; the paper's recipe has 52 of each instruction"
    assert one.startswith("data.validation_share: one episode is held out")
    alone = select_episodes(write(tmp_path / "one", [demonstration(0)]), 0)
    *_, none = check_count([alone], 0.1)
    assert none.startswith("data.validation_share: nothing is held out of one episode")
    assert list(check_count([selection] * 3, 0.1)) == []
    assert list(check_count([selection] * 3, 0.0)) == [], "who holds nothing out wants no figure"
