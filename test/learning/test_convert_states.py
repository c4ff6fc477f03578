"""The robot's state out of the joint states of a recording."""

from pathlib import Path

import numpy as np
import pytest
from made_bags import SECOND, GraphBag, record_episode
from scipy.spatial.transform import Rotation
from test_convert import EVEN, UNEVEN, convert

from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

DRIVER = find_embodiment("widowx").driver
CLOSED, OPEN = DRIVER.settings["finger_closed"], DRIVER.settings["finger_open"]


def joints_of(stamp: int) -> dict[str, float]:
    """Where the joints are at this time: near home, and the fingers half-way."""
    random = np.random.default_rng(stamp)
    positions = np.array(DRIVER.home) + random.normal(0.0, 0.05, 6)
    return {**dict(zip(DRIVER.arm.joints, positions, strict=True)), "left_finger": (CLOSED + OPEN) / 2, "other": 1.0}


def states_of(stamps: list[int]) -> np.ndarray:
    arm = UrdfArm(DRIVER.arm.urdf, DRIVER.arm.joints, DRIVER.arm.tool_frame)
    rows = []
    for stamp in stamps:
        told = joints_of(stamp)
        pose = arm.tool_pose(np.array([told[name] for name in DRIVER.arm.joints]))
        rows.append([*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_euler("xyz"), 0.5])
    return np.array(rows, np.float32)


def recorded(folder: Path, stamps: list[int], early_ns: int = 0) -> None:
    """A recording with joint states that much before each picture."""
    with GraphBag(folder / "bag", robot="widowx") as bag:
        for stamp in stamps:
            bag.joints(stamp - early_ns, joints_of(stamp))
            # What comes after the picture is not yet its state.
            bag.joints(stamp + 1_000_000, joints_of(stamp + 1))
        record_episode(bag, stamps)


@pytest.mark.parametrize("early_ns", [0, 9_000_000])
def test_the_state_is_that_of_the_last_joint_state_before_the_picture(tmp_path: Path, early_ns: int) -> None:
    recorded(tmp_path, UNEVEN, early_ns)
    state = convert(tmp_path).episode(0).state
    np.testing.assert_allclose(state, states_of(UNEVEN[:-1]), atol=1e-6)


def test_a_repeated_frame_repeats_its_state(tmp_path: Path) -> None:
    recorded(tmp_path, EVEN)
    state = convert(tmp_path, fps=10.0).episode(0).state  # control steps are at 5 Hz
    np.testing.assert_allclose(state, states_of(EVEN[:-1]).repeat(2, axis=0)[:-1], atol=1e-6)


def test_without_the_states_of_all_frames_there_are_none_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with GraphBag(tmp_path / "bag", robot="widowx") as bag:
        for stamp in EVEN[:3]:
            bag.joints(stamp, joints_of(stamp))
        bag.joints(EVEN[3], {**joints_of(EVEN[3]), "waist": float("nan")})
        late = [*EVEN[:4], *(stamp + SECOND for stamp in EVEN[4:])]
        record_episode(bag, late)
    assert convert(tmp_path, fps=5.0).episode(0).state is None
    said = "frames whose robot's state is not recorded, so that no frame gets an observation.state: 4"
    assert said in capsys.readouterr().out


def test_the_joints_of_another_robot_are_not_taken(tmp_path: Path) -> None:
    with GraphBag(tmp_path / "bag", robot="widowx") as bag:
        for stamp in EVEN:
            bag.joints(stamp, {"shoulder_pan_joint": 0.5, "left_finger": 0.02})
        record_episode(bag, EVEN)
    assert convert(tmp_path).episode(0).state is None
