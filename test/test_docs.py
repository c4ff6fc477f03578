"""Texts lead somewhere: links and paths in the documentation and in the code exist, and none leads out of the
repository.
"""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FILE = re.compile(r"(?<![\w./<>{}*$-])((?:[\w-]+/)+[\w.-]+\.(?:md|py|yaml|sh|urdf|xml|rviz|txt))(?![\w/])")
_UPWARDS = re.compile(r"(?<![\w.])((?:\.\./)+\w[\w./-]*)")
# Of one person's or one workplace's machine.
_ABSOLUTE = re.compile(r"(?<![\w.:/<>~}-])/(?:work|root|home/\w+|Users/\w+)/[\w.-]+")
# Paths of other people's repositories and packages, and those that a reader is to fill in.
_ELSEWHERE = {
    "lerobot/datasets/utils.py",
    "train/spatialvla_finetune.py",
    "model/action_tokenizer.py",
    "data/robots/widowx/wx250s.urdf",
    "my/arm.yaml",
    "config/robots/NAME.yaml",
    "config/robots/ROBOT.yaml",
    "src/stvla_ros/requirements/core.txt",
}
# Named as optional.
_BESIDE = {("stvla_ros/shared_files.py", "../shared")}
# Links made below .ws/src.
_SET_UP = "tools/setup.sh"


@cache
def _texts() -> dict[str, str]:
    """Every text file of the repository, by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("the files of the repository are those that git knows; this is no checkout")
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        try:
            texts[name] = (REPOSITORY / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, weights; deleted but not committed yet
    return texts


def _pages() -> dict[str, str]:
    return {name: text for name, text in _texts().items() if name.endswith(".md")}


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    broken = []
    for page, text in _pages().items():
        for target in _LINK.findall(text):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            file = (REPOSITORY / page).parent / path if path else REPOSITORY / page
            headings = set()
            if file.suffix == ".md" and file.is_file():
                headings = {_anchor(heading) for heading in _HEADING.findall(file.read_text())}
            if not file.exists() or (anchor and anchor not in headings):
                broken.append(f"{page}: {target}")
    assert broken == []


def test_every_file_that_a_text_names_exists() -> None:
    known = set(_texts())
    # A path may begin anywhere: policy/base.py is below stvla_ros.
    endings = {"/".join(name.split("/")[start:]) for name in known for start in range(name.count("/") + 1)}
    missing = []
    for name, text in _texts().items():
        if name.startswith("test/") or name.endswith(".json"):
            continue  # tests name files that are not there
        made = set(re.findall(r'title="([^"]+)"', text))  # files that a page itself lists
        for path in sorted(set(_FILE.findall(text)) - endings - _ELSEWHERE):
            if not any(each.endswith(path) for each in made):
                missing.append(f"{name}: {path}")
    assert missing == []


def test_no_text_leads_out_of_the_repository() -> None:
    outside = []
    for name, text in _texts().items():
        for path in _UPWARDS.findall(text):
            target = ((REPOSITORY / name).parent / path.rstrip(".")).resolve()
            # Tests name what is not there.
            found = target.is_relative_to(REPOSITORY.resolve()) and (target.exists() or name.startswith("test/"))
            if not found and name != _SET_UP and (name, path) not in _BESIDE:
                outside.append(f"{name}: {path}")
        outside += [f"{name}: {path}" for path in _ABSOLUTE.findall(text)]
    assert outside == []
