"""Episodes in worker processes: results kept, deaths reported, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripted_environment import EPISODES, make_scripted

from stvla_ros.acting import episode
from stvla_ros.acting.episode import Rules
from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.evaluation.episode_worker import WorkerSettings, _Episodes
from stvla_ros.evaluation.journal import JOURNAL, official_episodes
from stvla_ros.evaluation.runner import run_episodes
from stvla_ros.policy.inputs import InputsConfig

SCRIPT = Path(__file__).with_name("run_scripted.py")
TABLES = ("table.md", "table.csv", "table.json")


def _run(
    keys: list[EpisodeKey], policies: list[EvaluatedPolicy], folder: Path, workers: int = 2, pictures: str = "none"
) -> tuple[list[EpisodeResult], list[str], list[EpisodeKey]]:
    by_label = {policy.label: policy for policy in policies}
    settings = WorkerSettings(by_label, Rules(), pictures, folder, make_scripted)
    results: list[EpisodeResult] = []
    lines: list[str] = []
    failed = run_episodes(keys, settings, workers, results.append, lines.append)
    return results, lines, failed


def _keys(tasks: list[str], policies: list[str] = ["expert"]) -> list[EpisodeKey]:  # noqa: B006
    return official_episodes(policies, tasks, [0], dict.fromkeys(tasks, EPISODES))


def _deterministic(results: list[EpisodeResult]) -> list[tuple]:
    return sorted((each.key, each.success, each.steps, tuple(each.conditions.items())) for each in results)


def test_the_number_of_workers_does_not_change_the_results(tmp_path: Path) -> None:
    policies = [parse_policy("expert"), parse_policy("random")]
    keys = _keys(["reach", "reach_far"], ["expert", "random"])
    alone, lines, failed = _run(keys, policies, tmp_path, workers=1)
    assert not lines and not failed
    together, _, _ = _run(keys, policies, tmp_path, workers=3)
    assert len(alone) == len(keys)
    assert _deterministic(alone) == _deterministic(together)


def test_a_worker_that_dies_is_reported_and_the_other_results_are_kept(tmp_path: Path) -> None:
    results, lines, failed = _run(_keys(["crash"]), [parse_policy("expert")], tmp_path)
    assert failed == [EpisodeKey("crash", "expert", 0, 1)]
    assert lines == ["expert on crash, seed 0, episode 1: the worker was killed by signal 9"]
    assert sorted(result.key.episode for result in results) == [0, 2, 3, 4, 5]


def test_an_episode_that_fails_to_run_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    results, lines, failed = _run(_keys(["fragile"]), [parse_policy("expert")], tmp_path, workers=1)
    assert failed == [EpisodeKey("fragile", "expert", 0, 1)]
    assert lines == ["expert on fragile, seed 0, episode 1: RuntimeError: the simulator fell over"]
    assert len(results) == EPISODES - 1


def test_a_policy_that_cannot_be_had_is_reported_once_a_worker(tmp_path: Path) -> None:
    missing = EvaluatedPolicy("gone", "expert", inputs=InputsConfig(tracker_parameters={"corners": 3}))
    keys = _keys(["reach"], ["gone", "expert"])
    results, lines, failed = _run(keys, [missing, parse_policy("expert")], tmp_path, workers=1)
    assert {key.policy for key in failed} == {"gone"} and len(failed) == EPISODES
    [line] = lines
    assert line.startswith("policy gone: tracker lucas_kanade: unknown parameter 'corners'")
    assert {result.key.policy for result in results} == {"expert"} and len(results) == EPISODES


def test_workers_that_only_die_are_given_up(tmp_path: Path) -> None:
    keys = [EpisodeKey("crash", "expert", seed, 1) for seed in range(6)]
    results, lines, failed = _run(keys, [parse_policy("expert")], tmp_path, workers=1)
    assert not results and sorted(failed) == keys
    assert len(lines) == 4 and lines[-1] == "3 episodes were not begun: 3 workers died one after the other"


def _start(folder: Path, workers: int = 2) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    command = [sys.executable, str(SCRIPT), "slow", str(folder), str(workers)]
    return subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that are started in the background inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _lines(folder: Path) -> int:
    file = folder / JOURNAL
    return len(file.read_text().splitlines()) if file.exists() else 0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for_lines(process: subprocess.Popen, folder: Path, count: int) -> None:
    ends = time.monotonic() + 120
    while _lines(folder) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = _start(folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder


def test_two_runs_give_the_same_table_byte_for_byte(undisturbed: Path, tmp_path: Path) -> None:
    process = _start(tmp_path, workers=1)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_at_any_moment_it_goes_on_and_gives_the_same_table(
    number: signal.Signals, undisturbed: Path, tmp_path: Path
) -> None:
    process = _start(tmp_path)
    _wait_for_lines(process, tmp_path, 10)
    workers = _children(process.pid)
    process.send_signal(number)
    process.wait(120)
    done = _lines(tmp_path)
    assert 10 <= done < 24
    ends = time.monotonic() + 60
    while alive := [pid for pid in workers if _runs(pid)]:
        assert time.monotonic() < ends, f"workers survive: {alive}"
        time.sleep(0.05)
    again = _start(tmp_path)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert _lines(tmp_path) == 24, "what was finished is not repeated"
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_every_episode_has_a_video_and_a_thumbnail(undisturbed: Path) -> None:
    for line in (undisturbed / JOURNAL).read_text().splitlines():
        key = EpisodeKey(**json.loads(line)["key"])
        for ending in (".mp4", ".jpg"):
            assert (undisturbed / "pictures" / f"{key.file_stem}{ending}").stat().st_size > 500


def test_a_policy_that_draws_is_loaded_once_and_draws_in_each_episode_as_if_made_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _keys(["reach"], ["random"])
    alone = []
    for key in keys:  # a worker of its own for each
        alone += _run([key], [parse_policy("random")], tmp_path, workers=1)[0]
    loaded = []
    load = episode.load_evaluated_policy

    def counted(*given):
        loaded.append(given)
        return load(*given)

    monkeypatch.setattr(episode, "load_evaluated_policy", counted)
    settings = WorkerSettings({"random": parse_policy("random")}, Rules(), "none", tmp_path, make_scripted)
    with _Episodes(settings) as episodes:
        together = [episodes.run(key) for key in keys]
    assert _deterministic(together) == _deterministic(alone) and len(loaded) == 1
