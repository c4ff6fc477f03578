"""A machine without torch, a simulator or another optional package: one line, never a traceback or a crashed check."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_dependencies import REPOSITORY, _imports, _plain, _requirements, _ros_packages

from stvla_ros.missing_packages import SET_OF, missing_package

NETWORKS = ("torch", "transformers", "peft", "safetensors", "tokenizers", "huggingface_hub", "PIL")
OTHERS = ("mani_skill", "sapien", "gymnasium", "pyarrow", "tensorboard", "matplotlib")
_RUN = """
import sys

class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden)
"""
_COMMAND = f"{_RUN}\nfrom stvla_ros.cli import main\nmain(sys.argv[2:])"


def _without(hidden: tuple[str, ...], words: list[str], folder: Path, program: str = _COMMAND) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-c", program, ",".join(hidden), *words], capture_output=True, text=True, cwd=folder
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_every_package_that_is_imported_has_its_set() -> None:
    named = {"cv2": "opencv-python", "PIL": "pillow", "pinocchio": "pin", "yaml": "pyyaml"}
    for module in _imports("stvla_ros"):
        sets = [each for each in ("core", "models", "sim", "learning") if module in SET_OF and SET_OF[module] == each]
        where = [
            each
            for each in ("core", "models", "sim", "learning")
            if _plain(named.get(module, module)) in _requirements(each)
        ]
        if where and module not in _ros_packages():
            assert sets == where, f"{module}: stvla_ros/missing_packages.py has {sets}, requirements/ has {where}"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["sim"], "task stack_cube: mani_skill is not installed: pip install -r requirements/sim.txt"),
        (["robot"], "policy stvla: torch is not installed: "),
        (["eval", "--policies", "small"], "policy small: policy stvla: torch is not installed: "),
        (["train", "--config", str(REPOSITORY / "config/train/few_trajectories.yaml")], "stvla train: "),
        (["convert", "bag", "--output", "set"], "stvla convert: pyarrow is not installed: "),
        (["model", "inspect", "--checkpoint", "small"], "stvla model: torch is not installed: "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_that_lacks_a_package_ends_with_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    code, said = _without(NETWORKS + OTHERS, words, tmp_path)
    errors = [each for each in said.splitlines() if each.startswith("error: ")]
    assert code == 2 and "Traceback" not in said, said
    assert len(errors) == 1 and errors[0].startswith(f"error: {line}") and "is not installed" in errors[0]


@pytest.mark.parametrize("part", ["perception", "driver"])
def test_camera_and_arm_need_no_networks(part: str, tmp_path: Path) -> None:
    program = f"""{_RUN}
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.graph.run import describe_graph
print(len(describe_graph(RobotArguments(start={part!r}, output=sys.argv[2])).nodes))
"""
    code, said = _without(NETWORKS + OTHERS, [str(tmp_path)], tmp_path, program)
    assert code == 0 and int(said.split()[-1]) > 1, said


@pytest.mark.parametrize("hidden", [NETWORKS + OTHERS, ("coal",), ("rclpy",)], ids=["networks", "coal", "rclpy"])
def test_no_check_of_the_doctor_crashes(hidden: tuple[str, ...], tmp_path: Path) -> None:
    code, said = _without(hidden, ["doctor", "--no-live"], tmp_path)
    assert "Traceback" not in said and "this check crashed" not in said, said
    assert hidden[0] in said and code in (1, 2)


def test_other_errors_are_left_alone() -> None:
    assert missing_package(ModuleNotFoundError("no such module", name="of_a_plug_in")) == ""
    assert missing_package(ValueError("torch")) == ""
    assert "docs/how-to/build-with-colcon.md" in missing_package(ModuleNotFoundError(name="stvla_ros.msg"))
