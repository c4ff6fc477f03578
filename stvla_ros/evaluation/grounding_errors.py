"""How well networks say where things are: they are asked about official episodes before and after they learn to act."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.atomic_files import make_folder, write_json
from stvla_ros.evaluation.intervals import SuccessRate, rate
from stvla_ros.learning.grounding.reading import GroundingQuestions, GroundingSample, read_grounding
from stvla_ros.policy.families import family_of
from stvla_ros.policy.grounding.answers import BOXES, POINTS, WAY, parse_answer
from stvla_ros.text_tables import csv_text, markdown_table

RIGHT_FROM = 0.5
"""Overlap from which a box counts as right, as in RefCOCO."""
_BATCH, _TOKENS = 16, 160
_WAYPOINTS = 8
_NOTES = (
    f"Boxes: the overlap is intersection over union; a box is right from {RIGHT_FROM:g} on, with its 95 % interval "
    "(questions about one picture count as one cluster). Points and ways: medians, in pixels of the picture that the "
    "network sees; a missing answer counts as one picture's side. Before: after stage 1, before actions were learnt. "
    "The questions are about the official episodes, which no network has seen."
)


@dataclass(frozen=True)
class Errors:
    """Errors of the answers to some questions.

    :param overlap: mean overlap of the boxes, 0 to 1.
    :param right: share of the boxes that are right.
    :param point: median distance of the points from the right ones, pixels.
    :param way: median distance of the ways from the right ones, pixels.
    :param readable: share of the answers with the kind of place that was asked for.
    """

    overlap: float
    right: SuccessRate
    point: float
    way: float
    readable: float


def ask_networks(checkpoints: Mapping[str, Path], questions: Sequence[Path], most: int, folder: Path) -> None:
    """Ask each network, unless it was asked before.

    :param checkpoints: folders of the networks by name.
    :param questions: folders of questions.
    :param most: largest number of questions of each form; the same for all networks, evenly from all of them.
    :param folder: folder for ``NAME.json`` with the answers of each network.
    :raises InputError: for unusable files.
    """
    make_folder(folder)
    chosen: list[GroundingSample] = []
    for name, checkpoint in checkpoints.items():
        file = folder / f"{name}.json"
        if file.is_file():
            continue
        chosen = chosen or chosen_questions(questions, most)
        print(f"asking {name} {len(chosen)} questions", flush=True)
        write_json(file, {"answers": list(_answers(checkpoint, chosen))})


def chosen_questions(folders: Sequence[Path], most: int) -> list[GroundingSample]:
    """At most ``most`` questions of each form, evenly from all folders."""
    by_form: dict[str, list[GroundingSample]] = {}
    for folder in folders:
        for sample in read_grounding(folder):
            by_form.setdefault(sample.form, []).append(sample)
    chosen = []
    for samples in by_form.values():
        places = np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int)
        chosen += [samples[place] for place in places]
    return chosen


def _answers(checkpoint: Path, samples: Sequence[GroundingSample]) -> Iterator[dict[str, Any]]:
    model = family_of(checkpoint).load(checkpoint, "auto", "auto")
    asked = GroundingQuestions(samples)
    for first in range(0, len(samples), _BATCH):
        numbers = range(first, min(first + _BATCH, len(samples)))
        seen = [asked.see(number, model.picture_size) for number in numbers]
        said = model.ask_each([each.rgb for each in seen], [each.question for each in seen], _TOKENS)
        for number, each, answer in zip(numbers, seen, said, strict=True):
            sample = samples[number]
            yield {
                "picture": f"{sample.picture.parent.parent.name}/{sample.picture.name}",
                "form": sample.form,
                "side": model.picture_size,
                "right": each.answer,
                "said": answer,
            }


def errors_of(answers: Sequence[Mapping[str, Any]]) -> Errors:
    """:param answers: entries of ``ask_networks``; of several networks, one after the other."""
    overlaps: dict[str, list[float]] = {}
    distances: dict[str, list[float]] = {POINTS: [], WAY: []}
    readable = []
    for entry in answers:
        kind, value = answer_error(entry["right"], entry["said"], entry["side"])
        readable.append(value is not None)
        if kind == BOXES:
            overlaps.setdefault(entry["picture"], []).append(value or 0.0)
        elif kind:
            distances[kind].append(entry["side"] if value is None else value)
    point, way = (float(np.median(found)) if found else float("nan") for found in distances.values())
    groups = [[float(each >= RIGHT_FROM) for each in group] for group in overlaps.values()]
    overlap = float(np.mean(np.concatenate([*overlaps.values()]))) if overlaps else float("nan")
    return Errors(overlap, rate(groups), point, way, float(np.mean(readable)) if readable else 0.0)


def answer_error(right: str, said: str, side: int) -> tuple[str, float | None]:
    """
    :param right, said: answers in words.
    :param side: side of the picture, pixels.
    :returns: the kind of place asked for (``BOXES``, ``POINTS``, ``WAY``; empty for none), and the overlap of
        boxes (the mean over the right ones), or the distance in pixels; None if nothing of that kind was said.
    """
    wanted, found = (parse_answer(text, side, (side, side)) for text in (right, said))
    for kind in (WAY, BOXES, POINTS):
        if kind not in wanted:
            continue
        if kind not in found:
            return kind, None
        if kind == BOXES:
            return kind, _overlap(wanted[kind], found[kind])
        one, other = (np.asarray(each[kind].places) for each in (wanted, found))  # type: ignore[union-attr]
        if kind == POINTS:
            return kind, float(np.linalg.norm(one[0] - other[0]))
        return kind, float(np.linalg.norm(_along(one) - _along(other), axis=1).mean())
    return "", None


def _overlap(wanted: Any, found: Any) -> float:
    """The mean over the wanted boxes of the best overlap with a found one."""
    return float(np.mean([max(_shared(one, other) for other in found.corners) for one in wanted.corners]))


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0.0, None)
    inside = float(np.prod(sides))
    return inside / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inside)


def _along(way: np.ndarray) -> np.ndarray:
    """``_WAYPOINTS`` points at equal distances along a way (N, 2)."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    wanted = np.linspace(0.0, lengths[-1], _WAYPOINTS)
    return np.stack([np.interp(wanted, lengths, axis) for axis in way.T], axis=1)


# --- table ------------------------------------------------------------------------------------------------------------


def write_errors(arms: Mapping[str, tuple[str, str]], answers: Path, folder: Path) -> str:
    """Write ``grounding``.md, .csv and .png.

    :param arms: arm of each network, and the network that it continued from (empty: it began as nothing), by its name.
    :param answers: folder of ``ask_networks``.
    :returns: the table as Markdown.
    """
    rows: dict[str, dict[str, Errors]] = {}
    for arm in dict.fromkeys(arm for arm, _ in arms.values()):
        own = [(name, before) for name, (its, before) in arms.items() if its == arm]
        rows[arm] = {"after": errors_of(_read(answers, [name for name, _ in own]))}
        if all(before for _, before in own):
            rows[arm]["before"] = errors_of(_read(answers, [before for _, before in own]))
    shown = ("box overlap", "boxes right", "points, px", "ways, px", "readable answers")
    head = ["policy", *(f"{column}, {when}" for column in shown for when in ("before", "after"))]
    columns = ["policy", "when", "overlap", "right", "right_low", "right_high", "boxes", "point", "way", "readable"]
    lines, figures = [], []
    for arm, found in rows.items():
        told = [_cells(found.get(when)) for when in ("before", "after")]
        lines.append([arm, *(cell for pair in zip(*told, strict=True) for cell in pair)])
        for when, errors in sorted(found.items(), reverse=True):
            right = errors.right
            numbers = (errors.overlap, right.value, right.low, right.high, right.n, errors.point, errors.way)
            figures.append([arm, when, *numbers, errors.readable])
    text = markdown_table(head, lines, [_NOTES])
    (folder / "grounding.md").write_text(text)
    (folder / "grounding.csv").write_text(csv_text(columns, figures))
    _plot(rows, folder / "grounding.png")
    return text


def _read(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    return [entry for name in names for entry in json.loads((folder / f"{name}.json").read_text())["answers"]]


def _cells(errors: Errors | None) -> list[str]:
    if errors is None:
        return [""] * 5
    right = errors.right
    return [
        f"{errors.overlap:.2f}",
        f"{100 * right.value:.1f} % ({100 * right.low:.1f} to {100 * right.high:.1f})",
        f"{errors.point:.1f}",
        f"{errors.way:.1f}",
        f"{100 * errors.readable:.0f} %",
    ]


def _plot(rows: Mapping[str, Mapping[str, Errors]], file: Path) -> None:
    from stvla_ros.evaluation.plots import plot_groups

    series = {
        name: {_short(arm): found[when].right for arm, found in rows.items() if when in found}
        for name, when in (("before actions are learnt", "before"), ("after", "after"))
    }
    plot_groups(
        series, [_short(arm) for arm in rows], file, "boxes that are right on the official episodes", "boxes right, %"
    )


def _short(arm: str) -> str:
    return arm.removeprefix("grounding-")
