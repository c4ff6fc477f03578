"""Robots' files, URDFs, training configurations and mappings given as text: whatever is in them, one clear line."""

from pathlib import Path
from typing import Any

import yaml
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed_tree, damaged, only_bad_input

from stvla_ros.control.safety.body import Body
from stvla_ros.learning.training.config import read_config
from stvla_ros.robots.embodiments import read_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.settings import parse_mapping
from stvla_ros.shared_files import config_directory

ROBOT = config_directory() / "robots" / "widowx.yaml"
URDF = config_directory() / "robots" / "wx250s.urdf"
TRAINING = config_directory() / "train" / "small.yaml"


def yaml_files(file: Path) -> st.SearchStrategy[bytes]:
    def dump(document: Any) -> bytes:
        return yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")

    whole = file.read_bytes()
    return damaged(whole, text=True) | changed_tree(yaml.safe_load(whole)).map(dump)


@examples(quick=15)
@given(yaml_files(ROBOT))
def test_fuzz_robot_file(tmp_path, content):
    file = tmp_path / "robot.yaml"
    file.write_bytes(content)
    with only_bad_input(str(file)):
        read_embodiment(file)


@examples(quick=15)
@given(yaml_files(TRAINING))
def test_fuzz_training_configuration(tmp_path, content):
    file = tmp_path / "train.yaml"
    file.write_bytes(content)
    with only_bad_input(str(file)):
        read_config(file)


@examples(quick=15)
@given(damaged(b"{checkpoint: models/small, size: [1, 2.5], on: {a: null}}", text=True))
def test_fuzz_mapping_parameter(content):
    with only_bad_input("parameter depth_parameters"):
        parse_mapping("parameter depth_parameters", content.decode("utf-8", "replace"))


@examples(quick=15)
@given(damaged(URDF.read_bytes().replace(b'filename="', f'filename="file://{URDF.parent}/'.encode()), text=True))
def test_fuzz_urdf(tmp_path, content):
    file = tmp_path / "arm.urdf"
    file.write_bytes(content)
    joints = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
    with only_bad_input("urdf"):
        arm = UrdfArm(file, joints, "ee_gripper_link")
        position = arm.position_limits[0] * 0.0
        arm.tool_pose(position)
        Body(arm.skeleton, {}, 0.05).corners(arm.body_poses(position[None]))
