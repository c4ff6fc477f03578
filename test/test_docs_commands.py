"""The commands that stand in the pages can be given as they stand there: `stvla`, `make`, `python -m` and `ros2` are
read by their own parsers and lists. Blocks titled "run", and the README's example, are run.
"""

import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tyro
from pages import REPOSITORY, blocks, run_lines, without_blocks
from rclpy.serialization import serialize_message

from bench.__main__ import LONG_PARTS, PARTS
from stvla_ros.cli import COMMANDS, main
from stvla_ros.errors import InputError
from stvla_ros.nodes.executables import executables
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header
from stvla_ros.recordings.bag_writer import BagWriter
from stvla_ros.settings import check_ranges
from tools.reference import PAGES as REFERENCE
from tools.reference import options_of

MAKEFILE = (REPOSITORY / "Makefile").read_text()
# Of a line's end, and what a reader is to fill in by himself.
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPEN = "…"
_SHELL = ("", "bash", "sh")
# Programs that start a command of ours, or what a line may have before one.
_BEFORE = {"then", "do", "sudo"}
_LAUNCHED = {"sim.launch.py": "sim", "robot.launch.py": "robot"}
# What `ros2` commands name that other packages have.
_OTHERS = re.compile(r"^(/camera|/zed|list$|echo$)")


def pages() -> list[Path]:
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command in the shell blocks of a page, and of what stands there in one line of code."""
    for block in blocks(text):
        if block.language in _SHELL:
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from _split(_COMMENT.sub("", line))
    for inline in re.findall(r"`([^`\n]+)`", without_blocks(text)):
        yield from _split(inline)


def _split(line: str) -> Iterator[list[str]]:
    for part in re.split(r"\s*(?:;|&&|\|\|| \| )\s*", line.strip()):
        try:
            words = shlex.split(part)
        except ValueError:  # half of a quoted text that has a semicolon
            continue
        while words and (words[0] in _BEFORE or re.fullmatch(r"[A-Z_]+=\S*", words[0])):
            words = words[1:]
        if words and words[0] in _READERS:
            yield words


def _read_stvla(words: Sequence[str]) -> None:
    if not words or words[0].startswith("-") or words[0].strip("….") != words[0]:
        assert words in ([], ["--version"], ["--help"]) or words[0][0] in "….", f"stvla {' '.join(words)}"
        return
    # `stvla sim|robot`, `stvla model create|convert`
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    first = 1 if words[0] in groups and len(words) > 1 else 0
    for choice in words[first].split("|"):
        name = " ".join([*words[:first], choice])
        if choice not in (_OPEN, "COMMAND") and name not in groups:
            assert name in COMMANDS, f"stvla {name}: no such command"
            _read_options(name, words[first + 1 :])


def _read_options(name: str, words: Sequence[str]) -> None:
    """:raises AssertionError: for an option that the command does not have, or a value that it does not take."""
    kind = getattr(importlib.import_module(COMMANDS[name].module), COMMANDS[name].arguments)
    known = {row.removeprefix("--") for row in options_of(kind)}
    given = [word[2:].partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    for option in given:
        assert option.removeprefix("no-") in known | {"help"}, f"stvla {name}: no option --{option}"
    # Not where a command is only named, nor where the reader is to fill something in.
    whole = not any(_OPEN in word or "|" in word or word.isupper() for word in words)
    if whole and "--help" not in words and any(not word.startswith("--") for word in words):
        try:
            check_ranges(tyro.cli(kind, args=list(words), prog=f"stvla {name}", console_outputs=False))
        except (SystemExit, InputError) as error:
            raise AssertionError(f"stvla {name} {' '.join(words)}: {error}") from None


def _read_make(words: Sequence[str]) -> None:
    targets = [word for word in words if "=" not in word]
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), f"make {target}: no such target"
    given = dict(word.split("=", 1) for word in words if "=" in word)
    for name in given:
        assert re.search(rf"\b{name}\b", MAKEFILE), f"make {' '.join(targets)}: no variable {name}"
    if targets == ["sim"]:
        _read_options("sim", list(_as_options(given)))


def _as_options(given: dict[str, str]) -> Iterator[str]:
    for name, value in given.items():
        option = name.lower().replace("_", "-")
        if value in ("true", "false") and name != "ADAPTIVE":
            yield f"--{option}" if value == "true" else f"--no-{option}"
        else:
            yield from (f"--{option}", value)


def _read_python(words: Sequence[str]) -> None:
    if words[:1] != ["-m"] or words[1:] == [] or words[1].split(".")[0] not in ("bench", "tools", "stvla_ros", "test"):
        return
    assert importlib.util.find_spec(words[1]), f"python -m {words[1]}: no such module"
    if words[1] == "bench":
        assert set(words[2:]) <= {*PARTS, *LONG_PARTS, "NAME", _OPEN}, f"python -m bench {words[2:]}: no such part"
    if words[1] == "tools.security_policy" and (name := next((each for each in words if each in COMMANDS), "")):
        _read_options(name, words[words.index(name) + 1 :])


def _read_ros2(words: Sequence[str]) -> None:
    nodes = (REFERENCE / "nodes.md").read_text()
    match [word for word in words if not word.startswith("--")]:
        case ["launch", "stvla_ros", file, *arguments] if file != "NAME":
            given = dict(each.split(":=", 1) for each in arguments if ":=" in each)
            _read_options(_LAUNCHED[file], list(_as_options({name.upper(): value for name, value in given.items()})))
        case ["run", "stvla_ros", executable, *_] if executable not in ("NAME", _OPEN):
            assert executable in executables(), f"ros2 run stvla_ros {executable}: no such executable"
        case ["topic", _, *_, topic] if not _OTHERS.search(topic) and topic not in ("TOPIC", "/diagnostics"):
            assert f"| `{topic.removeprefix('/')}` |" in nodes, f"ros2 topic {topic}: no such topic"
        case ["service", "call", service, type_, *_] if "DRIVER" not in service and type_ != _OPEN:
            row = f"| `{service.removeprefix('/')}` | `{type_}` |"
            assert row in nodes, f"ros2 service call {service}: no such service of type {type_}"
        case ["action", "send_goal", *rest]:
            named = [word for word in rest if word.startswith("/")]
            assert all(f"| `{word.removeprefix('/')}` |" in nodes for word in named), f"{named}: no such action"


_READERS = {"stvla": _read_stvla, "make": _read_make, "python": _read_python, "ros2": _read_ros2}


def wrong(text: str) -> list[str]:
    """What is wrong with the commands of a page."""
    found = []
    for program, *words in commands(text):
        try:
            _READERS[program](words)
        except AssertionError as error:
            found.append(str(error).partition("\n")[0])
    return found


def test_every_command_of_the_pages_can_be_given() -> None:
    found = {page.name: wrong(page.read_text()) for page in pages()}
    assert {page: lines for page, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "stvla simulate",
        "stvla model eat",
        "stvla sim --epsiodes 3",
        "stvla sim --episodes many",
        "stvla sim --pacing slow",
        "stvla eval --episodes 0 --tasks stack_cube",
        "stvla sim --policy expert && stvla convert",
        "make simulate",
        "make sim EPISODE=3",
        "make sim PACING=slow",
        "python -m bench no_part",
        "python -m tools.nothing",
        "ros2 launch stvla_ros sim.launch.py tsk:=stack_cube",
        "ros2 run stvla_ros no_node",
        "ros2 topic echo /comand",
        "ros2 service call /widowx_driver/home std_srvs/srv/SetBool",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    block = f"```bash\nmake sim EPISODES=3      # as usual\n{line}\n```\n"
    if line.endswith("convert"):  # required arguments are the command's own matter
        assert wrong(block) == []
    else:
        assert len(wrong(block)) == 1


def test_the_readme_names_what_continuous_integration_runs() -> None:
    runs = re.findall(r"^make ([\w-]+) \|\| failed=1$", (REPOSITORY / ".ci/run").read_text(), re.MULTILINE)
    assert runs == ["test", "test-long"]
    assert any(words[:2] == ["make", "test"] for words in commands((REPOSITORY / "README.md").read_text()))


def moment(step: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a thing that moves to the right, (120, 160, 3) uint8, and its depth, (120, 160) uint16 mm."""
    noise = np.random.default_rng(0)
    picture, thing = noise.integers(0, 80, (120, 160, 3), np.uint8), noise.integers(90, 255, (40, 40, 3), np.uint8)
    depth = np.full((120, 160), 900, np.uint16)
    place = slice(40, 80), slice(10 + 4 * step, 50 + 4 * step)
    picture[place], depth[place] = thing, 600
    return picture, depth


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """The folder of a film that is called as the tutorial calls it."""
    film = cv2.VideoWriter(str(tmp_path / "my_video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 120))
    for step in range(25):
        film.write(moment(step)[0])
    film.release()
    return tmp_path


# What stands in docs/how-to/add-a-*.md is installed first: plugins/test_how_to_pages.py.
_RUN = [page for page in pages() if run_lines(page.read_text()) and not page.name.startswith("add-a-")]


@pytest.mark.parametrize("page", _RUN, ids=lambda page: page.name)
def test_the_commands_that_a_page_says_to_run_do(
    page: Path, video: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(video)
    for line in run_lines(page.read_text()):
        program, *words = shlex.split(line)
        assert program == "stvla"
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code in (0, None), f"{line}: {capsys.readouterr().err}"


def test_the_numbers_of_a_traced_video_are_where_the_tutorial_reads_them(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = REPOSITORY / "docs/tutorial/your-own-video.md"
    assert page in _RUN
    monkeypatch.chdir(video)
    for line in run_lines(page.read_text()):
        with pytest.raises(SystemExit):
            main(shlex.split(line)[1:])
    assert Path("out/my_video/index.html").is_file()
    names: dict = {}
    [example] = [block.text for block in blocks(page.read_text()) if block.language == "python"]
    exec(compile(example, page.name, "exec"), names)
    assert names["frame"]["points"].shape[2] == 2 and names["frame"]["points"].shape[1] > 0


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Where `make sim RECORD=true` leaves a bag with depth."""
    with BagWriter(tmp_path / "out/sim/latest/bag") as bag:
        for topic, name in {"/image": "Image", "/camera_info": "CameraInfo", "/sensor_depth": "Image"}.items():
            bag.add_topic(topic, f"sensor_msgs/msg/{name}")
        for step in range(8):
            picture, depth = moment(2 * step)
            header = make_header((step + 1) * 200_000_000, "camera")
            messages = {
                "/image": array_to_image(picture, "rgb8", header),
                "/camera_info": make_camera_info(np.array([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]]), 160, 120, header),
                "/sensor_depth": array_to_image(depth, "16UC1", header),
            }
            for topic, message in messages.items():
                bag.write(topic, (step + 1) * 200_000_000, serialize_message(message))
    return tmp_path


def test_the_example_of_the_readme_runs(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = [block.text for block in blocks((REPOSITORY / "README.md").read_text()) if block.language == "python"]
    monkeypatch.chdir(recorded)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == 8
    assert names["answer"].actions.shape == (8, 7)
    assert (names["seen"].traced_depth > 0).all() and names["seen"].traces.points.shape[1] > 0
    overlay = cv2.imread("overlay.png")[..., ::-1]
    assert overlay.shape == (120, 160, 3) and (overlay != names["frame"].rgb).any()
