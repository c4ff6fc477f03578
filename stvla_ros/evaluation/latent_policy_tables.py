"""The tables and plots of `stvla ablate latent` about policies. The same answers give the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.acting.results import EpisodeResult
from stvla_ros.evaluation.ablation_networks import by_arm
from stvla_ros.evaluation.intervals import holm, mean_interval, sign_flip_p_value
from stvla_ros.evaluation.latent_arms import ALL, LABELS, PICTURE, PICTURED, PRETRAINING
from stvla_ros.evaluation.latent_measures import read_answer
from stvla_ros.evaluation.latent_networks import LatentNetwork
from stvla_ros.evaluation.latent_tables import value_and_ends, write_text_and_csv
from stvla_ros.evaluation.tables import Table, as_markdown, corrected, make_table, write_table
from stvla_ros.policy.ridge_probe import HeldOutErrors
from stvla_ros.text_tables import interval_cell, markdown_table

_ERROR_NOTE = (
    "Distance of the first action's translation from the expert's, on demonstrations that no policy has learnt from, "
    "with 95 % intervals by episode. p: sign-flip test over episodes against labels with as many labels; corrected: by "
    "Holm's method."
)
_PICTURE_NOTE = (
    "Of the squared error of a copy of the present, in the pixels that change, the share that the expected picture "
    "does without; 0 is as good as the copy. On demonstrations that no policy has learnt from, with 95 % intervals by "
    "episode."
)
_SUCCESS_NOTE = "p: paired test against the first of its group; corrected: by Holm's method for all of the table."


def _group(network: LatentNetwork) -> str:
    """Arms with as many labels are compared."""
    return str(network.labelled)


def _arms(networks: Sequence[LatentNetwork]) -> dict[str, list[LatentNetwork]]:
    """By name."""
    found: dict[str, list[LatentNetwork]] = {}
    for network in networks:
        found.setdefault(network.arm, []).append(network)
    return found


def _measured(folder: Path, networks: Sequence[LatentNetwork]) -> list[list[dict[str, Any]]]:
    """Of each network that was asked, what it said, by episode."""
    answers = [read_answer(folder / "answers" / f"{each.name}.json") for each in networks]
    return [answer["episodes"] for answer in answers if answer]


def write_action_errors(folder: Path, networks: Sequence[LatentNetwork]) -> str:
    """Write ``pretraining-errors``.md and .csv: errors of actions on demonstrations that nobody has learnt from.

    :returns: the table as Markdown.
    """
    errors: dict[str, tuple[str, np.ndarray]] = {}
    for arm, own in _arms(networks).items():
        if measured := _measured(folder, own):
            pairs = np.array([[[each["wrong_mm"], each["frames"]] for each in episodes] for episodes in measured])
            errors[arm] = _group(own[0]), pairs.mean(axis=0)
    p_values = {}
    for arm, (group, pairs) in errors.items():
        first = f"{LABELS}-{group}"
        if arm != first and first in errors:
            means = [each[:, 0] / each[:, 1] for each in (pairs, errors[first][1])]
            p_values[arm] = sign_flip_p_value(means[0] - means[1])
    holms = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    rows, numbers = [], []
    for arm, (_, pairs) in errors.items():
        mean, low, high = mean_interval(pairs.tolist())
        said = [f"{each[arm]:.3g}" if arm in each else "" for each in (p_values, holms)]
        rows.append([arm, f"{mean:.2f} ({low:.2f} to {high:.2f})", *said])
        numbers.append([arm, mean, low, high, p_values.get(arm, ""), holms.get(arm, "")])
    text = markdown_table(["policy", "error of the translation, mm", "p", "p, corrected"], rows, [_ERROR_NOTE])
    write_text_and_csv(
        folder, f"{PRETRAINING}-errors", text, ["policy", "mm", "low", "high", "p", "p_corrected"], numbers
    )
    return text


def write_picture_errors(folder: Path, networks: Sequence[LatentNetwork]) -> str:
    """Write ``picture-errors``.md and .csv: what the expected picture tells of the changing pixels.

    :returns: the table as Markdown.
    """
    rows, numbers = [], []
    for arm, own in _arms(networks).items():
        if not arm.startswith(f"{PICTURED}-") or not (measured := _measured(folder, own)):
            continue
        left, whole = (
            np.array([[each[name] for each in episodes] for episodes in measured]) for name in ("left", "whole")
        )
        errors = HeldOutErrors(left.mean(axis=0), whole[0], (whole[0] > 0).astype(np.int64))
        told = [errors.explained([column]) for column in (0, 1)]
        rows.append([arm, *(interval_cell(*value_and_ends(each)) for each in told)])
        for what, each in zip(("colour", "depth"), told, strict=True):
            numbers.append([arm, what, *value_and_ends(each), each.episodes])
    text = markdown_table(["policy", "colour explained", "depth explained"], rows, [_PICTURE_NOTE])
    write_text_and_csv(
        folder, f"{PICTURE}-errors", text, ["policy", "what", "explained", "low", "high", "episodes"], numbers
    )
    return text


def write_successes(
    folder: Path,
    name: str,
    networks: Sequence[LatentNetwork],
    seeds: Sequence[int],
    tasks: Sequence[str],
    results: Sequence[EpisodeResult],
) -> str:
    """Write ``name``.md, .csv, .json and .png: successes, in groups that are compared with their first.

    :param networks: networks that are shown.
    :param seeds: seeds of the evaluation.
    :returns: the table as Markdown; empty without results.
    """
    from stvla_ros.evaluation.plots import plot_table

    labels = {network.policy.label for network in networks}
    counted = by_arm([each for each in results if each.key.policy in labels], networks, seeds)
    if not counted:
        return ""
    groups: dict[str, list[str]] = {}
    for network in networks:
        group = groups.setdefault(_group(network), [])
        if network.arm not in group:
            group.append(network.arm)
    # The upper bound has a group of its own, last.
    ordered = sorted(groups.values(), key=lambda arms: ALL in arms)
    rows = [row for arms in ordered for row in make_table(counted, arms, tasks).rows]
    table = corrected(Table(tuple(rows)))
    write_table(table, folder, name, [_SUCCESS_NOTE])
    plot_table(table, folder / f"{name}.png", "success with 95 % intervals")
    return as_markdown(table, [_SUCCESS_NOTE])
