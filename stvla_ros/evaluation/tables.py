"""The table of an evaluation, as Markdown, CSV and JSON. The same results give the same bytes: nothing in it depends on
the clock. Timings have a file of their own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from stvla_ros.acting.results import EpisodeResult
from stvla_ros.evaluation.intervals import SuccessRate, holm, mean_rate, paired_p_value, rate
from stvla_ros.text_tables import csv_text, markdown_table

MEAN = "mean"
_DIGITS = 6


@dataclass(frozen=True)
class Row:
    """One policy on one task, or on the mean of all tasks.

    :param task: name of the task, or ``MEAN``.
    :param success: success at the end of the episode.
    :param ever: success after any step.
    :param conditions_met: share of the goal conditions that were met at any time: goal-condition success.
    :param conditions: share of episodes that met each condition, by name; empty for the mean.
    :param mean_steps: mean number of steps, over successful and failed episodes.
    :param p_value: p-value of the paired test against the first policy; None for the first policy itself.
    :param p_corrected: p-value corrected for the number of comparisons (``corrected``); None without correction.
    :param pairs: number of the episodes that both have, by who succeeded: both, only this one, only the first, none.
    """

    policy: str
    task: str
    success: SuccessRate
    ever: SuccessRate
    conditions_met: SuccessRate
    conditions: Mapping[str, float]
    mean_steps: float
    p_value: float | None
    pairs: tuple[int, int, int, int] | None
    p_corrected: float | None = None


@dataclass(frozen=True)
class Table:
    """:param rows: rows, ordered by policy and within each by task, the mean last (if there are several tasks)."""

    rows: tuple[Row, ...]

    def row(self, policy: str, task: str) -> Row:
        return next(row for row in self.rows if (row.policy, row.task) == (policy, task))

    @property
    def policies(self) -> list[str]:
        return list(dict.fromkeys(row.policy for row in self.rows))

    @property
    def tasks(self) -> list[str]:
        """The tasks, without the mean."""
        return list(dict.fromkeys(row.task for row in self.rows if row.task != MEAN))

    @property
    def summary_task(self) -> str:
        """``MEAN``, or the only task."""
        return MEAN if len(self.tasks) > 1 else self.tasks[0]


def make_table(results: Iterable[EpisodeResult], policies: Sequence[str], tasks: Sequence[str]) -> Table:
    """
    :param results: results in any order; those of other policies and tasks are left out, and so are rows without
        results.
    :param policies: labels, in the table's order; the others are compared with the first.
    """
    by_row: dict[tuple[str, str], dict[tuple[int, int], EpisodeResult]] = {}
    for result in results:
        key = result.key
        by_row.setdefault((key.policy, key.task), {})[(key.episode, key.seed)] = result
    rows = []
    for policy in policies:
        done = [(task, by_row[policy, task]) for task in tasks if (policy, task) in by_row]
        own = [_row(policy, task, found, by_row.get((policies[0], task), {}), policies[0]) for task, found in done]
        rows += own
        if len(own) > 1:
            rows.append(_mean_row(policy, own, by_row, policies[0]))
    return Table(tuple(rows))


def corrected(table: Table) -> Table:
    """The table with p-values corrected for their number (``intervals.holm``), including those of the means."""
    compared = [row.p_value for row in table.rows if row.p_value is not None]
    values = iter(holm(compared))
    return Table(tuple(row if row.p_value is None else replace(row, p_corrected=next(values)) for row in table.rows))


Episodes = Mapping[tuple[int, int], EpisodeResult]


def _row(policy: str, task: str, found: Episodes, reference: Episodes, first: str) -> Row:
    results = [found[key] for key in sorted(found)]
    names = sorted({name for result in results for name in result.conditions})
    differences, pairs = _compare(found, reference)
    return Row(
        policy,
        task,
        _rate(results, [float(result.success) for result in results]),
        _rate(results, [float(result.ever) for result in results]),
        _rate(results, [result.conditions_met for result in results]),
        {name: float(np.mean([result.conditions.get(name, False) for result in results])) for name in names},
        float(np.mean([result.steps for result in results])),
        None if policy == first else paired_p_value(differences),
        None if policy == first else pairs,
    )


def _mean_row(policy: str, own: Sequence[Row], by_row: Mapping[tuple[str, str], Episodes], first: str) -> Row:
    compared = [_compare(by_row[policy, row.task], by_row.get((first, row.task), {})) for row in own]
    differences = [difference for some, _ in compared for difference in some]
    both, this, first_alone, none = (int(count) for count in np.sum([counts for _, counts in compared], axis=0))
    return Row(
        policy,
        MEAN,
        mean_rate([row.success for row in own]),
        mean_rate([row.ever for row in own]),
        mean_rate([row.conditions_met for row in own]),
        {},
        float(np.mean([row.mean_steps for row in own])),
        None if policy == first else paired_p_value(differences),
        None if policy == first else (both, this, first_alone, none),
    )


def _rate(results: Sequence[EpisodeResult], outcomes: Sequence[float]) -> SuccessRate:
    groups: dict[int, list[float]] = {}
    for result, outcome in zip(results, outcomes):
        groups.setdefault(result.key.episode, []).append(outcome)
    return rate(list(groups.values()))


def _compare(found: Episodes, reference: Episodes) -> tuple[list[int], tuple[int, int, int, int]]:
    """The differences of successes by placement, and the pairs' counts."""
    differences: dict[int, int] = {}
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for key in sorted(found.keys() & reference.keys()):
        ours, theirs = found[key].success, reference[key].success
        counts[ours, theirs] += 1
        differences[key[0]] = differences.get(key[0], 0) + ours - theirs
    both, ours_alone, theirs_alone, neither = counts.values()
    return list(differences.values()), (both, ours_alone, theirs_alone, neither)


# --- files --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beside:
    """Figures of others, shown beside ours.

    :param name: title of the column.
    :param percent: figures in percent, by policy and task.
    """

    name: str
    percent: Mapping[tuple[str, str], float]


def as_markdown(table: Table, notes: Sequence[str] = (), beside: Beside | None = None) -> str:
    """The table for people; ``notes`` are paragraphs below it."""
    ends_differ = any(row.ever != row.success for row in table.rows)
    head = ["policy", "task", "success", "95 % interval", *(["ever"] if ends_differ else []), "goal conditions"]
    is_corrected = any(row.p_corrected is not None for row in table.rows)
    head += ["steps", "p against the first", *(["p, corrected"] if is_corrected else [])]
    head += [beside.name] if beside else []
    lines = []
    for row in table.rows:
        successes = f" ({round(row.success.value * row.success.n)}/{row.success.n})" if row.task != MEAN else ""
        named = ", ".join(f"{name} {_percent(share)}" for name, share in row.conditions.items())
        cells = [
            row.policy,
            row.task if row.task != MEAN else f"**mean** ({row.success.n} episodes)",
            f"**{_percent(row.success.value)}**{successes}",
            f"{_percent(row.success.low)} to {_percent(row.success.high)}",
            *([_percent(row.ever.value)] if ends_differ else []),
            _percent(row.conditions_met.value) + (f": {named}" if named else ""),
            f"{row.mean_steps:.1f}",
            _number(row.p_value),
            *([_number(row.p_corrected)] if is_corrected else []),
            *([_others(beside, row)] if beside else []),
        ]
        lines.append(cells)
    return markdown_table(head, lines, notes)


def as_csv(table: Table) -> str:
    rates = ("success", "ever", "conditions_met")
    ends = ("", "_low", "_high")
    pairs = ("both", "only_this", "only_first", "none")
    head = ["policy", "task", "n", *(r + e for r in rates for e in ends), "mean_steps", "p_value", "p_corrected"]
    rows = []
    for row in table.rows:
        values = [
            v for name in rates for v in (getattr(row, name).value, getattr(row, name).low, getattr(row, name).high)
        ]
        p_values = ["" if p is None else p for p in (row.p_value, row.p_corrected)]
        numbers = [*values, row.mean_steps, *p_values]
        rows.append([row.policy, row.task, row.success.n, *numbers, *(row.pairs or [""] * 4)])
    return csv_text([*head, *pairs], rows)


def as_json(table: Table) -> str:
    return json.dumps([_rounded(asdict(row)) for row in table.rows], indent=2) + "\n"


def write_table(
    table: Table, folder: Path, name: str = "table", notes: Sequence[str] = (), beside: Beside | None = None
) -> None:
    """Write ``name``.md, .csv and .json into the folder. Notes and others' figures are in the Markdown alone."""
    markdown = as_markdown(table, notes, beside)
    for ending, text in (("md", markdown), ("csv", as_csv(table)), ("json", as_json(table))):
        (folder / f"{name}.{ending}").write_text(text)


def write_timings(results: Iterable[EpisodeResult], policies: Sequence[str], folder: Path) -> None:
    """Write ``timings.csv``: the wall time of the policies' inferences, as the median and the maximum over each
    policy's episodes.
    """
    lines = ["policy,episodes,p50_ms_median,p99_ms_median,p99_ms_max"]
    by_policy: dict[str, list[EpisodeResult]] = {policy: [] for policy in policies}
    for result in results:
        if result.key.policy in by_policy and "p50" in result.inference_ms:
            by_policy[result.key.policy].append(result)
    for policy, found in by_policy.items():
        if found:
            p50, p99 = ([result.inference_ms[name] for result in found] for name in ("p50", "p99"))
            lines.append(f"{policy},{len(found)},{np.median(p50):.2f},{np.median(p99):.2f},{max(p99):.2f}")
    (folder / "timings.csv").write_text("\n".join(lines) + "\n")


def _others(beside: Beside, row: Row) -> str:
    percent = beside.percent.get((row.policy, row.task))
    return "" if percent is None else f"{percent:.1f} %"


def _number(p_value: float | None) -> str:
    return "" if p_value is None else f"{p_value:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
