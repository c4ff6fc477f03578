"""Tables out of results."""

import csv
import io
import json
import random
from pathlib import Path

import pytest

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.evaluation.intervals import holm
from stvla_ros.evaluation.tables import (
    MEAN,
    Beside,
    as_csv,
    as_json,
    as_markdown,
    corrected,
    make_table,
    write_table,
    write_timings,
)


def _result(policy: str, task: str, episode: int, success: bool, seed: int = 0, **more: object) -> EpisodeResult:
    return EpisodeResult(EpisodeKey(task, policy, seed, episode), success, more.pop("ever", success), 10, **more)


@pytest.fixture
def results() -> list[EpisodeResult]:
    """`good` solves 4 of 4 and 2 of 4, `bad` 1 of 4 and none."""
    made = []
    for episode in range(4):
        made.append(_result("good", "a", episode, True, conditions={"grasped": True, "placed": True}))
        made.append(
            _result("bad", "a", episode, episode == 0, conditions={"grasped": episode < 2, "placed": episode == 0})
        )
        made.append(_result("good", "b", episode, episode < 2))
        made.append(_result("bad", "b", episode, False))
    return made


def test_a_row_counts_its_own_episodes(results: list[EpisodeResult]) -> None:
    table = make_table(results, ["good", "bad"], ["a", "b"])
    row = table.row("bad", "a")
    assert (row.success.value, row.success.n) == (0.25, 4)
    assert row.conditions == {"grasped": 0.5, "placed": 0.25}
    assert row.conditions_met.value == pytest.approx(0.375)
    assert table.row("good", "b").conditions_met.value == 0.5, "without conditions success counts as the only one"


def test_the_mean_counts_every_task_alike(results: list[EpisodeResult]) -> None:
    extra = [_result("good", "a", episode, True) for episode in range(4, 24)]
    table = make_table([*results, *extra], ["good", "bad"], ["a", "b"])
    assert table.row("good", MEAN).success.value == pytest.approx(0.75)
    assert table.row("good", MEAN).success.n == 28


def test_one_task_has_no_mean(results: list[EpisodeResult]) -> None:
    assert [row.task for row in make_table(results, ["good"], ["a"]).rows] == ["a"]


def test_policies_are_compared_with_the_first_on_the_same_episodes(results: list[EpisodeResult]) -> None:
    table = make_table(results, ["good", "bad"], ["a", "b"])
    assert table.row("good", "a").p_value is None
    assert table.row("bad", "a").pairs == (1, 0, 3, 0)
    assert table.row("bad", "a").p_value == pytest.approx(0.25)  # McNemar, 3 discordant pairs
    assert table.row("bad", MEAN).pairs == (1, 0, 5, 2)
    assert table.row("bad", MEAN).p_value == pytest.approx(2 / 2**5)


def test_episodes_that_only_one_has_are_not_compared(results: list[EpisodeResult]) -> None:
    without = [result for result in results if (result.key.policy, result.key.episode) != ("good", 3)]
    assert make_table(without, ["good", "bad"], ["a"]).row("bad", "a").pairs == (1, 0, 2, 0)


def test_the_order_of_the_results_does_not_show(results: list[EpisodeResult]) -> None:
    shuffled = results.copy()
    random.Random(1).shuffle(shuffled)
    tables = [make_table(order, ["good", "bad"], ["a", "b"]) for order in (results, shuffled)]
    for write in (as_markdown, as_csv, as_json):
        assert write(tables[0]) == write(tables[1])


def test_timings_are_in_no_table(results: list[EpisodeResult], tmp_path: Path) -> None:
    timed = [_result("good", "a", 0, True, inference_ms={"p50": 123.4, "p99": 567.8})]
    plain = [_result("good", "a", 0, True)]
    for write in (as_markdown, as_csv, as_json):
        assert write(make_table(timed, ["good"], ["a"])) == write(make_table(plain, ["good"], ["a"]))
    write_timings(timed, ["good"], tmp_path)
    assert (tmp_path / "timings.csv").read_text().splitlines()[1] == "good,1,123.40,567.80,567.80"


def test_timings_tell_the_median_and_the_worst_of_each_policys_episodes(tmp_path: Path) -> None:
    timed = [
        _result(policy, "a", episode, True, inference_ms={"p50": scale * p50, "p99": scale * p99})
        for policy, scale in (("good", 1.0), ("bad", 10.0))
        for episode, (p50, p99) in enumerate([(1.0, 50.0), (2.0, 9.0), (6.0, 7.0)])
    ]
    write_timings([*timed, _result("good", "a", 3, True), _result("other", "a", 0, True)], ["good", "bad"], tmp_path)
    assert (tmp_path / "timings.csv").read_text().splitlines()[1:] == [
        "good,3,2.00,9.00,50.00",
        "bad,3,20.00,90.00,500.00",
    ]


def test_markdown_says_rate_count_interval_and_p_value(results: list[EpisodeResult]) -> None:
    lines = as_markdown(make_table(results, ["good", "bad"], ["a", "b"])).splitlines()
    assert len(lines) == 2 + 6
    assert len({line.count("|") for line in lines}) == 1
    cells = [cell.strip() for cell in lines[5].split("|")]
    assert cells[1:5] == ["bad", "a", "**25.0 %** (1/4)", "4.6 % to 69.9 %"]
    assert cells[5] == "37.5 %: grasped 50.0 %, placed 25.0 %"
    assert cells[-2] == "0.25"


def test_p_values_are_corrected_for_their_number_with_those_of_the_means(results: list[EpisodeResult]) -> None:
    table = corrected(make_table(results, ["good", "bad"], ["a", "b"]))
    compared = [row for row in table.rows if row.policy == "bad"]
    assert [row.p_corrected for row in compared] == pytest.approx(holm([row.p_value for row in compared]))
    assert all(row.p_corrected is None for row in table.rows if row.policy == "good")
    lines = as_markdown(table).splitlines()
    assert lines[0].endswith("| p against the first | p, corrected |") and len({line.count("|") for line in lines}) == 1
    assert lines[5].endswith("| 0.25 | 0.5 |")
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert float(rows[3]["p_corrected"]) == 0.5 and rows[0]["p_corrected"] == ""


def test_success_at_any_time_is_told_apart_only_where_it_differs(results: list[EpisodeResult]) -> None:
    assert "ever" not in as_markdown(make_table(results, ["good"], ["a"]))
    lost = [*results, _result("good", "a", 4, False, ever=True)]
    text = as_markdown(make_table(lost, ["good"], ["a"]))
    assert "| ever |" in text and "**80.0 %** (4/5)" in text and "| 100.0 % |" in text


def test_csv_and_json_say_the_same_as_the_rows(results: list[EpisodeResult]) -> None:
    table = make_table(results, ["good", "bad"], ["a", "b"])
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    objects = json.loads(as_json(table))
    assert len(rows) == len(objects) == len(table.rows)
    for row, each, wanted in zip(rows, objects, table.rows):
        assert (row["policy"], row["task"], int(row["n"])) == (wanted.policy, wanted.task, wanted.success.n)
        for name in ("value", "low", "high"):
            said = float(row["success" if name == "value" else f"success_{name}"])
            assert said == pytest.approx(getattr(wanted.success, name), abs=1e-6)
            assert each["success"][name] == pytest.approx(getattr(wanted.success, name), abs=1e-6)
        assert float(row["mean_steps"]) == each["mean_steps"] == wanted.mean_steps == 10
        assert each["p_value"] == (None if wanted.p_value is None else pytest.approx(wanted.p_value, abs=1e-6))


def test_others_figures_stand_beside_the_row_they_belong_to(results: list[EpisodeResult], tmp_path: Path) -> None:
    table = make_table(results, ["good", "bad"], ["a", "b"])
    write_table(table, tmp_path, "some", ["A note."], Beside("paper", {("bad", "a"): 9.1}))
    lines = (tmp_path / "some.md").read_text().splitlines()
    assert [line.split("|")[-2].strip() for line in lines[2:8]] == ["", "", "", "9.1 %", "", ""]
    assert lines[-1] == "A note."
    assert (tmp_path / "some.csv").is_file() and (tmp_path / "some.json").is_file()
