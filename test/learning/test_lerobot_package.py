"""The package lerobot loads what we write, and we read what it writes. tools/lerobot_check.sh makes its environment."""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_demonstrations import make_demonstration, smooth_pictures

from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter

LEROBOT_PYTHON = os.environ.get("STVLA_LEROBOT_PYTHON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LEROBOT_PYTHON, reason="STVLA_LEROBOT_PYTHON names no interpreter that has lerobot"),
]


def run_with_lerobot(script: str, data_set: Path, arrays: Path) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(data_set.parent / "home")}
    environment.pop("PYTHONPATH", None)
    command = [LEROBOT_PYTHON, str(Path(__file__).with_name(script)), str(data_set), str(arrays)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


def write_and_compare(tmp_path: Path, demonstrations: list[Demonstration], **options: Any) -> str:
    with LeRobotWriter(tmp_path / "data", "widowx", **options) as writer:
        for demonstration in demonstrations:
            writer.add_episode(demonstration)
    lengths = [len(demonstration) for demonstration in demonstrations]
    parts: dict[str, list[np.ndarray | None]] = {
        schema.PICTURE: [one.rgb for one in demonstrations],
        schema.DEPTH: [one.depth for one in demonstrations],
        schema.STATE: [one.state for one in demonstrations],
        schema.ACTION: [one.action for one in demonstrations],
        schema.EXECUTED_ACTION: [one.executed_action for one in demonstrations],
        schema.STAMP: [one.stamps for one in demonstrations],
        schema.INTRINSICS: [
            None if one.intrinsics is None else np.tile(one.intrinsics.reshape(9), (len(one), 1))
            for one in demonstrations
        ],
        schema.SCENE_POINTS_FEATURE: [
            None if one.scene_points is None else one.scene_points.reshape(len(one), 9) for one in demonstrations
        ],
    }
    np.savez(
        tmp_path / "expected.npz",
        **{name: np.concatenate(values) for name, values in parts.items() if values[0] is not None},
        task=np.repeat([one.instruction for one in demonstrations], lengths),
        episode_index=np.repeat(np.arange(len(lengths)), lengths),
        fps=demonstrations[0].fps,
        lossless=not options.get("video", False),
    )
    output = run_with_lerobot("compare_with_lerobot.py", tmp_path / "data", tmp_path / "expected.npz")
    print(output, end="")
    return output


def test_lerobot_loads_every_part_of_several_files(tmp_path: Path) -> None:
    demonstrations = [make_demonstration(seed, 3 + seed, size=(320, 240)) for seed in range(4)]

    output = write_and_compare(tmp_path, demonstrations, data_file_mb=1)

    assert len(list((tmp_path / "data/data/chunk-000").iterdir())) > 1
    assert "lerobot loads 18 frames of 4 episodes: action, executed_action, observation.images.camera" in output


def test_lerobot_loads_pictures_and_actions_alone(tmp_path: Path) -> None:
    absent = dict.fromkeys(("depth", "intrinsics", "executed_action", "state", "scene_points"))

    output = write_and_compare(tmp_path, [make_demonstration(seed, fps=7.5, **absent) for seed in range(2)])

    assert "lerobot loads 10 frames of 2 episodes: action, observation.images.camera, stamp, task" in output


def test_lerobot_loads_videos(tmp_path: Path) -> None:
    size = (64, 48)
    demonstrations = [make_demonstration(seed, 6, size, rgb=smooth_pictures(6, size)) for seed in range(3)]

    assert "lerobot loads 18 frames of 3 episodes" in write_and_compare(tmp_path, demonstrations, video=True)


def test_what_lerobot_writes_is_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lengths, tasks = [7, 9, 8], ["lift the pot", "fold the cloth", "lift the pot"]
    frames = sum(lengths)
    content = {
        "rgb": np.concatenate([smooth_pictures(length) for length in lengths]),
        "action": random.normal(size=(frames, 7)).astype(np.float32),
        "state": random.normal(size=(frames, 8)).astype(np.float32),
        "task": np.repeat(tasks, lengths),
        "episode_index": np.repeat(np.arange(3), lengths),
    }
    np.savez(tmp_path / "content.npz", **content)
    run_with_lerobot("write_with_lerobot.py", tmp_path / "data", tmp_path / "content.npz")

    reader = LeRobotReader(tmp_path / "data")

    assert (reader.info.fps, reader.info.robot_type, reader.instructions()) == (5.0, "widowx", tasks)
    assert reader.episode_lengths().tolist() == lengths
    assert reader.actions().tobytes() == content["action"].tobytes()
    for number in range(3):
        rows = content["episode_index"] == number
        demonstration = reader.episode(number)
        np.testing.assert_array_equal(demonstration.state, content["state"][rows][:, [0, 1, 2, 3, 4, 5, 7]])
        # Frames are 9 grey levels apart or more.
        error = np.abs(demonstration.rgb.astype(int) - content["rgb"][rows]).mean(axis=(1, 2, 3))
        assert error.max() < 4
