"""`pip install -e .`: the ROS-free core and the `stvla` command. colcon builds nodes and messages (CMakeLists.txt)."""

import pathlib

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent


def pinned(name: str) -> list[str]:
    """Requirements of one set; requirements/ is the one place that pins versions."""
    lines = (HERE / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    packages=find_packages(include=["stvla_ros", "stvla_ros.*"]),
    install_requires=pinned("core"),
    extras_require={name: pinned(name) for name in ("models", "sim", "learning", "ros", "test")},
    entry_points={"console_scripts": ["stvla = stvla_ros.cli:main"]},
)
