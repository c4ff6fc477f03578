"""ROS 2 Humble and Ubuntu 22.04, as far as they can be held to without them (docs/how-to/humble.md)."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from configparser import ConfigParser
from pathlib import Path

from test_dependencies import _plain, _requirements

REPOSITORY = Path(__file__).parents[1]
# Methods, properties and arguments of rclpy 7 (Jazzy) that rclpy 3.3 (Humble) lacks, by the signatures of both.
_NEWER = {
    "add_post_set_parameters_callback",
    "add_pre_set_parameters_callback",
    "configure_introspection",
    "count_clients",
    "count_services",
    "get_fully_qualified_node_names",
    "get_publisher_count",
    "remove_post_set_parameters_callback",
    "remove_pre_set_parameters_callback",
    "service_name",
    "topic_type_hash",
    "wait_for_node",
}
_NEWER_ARGUMENTS = {"check_fields"}
# What rosdep installs, by its keys, for what core.txt pins.
_ROSDEP = {
    "numpy": "python3-numpy",
    "opencv-python": "python3-opencv",
    "scipy": "python3-scipy",
    "pyyaml": "python3-yaml",
    "pin": "pinocchio",
    "coal": "coal",
}


def _found(tree: ast.AST) -> set[str]:
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    given = {word.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords}
    return (names & _NEWER) | (given & _NEWER_ARGUMENTS)


def test_nodes_use_nothing_that_rclpy_of_humble_lacks() -> None:
    files = [*(REPOSITORY / "stvla_ros/nodes").rglob("*.py"), *(REPOSITORY / "stvla_ros/doctor").rglob("*.py")]
    used = {str(file): found for file in files if (found := _found(ast.parse(file.read_text())))}
    assert len(files) > 50 and used == {}


def test_a_newer_method_and_a_newer_argument_are_found() -> None:
    text = "publisher.wait_for_node('x', 1.0)\nImage(check_fields=False)"
    assert _found(ast.parse(text)) == {"wait_for_node", "check_fields"}


def test_style_types_and_the_package_are_held_to_python_3_10() -> None:
    assert 'target-version = "py310"' in (REPOSITORY / "ruff.toml").read_text()
    assert "python_version = 3.10" in (REPOSITORY / "mypy.ini").read_text()
    settings = ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    assert settings["options"]["python_requires"] == ">=3.10"


def test_beside_a_distribution_pip_installs_what_rosdep_does_not_and_nothing_else() -> None:
    manifest = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    keys = {each.text for each in manifest if each.tag.endswith("depend")}
    assert set(_ROSDEP.values()) <= keys
    core, beside = _requirements("core"), _requirements("distribution")
    assert beside == core - set(_ROSDEP)


def test_beside_a_distribution_there_are_ranges_that_hold_the_tried_versions() -> None:
    core = dict(re.findall(r"^([\w.-]+)==([\d.]+)", (REPOSITORY / "requirements/core.txt").read_text(), re.MULTILINE))
    tried = {_plain(name): version for name, version in core.items()}
    text = (REPOSITORY / "requirements/distribution.txt").read_text()
    ranges = re.findall(r"^([\w.-]+)>=([\d.]+)$", text, re.MULTILINE)
    assert len(ranges) == len([line for line in text.splitlines() if not line.startswith("#")])
    for name, least in ranges:
        assert _numbers(tried[_plain(name)]) >= _numbers(least), name


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
