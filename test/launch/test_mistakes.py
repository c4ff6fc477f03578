"""What one types wrong is told by the command itself, before anything starts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stvla_ros.cli import main
from stvla_ros.evaluation.ablate import AblateArguments
from stvla_ros.evaluation.plan import EvalArguments
from stvla_ros.graph import supervisor
from stvla_ros.graph.arguments import RobotArguments, SimArguments
from stvla_ros.learning.demonstrations.record import RecordArguments
from stvla_ros.recordings.video_writer import VideoWriter
from stvla_ros.settings import ranges

# A _ after a colon stands for a space. The task is one that needs no download.
MISTAKES: tuple[tuple[str, str], ...] = (
    # sim
    ("sim --checkpoint no/such/folder", "checkpoint: expected a folder with config.json, a shipped model"),
    ("sim --checkpoint no/such", "checkpoint no/such: there is no such folder, and the hub has none"),
    ("sim --checkpoint smal", "got 'smal' (did you mean small?)"),
    ("sim --checkpoint models", "checkpoint models: expected "),
    ("sim --unnorm-key nope", "unnorm_key: expected one of stvla; got 'nope'"),
    ("sim --device cuda:99", "device: 'cuda:99' asked for, but torch sees"),
    ("sim --device gpu", "device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
    ("sim --policy nope", "policy: expected one of expert, random, stvla or a place like my_package"),
    ("sim --policy no_such_place:Mine", "policy no_such_place:Mine: cannot be imported (ModuleNotFoundError"),
    ("sim --policy-parameters {temperature:_hot}", "temperature: expected 0 (greedy) to 100, got 'hot'"),
    ("sim --policy-parameters {seed:_-1}", "seed: expected a whole number from 0"),
    ("sim --policy-parameters {nope:_1}", "policy stvla: takes no nope"),
    ("sim --explain", "explain: expected a policy that answers in words, as one of the family st4vla does; spatialvla"),
    ("sim --explain --policy expert", "explain: expected a policy that answers in words, as one of the family st4vla"),
    ("sim --buffer 0", "buffer: expected a whole number from 2 to 1000, got 0"),
    ("sim --buffer 1001", "buffer: expected a whole number from 2 to 1000, got 1001"),
    ("sim --episodes -1", "episodes: expected a whole number from 0"),
    ("sim --first-episode 24", "episodes: task panda_pick_cube has episodes 0 to 23, asked for up to 26"),
    ("sim --seed -1", "seed: expected a whole number from 0"),
    ("sim --max-steps -1", "max_steps: expected a whole number from 0"),
    ("sim --tracker nope", "tracker: expected one of lucas_kanade, kinematic, cotracker, tapnext, got 'nope'"),
    ("sim --tracker-parameters {nope:_1}", "tracker lucas_kanade: unknown parameter 'nope'"),
    ("sim --tracker-parameters {window:_wide}", "tracker lucas_kanade: "),
    ("sim --tracker cotracker --tracker-parameters {grid_size:_0}", "cotracker grid_size: expected 1 to 100, got 0"),
    ("sim --depth nope", "depth: expected one of sensor, constant, zoedepth, depth_anything, got 'nope'"),
    ("sim --depth zoedepth --depth-parameters {nope:_1}", "depth: backend 'zoedepth': got an unexpected"),
    ("sim --depth zoedepth --depth-parameters {checkpoint:_no/such}", "depth checkpoint no/such: there is no such"),
    (
        "sim --depth zoedepth --depth-parameters {checkpoint:_/no}",
        "depth checkpoint: expected a folder",
    ),
    ("sim --depth depth_anything --depth-parameters {network_size:_0}", "depth network_size: expected 1 to 4096"),
    ("sim --depth constant --depth-parameters {distance:_0}", "depth constant: distance: expected metres above 0"),
    ("sim --params-file nope", "params_file: expected a ROS 2 parameter file, there is no"),
    ("sim --output /dev/null/run", "output: expected a folder that can be written"),
    # robot
    (
        "robot --robot nope",
        "robot: expected one of fr3, google_robot, panda, so101, ur5e_robotiq, widowx, xarm6, xarm7",
    ),
    ("robot --replay nope.mp4", "recording nope.mp4: there is no such file or folder"),
    ("robot --replay README.md", "video README.md: cannot be read after 0 frames"),
    ("robot --replay film.mp4 --depth sensor", "depth: expected another than sensor, film.mp4 has no depth"),
    ("robot --replay film.mp4 --replay-parameters {nope:_1}", "replay_parameters.nope: no such key"),
    ("robot --replay film.mp4 --replay-parameters {rate:_0}", "replay_parameters.rate: expected a number from 0.01"),
    ("robot --image-topic 2d", "image_topic: expected a topic's name, got '2d'"),
    ("robot --estop-heartbeat 61", "estop_heartbeat: expected a number from 0.0 to 60.0, got 61.0"),
    # trace
    ("trace nope.mp4", "recording nope.mp4: there is no such file or folder"),
    ("trace README.md", "video README.md: cannot be read after 0 frames"),
    ("trace film.mp4 --depth sensor", "depth: expected another than sensor, film.mp4 has no depth"),
    ("trace film.mp4 --depth nope", "depth: expected one of sensor, constant, zoedepth, depth_anything, got 'nope'"),
    ("trace film.mp4 --buffer 1", "buffer: expected a whole number from 2 to 1000, got 1"),
    ("trace film.mp4 --tracker kinematic", "tracker: expected one that needs no robot, got kinematic"),
    ("trace film.mp4 --output models", "expected a new or empty folder, it has files"),
    # eval, ablate
    ("eval", "policies: expected at least one"),
    ("eval --policies smal", "or a hub id, got 'smal' (did you mean small?)"),
    ("eval --policies no/such", "policy such: checkpoint no/such: there is no such folder, and the hub has none"),
    ("eval --policies small?temperature=hot", "temperature: expected 0 (greedy) to 100, got 'hot'"),
    ("eval --policies small?buffer=1001", "policy small: buffer: expected an integer of at least 2 frames and at most"),
    ("eval --policies small?unnorm_key=nope", "unnorm_key: expected one of stvla; got 'nope'"),
    ("eval --policies small?depth=zoedepth,depth_parameters={nope:1}", "depth: backend 'zoedepth': got an unexpected"),
    ("eval --policies random --episodes 0", "episodes: expected a whole number from 1"),
    ("eval --policies random --workers 0", "workers: expected a whole number from 1"),
    ("ablate buffer --policy smal", "or a hub id, got 'smal' (did you mean small?)"),
    (
        "ablate buffer --policy small --settings 1001",
        "buffer: expected an integer of at least 2 frames and at most",
    ),
    ("ablate data --policy small --config nope", "config: expected a training configuration, there is no nope"),
    # record, train, model
    ("record --tasks nope", "task 'nope': no such task"),
    ("record --tasks panda_pick_cube --episodes 0", "episodes, grounding: expected at least 1 of one of them"),
    ("record --tasks panda_pick_cube --image-width 4", "image_width: expected a whole number from 32"),
    ("record --tasks panda_pick_cube --linger -1", "linger: expected a whole number from 0"),
    ("record --tasks panda_pick_cube --policy no/such", "policy such: checkpoint no/such: there is no such folder"),
    ("train --config nope", "config nope: expected a YAML file"),
    (
        "train --config CONFIG --set data.paths=[nope]",
        "data.paths: expected a LeRobotDataset, there is no",
    ),
    ("train --config CONFIG --set steps=-1", "steps: expected 0 to"),
    ("model merge --adapter nope --output out", "checkpoint: expected a folder with config.json"),
    ("model merge --adapter small --output out", "expected a file adapter_config.json, there is none"),
    ("model merge --adapter small --output .", "expected a new or empty folder, it is there already"),
    ("model create --size huge --output out", "size: expected one of tiny, small"),
    ("model inspect --checkpoint no/such", "checkpoint no/such: there is no such folder, and the hub has none"),
    # the command itself
    ("simulate", "stvla simulate: no such command; did you mean stvla sim?"),
    ("model mrege", "stvla model mrege: no such command; did you mean stvla model merge?"),
    ("tasks --robot pandas", "and one of the robots google_robot, panda, widowx, got '' and 'pandas'"),
)
CONFIG = str(Path(__file__).parents[2] / "config" / "train" / "first.yaml")


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a film that has no depth, and a folder ``models``."""
    with VideoWriter(tmp_path / "film.mp4", 20.0) as writer:
        for _ in range(3):
            writer.write(np.zeros((32, 48, 3), np.uint8))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "read me").touch()
    (tmp_path / "README.md").write_text("no film\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_before_anything_starts(
    line: str,
    said: str,
    folder: Path,
    without_network: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(supervisor.subprocess, "Popen", refuse)
    words = [word.replace(":_", ": ") for word in line.split()]
    words = [CONFIG if word == "CONFIG" else word for word in words]
    if words[0] == "sim":
        words += ["--task", "panda_pick_cube"]
    elif words[0] in ("eval", "ablate"):
        words += ["--tasks", "panda_pick_cube"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.err.startswith("error: ") and told.err.count("\n") == 1, told.err
    assert said in told.err


def test_every_command_checks_its_ranges_before_it_begins() -> None:
    for kind, name in ((SimArguments, "seed"), (RobotArguments, "estop_heartbeat"), (EvalArguments, "seeds")):
        assert name in ranges(kind)
    assert {*ranges(RecordArguments)} >= {"episodes", "seed", "linger", "image_width", "image_height", "workers"}
    same = ("episodes", "seeds", "workers")
    assert [ranges(AblateArguments)[name] for name in same] == [ranges(EvalArguments)[name] for name in same]
