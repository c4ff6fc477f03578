"""Texts lead somewhere: links and paths in the documentation and in the code exist, and none leads out of the
repository. What commands the pages have: test_docs_commands.py.
"""

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from pages import REPOSITORY, without_blocks

# In text, by reference, and in HTML.
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|^\[[^\]]+\]: (\S+)|(?:src|href)=\"([^\"]+)\"", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
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
    "src/stvla_ros/requirements/distribution.txt",
    "src/stvla_ros/requirements/models.txt",
}
# Named as optional; a link of a page that is made.
_BESIDE = {("stvla_ros/shared_files.py", "../shared"), ("tools/reference.py", "../design.md")}
# Links made below .ws/src and .ws-humble/src.
_SET_UP = ("tools/setup.sh", "tools/check_humble.sh")


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


def _anchors(page: str) -> set[str]:
    """What GitHub makes of a page's headings; of equal ones, the later are numbered."""
    found: Counter[str] = Counter()
    anchors = set()
    for heading in _HEADING.findall(without_blocks(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        anchors.add(f"{anchor}-{found[anchor]}" if found[anchor] else anchor)
        found[anchor] += 1
    return anchors


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page that lead to no file of this repository, or to no heading of it.

    :param page: its file.
    """
    broken = []
    for found in _LINK.findall(_CODE.sub("", without_blocks(text))):
        target = "".join(found)
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page.parent / path if path else page
        lost = anchor and file.suffix == ".md" and file.is_file() and anchor not in _anchors(file.read_text())
        if not file.exists() or lost:
            broken.append(target)
    return broken


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    found = {page: broken_links(REPOSITORY / page, text) for page, text in _pages().items()}
    assert {page: links for page, links in found.items() if links} == {}


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "# One\n\n## Two `three`\n\n## One\n\n```bash\n# Four\n[5](five)\n```\n"
    page.write_text(text)
    good = "[a](#one) [b](#two-three) [c](#one-1) [d](page.md#one) [e](https://example.org/x) `[f](nowhere)`\n"
    assert broken_links(page, text + good) == []
    bad = '[a](#four) [b](#one-2) [c](other.md) ![d](e.png "f") <img src="g.png">\n\n[h]: i.md\n'
    assert broken_links(page, text + bad) == ["#four", "#one-2", "other.md", "e.png", "g.png", "i.md"]


def test_every_page_is_reached_from_the_readme() -> None:
    seen, open_pages = set(), ["README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in seen or page not in _pages():
            continue
        seen.add(page)
        for found in _LINK.findall(_pages()[page]):
            file = ((REPOSITORY / page).parent / "".join(found).partition("#")[0]).resolve()
            if file.is_relative_to(REPOSITORY.resolve()):
                open_pages.append(file.relative_to(REPOSITORY.resolve()).as_posix())
    assert _pages().keys() - seen == set()


def test_set_up_takes_the_same_time_and_room_on_all_pages() -> None:
    said = re.search(r"(\d\.\d GB) on the disk, (\d to \d minutes)", (REPOSITORY / "tools/setup.sh").read_text())
    assert said is not None
    for page in ("README.md", "docs/tutorial/first-episode.md"):
        assert f"{said[2]} and {said[1]}" in _pages()[page]


def test_the_readme_is_short_and_says_what_a_newcomer_must_know_at_once() -> None:
    lines = _pages()["README.md"].splitlines()
    assert len(lines) <= 80
    first_screen = " ".join(lines[:30])
    for said in ("The shipped model knows only the simulator", "make sim", "make test", ".webp"):
        assert said in first_screen
    moving = REPOSITORY / "docs/images/stack_cube.webp"
    assert moving.stat().st_size < 3_000_000 and b"ANIM" in moving.read_bytes()[:64]


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
            if not path.startswith("out/") and not any(each.endswith(path) for each in made):
                missing.append(f"{name}: {path}")
    assert missing == []


def test_every_file_that_a_page_calls_by_its_name_alone_exists() -> None:
    known = {Path(name).name for name in _texts()}
    missing = {}
    for page, text in _pages().items():
        made = {Path(name).name for name in re.findall(r'title="([^"]+)"', text)}
        named = set(re.findall(r"`([a-z]\w+\.(?:py|sh|urdf|rviz|ini|cfg))`", text))
        missing[page] = named - known - made
    assert {page: names for page, names in missing.items() if names} == {}


def test_no_text_leads_out_of_the_repository() -> None:
    outside = []
    for name, text in _texts().items():
        for path in _UPWARDS.findall(text):
            target = ((REPOSITORY / name).parent / path.rstrip(".")).resolve()
            # Tests name what is not there.
            found = target.is_relative_to(REPOSITORY.resolve()) and (target.exists() or name.startswith("test/"))
            if not found and name not in _SET_UP and (name, path) not in _BESIDE:
                outside.append(f"{name}: {path}")
        outside += [f"{name}: {path}" for path in _ABSOLUTE.findall(text)]
    assert outside == []
