"""The journal of results: resumed, cut off, of another evaluation."""

from pathlib import Path

import pytest

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.errors import InputError
from stvla_ros.evaluation.journal import Journal, official_episodes

COMMON = {"until_limit": False, "max_steps": 0}
POLICIES = {"ours": {"policy": "stvla", "traces": "depth"}}


def _result(episode: int) -> EpisodeResult:
    key = EpisodeKey("reach", "ours", 0, episode)
    return EpisodeResult(key, True, True, 7, "go", {"near": True}, 1, {"calls": 7, "p50": 1.5})


def test_results_are_there_again_when_it_is_opened_again(tmp_path: Path) -> None:
    with Journal(tmp_path, COMMON, POLICIES) as journal:
        journal.add(_result(0))
        journal.add(_result(2))
    with Journal(tmp_path, COMMON, POLICIES) as journal:
        assert journal.results == {result.key: result for result in (_result(0), _result(2))}
        keys = official_episodes(["ours"], ["reach"], [0], {"reach": 3})
        assert journal.missing(keys) == [EpisodeKey("reach", "ours", 0, 1)]


def test_a_line_that_was_cut_off_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    with Journal(tmp_path, COMMON, POLICIES) as journal:
        journal.add(_result(0))
        journal.add(_result(1))
    data = journal.path.read_bytes()
    for end in (len(data) - 1, len(data) - 40):
        journal.path.write_bytes(data[:end])
        with Journal(tmp_path, COMMON, POLICIES) as again:
            assert list(again.results) == [_result(0).key]
            again.add(_result(1))
        assert journal.path.read_bytes() == data


@pytest.mark.parametrize(
    ("common", "policies", "said"),
    [
        ({**COMMON, "until_limit": True}, POLICIES, "with until_limit False, asked for True"),
        (COMMON, {"ours": {"policy": "stvla", "traces": "none"}}, "policy ours with traces 'depth', asked for 'none'"),
    ],
)
def test_another_evaluation_in_the_same_folder_is_refused(
    common: dict, policies: dict, said: str, tmp_path: Path
) -> None:
    with Journal(tmp_path, COMMON, POLICIES) as journal:
        journal.add(_result(0))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError, match="choose another folder") as raised:
        Journal(tmp_path, common, policies)
    assert said in str(raised.value)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_policies_may_be_added_and_left_out(tmp_path: Path) -> None:
    with Journal(tmp_path, COMMON, POLICIES) as journal:
        journal.add(_result(0))
    other = {"random": {"policy": "random", "traces": "none"}}
    with Journal(tmp_path, COMMON, other) as journal:
        assert len(journal.results) == 1
    with pytest.raises(InputError, match="policy ours"):
        Journal(tmp_path, COMMON, {"ours": {"policy": "expert", "traces": "none"}})


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    with Journal(tmp_path, COMMON, POLICIES) as journal:
        journal.add(_result(0))
    journal.path.write_bytes(journal.path.read_bytes() + b'{"key": 3}\n')
    with pytest.raises(InputError, match="episodes.jsonl: line 2: expected an episode's result"):
        Journal(tmp_path, COMMON, POLICIES)


def test_every_policy_seed_and_official_episode_is_asked_for_once() -> None:
    keys = official_episodes(["a", "b"], ["x", "y"], [0, 1], {"x": 3, "y": 1})
    assert len(keys) == len(set(keys)) == 2 * 2 * (3 + 1)
