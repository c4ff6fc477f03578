"""A run of the live graph, recorded and converted, is what the simulator showed and the policy said."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_bags import SECOND, START, GraphBag
from scipy.spatial.transform import Rotation

from stvla_ros.learning.datasets.convert import ConvertArguments, main
from stvla_ros.learning.datasets.demonstration import depth_to_millimetres
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.training.config import read_config
from stvla_ros.learning.training.run import train
from stvla_ros.sim.tasks import make_environment

_NOISE = np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)


def scene_pair(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of 160x120 whose ground moves, and its depth."""
    return np.ascontiguousarray(_NOISE[:, index % 40 : index % 40 + 160]), np.full((120, 160), 700, np.uint16)


TASK, EPISODES, STEPS = "panda_pick_cube", 2, 8


@pytest.mark.slow
def test_a_recorded_run_becomes_what_the_simulator_showed_and_the_expert_did(tmp_path: Path) -> None:
    options = {"--task": TASK, "--episodes": EPISODES, "--max-steps": STEPS, "--output": tmp_path / "run"}
    arguments = [str(word) for option in options.items() for word in option]
    subprocess.run(
        [sys.executable, "-m", "stvla_ros.cli", "sim", "--record", "--no-video", "--policy", "expert", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ,
        timeout=240,
    )
    bag = tmp_path / "run/latest/bag"

    assert main(ConvertArguments(bags=(str(bag),), output=str(tmp_path / "data"))) == 0

    reader = LeRobotReader(tmp_path / "data")
    assert reader.episode_lengths().tolist() == [STEPS] * EPISODES
    assert (reader.info.robot_type, reader.info.fps) == ("panda", 5.0)
    environment = make_environment(TASK)
    try:
        for number in range(EPISODES):
            demonstration = reader.episode(number)
            observation = environment.reset(number, 0)
            assert demonstration.instruction == environment.instruction
            assert not demonstration.success
            for step in range(STEPS):
                np.testing.assert_array_equal(demonstration.rgb[step], observation.rgb)
                np.testing.assert_array_equal(demonstration.depth[step], depth_to_millimetres(observation.depth))
                np.testing.assert_array_equal(demonstration.intrinsics, observation.intrinsics)
                action = environment.expert_action()
                angles = Rotation.from_rotvec(action.rotation).as_euler("xyz")
                expected = np.array([*action.translation, *angles, action.gripper], np.float32)
                np.testing.assert_array_equal(demonstration.action[step], expected)
                observation = environment.step(action).observation
    finally:
        environment.close()


@pytest.mark.slow
def test_a_robots_recorded_run_is_converted_with_every_default_and_trained_on_whatever_its_topics_are_called(
    tmp_path: Path,
) -> None:
    with GraphBag(tmp_path / "camera") as bag:
        for index in range(400):
            bag.observation(START + index * SECOND // 15, pictures=scene_pair(index))
    names = {"image": "zed/rgb/image", "camera_info": "zed/rgb/info", "depth": "zed/depth/registered"}
    options = {f"--{name.replace('_', '-')}-topic": topic for name, topic in names.items()}
    options |= {"--replay": tmp_path / "camera", "--policy": "random", "--instruction": "open the drawer"}
    options |= {"--traces": "none", "--output": tmp_path / "run"}
    words = [str(word) for option in options.items() for word in option]
    # From the rest pose, where the arm is found, random motions are refused.
    words = ["--use-fake-hardware", "--home-first", "--record", *words]
    ran = subprocess.run(
        [sys.executable, "-m", "stvla_ros.cli", "robot", *words],
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    bag = tmp_path / "run/latest/bag"

    assert main(ConvertArguments(bags=(str(bag),), output=str(tmp_path / "data"))) == 0

    reader = LeRobotReader(tmp_path / "data")
    assert (reader.instructions(), reader.info.robot_type, reader.info.fps) == (["open the drawer"], "widowx", 5.0)
    demonstration = reader.episode(0)
    assert len(demonstration) >= 2 and demonstration.depth is not None and demonstration.intrinsics is not None
    assert demonstration.state is not None

    data = {"paths": [str(tmp_path / "data")], "cache": str(tmp_path / "cache")}
    config = {"size": "tiny", "steps": 2, "device": "cpu", "output": str(tmp_path / "training"), "data": data}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    assert (train(read_config(tmp_path / "train.yaml")) / "model.safetensors").is_file()
