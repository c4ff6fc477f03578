"""What the numbers of a LeRobot action mean: told by names, said in the configuration, or asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import training_data
from examples import examples
from foreign_dataset import write_bridge_dataset
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import ACTION_NAMES
from stvla_ros.learning.datasets.lerobot.action_meaning import ELEMENTS, meaning_of, pose_of
from stvla_ros.learning.datasets.lerobot.info import feature_names
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.training.checks import check_datasets
from stvla_ros.learning.training.selection import select_episodes

OURS = np.array([[0.01, 0.02, 0.03, 0.1, -0.2, 0.3, 1.0], [0.0, -0.01, 0.0, 0.5, 0.4, -0.6, 0.0]])


def stored(*elements: str) -> np.ndarray:
    """``OURS`` as a data set with these elements holds it."""
    by_name = dict(zip(ACTION_NAMES, OURS.T, strict=True))
    by_name["gripper_closed"] = 1.0 - by_name["gripper"]
    vectors = Rotation.from_euler("xyz", OURS[:, 3:6]).as_rotvec()
    by_name |= {f"axis_angle_{axis}": vectors[:, index] for index, axis in enumerate("xyz")}
    return np.stack([by_name[name] for name in elements], axis=1)


KNOWN = {
    ("x", "y", "z", "roll", "pitch", "yaw", "gripper"): ACTION_NAMES,
    ("delta_x", "delta_y", "delta_z", "delta_roll", "delta_pitch", "delta_yaw", "gripper_open"): ACTION_NAMES,
    ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"): ACTION_NAMES,
    ("ee_pos_x", "ee_pos_y", "ee_pos_z", "ee_euler_roll", "ee_euler_pitch", "ee_euler_yaw", "gripper"): ACTION_NAMES,
    ("x", "y", "z", "yaw", "pitch", "roll", "gripper"): ("x", "y", "z", "yaw", "pitch", "roll", "gripper"),
    ("action.x", "action.y", "action.z", "action.roll", "action.pitch", "action.yaw", "action.gripper"): ACTION_NAMES,
    ("x (m)", "y (m)", "z (m)", "roll (rad)", "pitch (rad)", "yaw (rad)", "gripper"): ACTION_NAMES,
    ("gripper", "x", "y", "z", "roll", "pitch", "yaw"): ("gripper", *ACTION_NAMES[:6]),
    ("x", "y", "z", "roll", "pitch", "yaw", "gripper_closedness"): (*ACTION_NAMES[:6], "gripper_closed"),
    ("x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3", "gripper"): (
        *ACTION_NAMES[:3], "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper",
    ),
}  # fmt: skip


@pytest.mark.parametrize("names", KNOWN)
def test_names_that_are_known_are_converted(names: tuple[str, ...]) -> None:
    meaning = meaning_of(names)
    assert meaning.elements == KNOWN[names]
    np.testing.assert_allclose(meaning.to_ours(stored(*meaning.elements)), OURS, atol=1e-12)
    assert bool(meaning.note) == (meaning.elements != ACTION_NAMES)


@given(st.permutations(ACTION_NAMES), st.booleans(), st.booleans())
@examples(quick=100)
def test_every_order_and_convention_that_is_said_is_converted(order: list, closed: bool, vector: bool) -> None:
    words = [{"gripper": "gripper_closed"}.get(name, name) if closed else name for name in order]
    turned = dict(zip(ACTION_NAMES[3:6], ("axis_angle_x", "axis_angle_y", "axis_angle_z"), strict=True))
    words = [turned.get(name, name) if vector else name for name in words]
    meaning = meaning_of(["whatever"] * 7, " ".join(words))
    np.testing.assert_allclose(meaning.to_ours(stored(*words)), OURS, atol=1e-12)


@pytest.mark.parametrize(
    "names, text",
    [
        (["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper"], "got joints: waist"),
        ([f"joint_{number}" for number in range(7)], "got joints"),
        (["shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos"], "got joints"),
        (["abs_x", "abs_y", "abs_z", "abs_roll", "abs_pitch", "abs_yaw", "gripper"], "'abs_x' is an absolute pose"),
        (["target_x", "y", "z", "roll", "pitch", "yaw", "gripper"], "'target_x' is an absolute pose"),
        (["x", "y", "z", "rx", "ry", "rz", "gripper"], "rx, ry, rz can mean several things; say it in data.action"),
        (["x", "y", "z", "roll", "pitch", "yaw", "gripper_position"], "gripper_position can mean several things"),
        (["x", "y", "z", "roll", "pitch", "yaw", "gripper.pos"], "gripper.pos can mean several things"),
        ([f"motor_{number}" for number in range(7)], "motor_0, .* can mean several things"),
        (["x", "y", "z", "qx", "qy", "qz", "gripper"], "qx, qy, qz can mean several things"),
        (["x", "y", "z", "roll", "pitch", "yaw", "delta_gripper"], "delta_gripper can mean several things"),
        (["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper_delta"], "gripper_delta can mean several things"),
        (["x", "y", "z", "qx", "qy", "qz", "qw"], "got orientations as quaternions"),
        (
            ["ee_pos_x", "ee_pos_y", "ee_pos_z", *(f"rot6d_{n}" for n in range(6)), "gripper"],
            "rotations as six numbers",
        ),
        (["vx", "vy", "vz", "wx", "wy", "wz", "gripper"], "got speeds: vx"),
        (["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z", "gripper"], "got speeds"),
        (
            ["x_mm", "y_mm", "z_mm", "roll_deg", "pitch_deg", "yaw_deg", "gripper"],
            "another unit than metres and radians",
        ),
        (["left_x", "left_y", "left_z", "roll", "pitch", "yaw", "right_gripper"], "got those of two arms: left_x"),
        (["x", "x", "z", "roll", "pitch", "yaw", "gripper"], "expected names that say what the numbers mean, got x, x"),
        ([], "expected names that say what the numbers mean, got no names; say it in data.action"),
    ],
)
def test_names_of_another_space_or_of_several_meanings_are_refused(names: list[str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        meaning_of(names)


@pytest.mark.parametrize(
    "said", ["x y z", "x y z roll pitch yaw gripper extra", "x y z roll pitch axis_angle_z gripper"]
)
def test_what_is_said_must_be_a_whole_action(said: str) -> None:
    with pytest.raises(InputError, match="data.action: expected seven words"):
        meaning_of([], said)


@given(st.lists(st.text(max_size=12) | st.sampled_from(ELEMENTS), max_size=8))
@examples(quick=200)
def test_whatever_the_names_are_they_are_known_or_refused(names: list[str]) -> None:
    try:
        assert set(meaning_of(names).elements) <= set(ELEMENTS)
    except InputError:
        pass


def test_a_state_tells_pose_and_opening_by_the_same_names() -> None:
    names = ["ee_x", "ee_y", "ee_z", "roll", "pitch", "yaw", "pad", "gripper_closed"]
    values = np.arange(8.0)[None]
    assert pose_of(names, values).tolist() == [[0, 1, 2, 3, 4, 5, -6]]
    assert pose_of(["shoulder", "elbow"], values) is None


def test_a_state_of_two_arms_tells_no_pose() -> None:
    names = [f"{side}_{name}" for side in ("left", "right") for name in ACTION_NAMES]
    assert pose_of(names, np.arange(14.0)[None]) is None


def with_names(folder: Path, names: list[str] | None) -> Path:
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    info["features"]["action"]["names"] = names
    file.write_text(json.dumps(info))
    return folder


def test_a_data_set_is_read_by_its_names_and_by_what_is_said(tmp_path: Path) -> None:
    folder = write_bridge_dataset(tmp_path / "bridge", episodes=2, frames=4)
    usual = LeRobotReader(folder).actions()
    with_names(folder, ["x", "y", "z", "roll", "pitch", "yaw", "gripper_closed"])
    np.testing.assert_allclose(LeRobotReader(folder).actions()[:, 6], 1.0 - usual[:, 6])
    with_names(folder, None)
    with pytest.raises(InputError, match=r"info.json, action: expected names that say what the numbers mean"):
        LeRobotReader(folder)
    said = "x y z roll pitch yaw gripper_closed"
    np.testing.assert_allclose(LeRobotReader(folder, action=said).actions()[:, 6], 1.0 - usual[:, 6])


def test_names_are_in_the_order_of_their_places_however_they_are_listed() -> None:
    order = ["gripper", *ACTION_NAMES[:6]]
    for names in (order, {"motors": order}, [order], {name: order.index(name) for name in ACTION_NAMES}):
        assert feature_names({"names": names}) == order


@pytest.mark.parametrize(
    "names, text",
    [
        (["x", "y", "z", *(f"rot6d_{number}" for number in range(6)), "gripper"], "got rotations as six numbers"),
        ([f"joint_{number}.pos" for number in range(6)], "got joints: joint_0.pos"),
        ([f"{side}_{name}" for side in ("left", "right") for name in ACTION_NAMES], "got those of two arms"),
        (["x", "y", "z", "gripper"], r"expected action of shape \[7\]"),
    ],
)
def test_actions_of_another_length_are_refused_by_what_their_names_say(
    tmp_path: Path, names: list[str], text: str
) -> None:
    folder = with_names(write_bridge_dataset(tmp_path / "bridge", episodes=1, frames=4), names)
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    info["features"]["action"]["shape"] = [len(names)]
    file.write_text(json.dumps(info))
    with pytest.raises(InputError, match=text):
        LeRobotReader(folder)


def written(folder: Path, *, inverted: bool) -> Path:
    """Episodes that begin open, with 1 for open; or, inverted, for closed."""
    episodes = []
    for seed in range(12):
        made = training_data.demonstration(seed, frames=20)
        opening = ((np.arange(20) < 4) | (np.arange(20) >= 17)).astype(np.float32)
        made.action[:, 6] = 1.0 - opening if inverted else opening
        episodes.append(made)
    training_data.write(folder, episodes)
    return folder


def checked(*readers: LeRobotReader) -> list[str]:
    return check_datasets([select_episodes(each, 0) for each in readers], training_data.TrainingConfig(steps=1))


def test_grippers_that_begin_otherwise_are_refused_until_it_is_said_what_they_mean(tmp_path: Path) -> None:
    usual, inverted = written(tmp_path / "a", inverted=False), written(tmp_path / "b", inverted=True)
    with pytest.raises(InputError, match=r"b, action: expected a gripper that begins open as in .*a; .* 100%"):
        checked(LeRobotReader(usual), LeRobotReader(inverted))
    said = checked(LeRobotReader(usual), LeRobotReader(inverted, action="x y z roll pitch yaw gripper_closed"))
    assert f"data set {inverted}, action: converted: a gripper of 1 when closed to 1 when open" in said
    as_ours = " ".join(ACTION_NAMES)
    checked(LeRobotReader(usual, action=as_ours), LeRobotReader(inverted, action=as_ours))
