"""An evaluation's folder that was damaged is refused with one line, and never taken for results."""

import json
from pathlib import Path

from examples import examples
from hypothesis import given
from mutations import changed_tree, damaged, only_bad_input

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.evaluation.journal import JOURNAL, SETTINGS, Journal

COMMON = {"until_limit": False, "max_steps": 0}
POLICIES = {"ours": {"policy": "stvla", "traces": "depth"}}
RESULT = {
    "key": {"task": "reach", "policy": "ours", "seed": 0, "episode": 0},
    "success": True,
    "ever": True,
    "steps": 7,
    "conditions": {"near": True},
    "inference_ms": {"calls": 7, "p50": 1.5},
}


def lines(*documents: object) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def check(folder: Path, file: str, content: bytes) -> None:
    for name in (JOURNAL, SETTINGS):
        (folder / name).unlink(missing_ok=True)
    (folder / file).write_bytes(content)
    with only_bad_input(str(folder)), Journal(folder, COMMON, POLICIES) as journal:
        for key, result in journal.results.items():
            assert isinstance(key, EpisodeKey) and isinstance(result, EpisodeResult)
            assert 0.0 <= result.conditions_met <= 1.0
            assert key.file_stem


@examples(quick=15)
@given(damaged(lines(RESULT, RESULT), text=True) | changed_tree(RESULT).map(lambda document: lines(RESULT, document)))
def test_fuzz_journal(tmp_path, content):
    check(tmp_path, JOURNAL, content)


@examples(quick=15)
@given(
    damaged(lines({"common": COMMON, "policies": POLICIES}), text=True)
    | changed_tree({"common": COMMON, "policies": POLICIES}).map(lines)
)
def test_fuzz_journal_settings(tmp_path, content):
    check(tmp_path, SETTINGS, content)
