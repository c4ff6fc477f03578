"""docs/how-to/add-a-*.md: the packages that stand there are built, installed, and run as the pages say."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import REPOSITORY, files, run_lines

PAGES = REPOSITORY / "docs" / "how-to"
NAMES = ("simulator", "tracker", "depth-model", "policy", "robot")
# What `pip install --no-deps --no-build-isolation --target` does, in one process in place of three for each package.
_INSTALL = """
import os, sys, zipfile
from setuptools import build_meta

target, *packages = sys.argv[1:]
os.makedirs(target)
for package in packages:
    os.chdir(package)
    wheel = build_meta.build_wheel(target)
    zipfile.ZipFile(os.path.join(target, wheel)).extractall(target)
"""
_TIMEOUT_S = 300


def read_page(name: str) -> str:
    return (PAGES / f"add-a-{name}.md").read_text()


class Site:
    """A folder with the pages' files, in whose processes the pages' packages are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        packages = []
        for name in NAMES:
            for path, text in files(read_page(name)).items():
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                if file.name == "pyproject.toml":
                    packages.append(str(file.parent))
        target = folder / "installed"
        done = subprocess.run([sys.executable, "-c", _INSTALL, target, *packages], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))
        self._environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}

    def stvla(self, arguments: str, code: int = 0) -> str:
        """Run `stvla ARGUMENTS`. :returns: what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "stvla_ros.cli", *shlex.split(arguments)],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
        )
        assert done.returncode == code, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def run_page(site: Site, name: str) -> list[str]:
    commands = run_lines(read_page(name))
    assert commands and all(command.startswith("stvla ") for command in commands)
    return [site.stvla(command.removeprefix("stvla ")) for command in commands]


def read_json(file: Path) -> dict:
    return json.loads(file.read_text())


def test_the_page_about_simulators(site: Site) -> None:
    tasks, _, recorded = run_page(site, "simulator")
    assert {"stack_cube", "simpler/widowx_stack_cube", "reach/ball"} <= {
        line.split(" ")[0] for line in tasks.splitlines()
    }
    assert read_json(site.folder / "out/reach/latest/summary.json")["success_rate"] == 1.0
    assert "30 episodes" in recorded


def test_the_pages_about_trackers_and_depth_models(site: Site) -> None:
    run_page(site, "tracker")
    summary = read_json(site.folder / "out/traced/latest/summary.json")
    assert (summary["policy"], summary["success_rate"]) == ("to_ball", 1.0)
    [table] = run_page(site, "depth-model")
    assert "**100.0 %** (2/2)" in table


def test_the_page_about_policies(site: Site) -> None:
    told, _, checked, _ = run_page(site, "policy")
    assert "| to_ball | reach/ball | **100.0 %** (3/3)" in told and "| slow | reach/ball |" in told
    record = read_json(site.folder / "out/pixels/checkpoint/training.json")
    assert (record["inputs"]["depth"], record["inputs"]["tracker"]) == ("table", "colour")
    assert "out/pixels/checkpoint: pixels, " in checked


def test_the_page_about_robots(site: Site) -> None:
    checked, driven = run_page(site, "robot")
    for kind in (
        "simulator reach",
        "family pixels",
        "policy to_ball",
        "tracker colour",
        "depth table",
        "driver gantry_driver",
    ):
        assert f"ok       {kind}: entry point" in checked
    motion = read_json(site.folder / "out/gantry/latest/motion.json")
    assert motion["commands"]["executed"] > 0 and not motion["commands"]["refused"], driven
    assert motion["setpoints"]["joints"]["x"]["travel"] > 0.005
