"""The tables and plots of `stvla ablate latent` about latent action models. The same answers give the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.evaluation.intervals import SuccessRate, holm, sign_flip_p_value
from stvla_ros.evaluation.latent_arms import ACTIONS_PROOF, CHANGING, DEPTH_PROOF, FARSIGHTED, THREE, LamArm
from stvla_ros.evaluation.latent_measures import UNTRAINED_ENDING, as_errors, read_answer
from stvla_ros.evaluation.latent_networks import LatentNetwork
from stvla_ros.policy.keyframes import TARGETS
from stvla_ros.policy.ridge_probe import HeldOutErrors
from stvla_ros.text_tables import csv_text, interval_cell, markdown_table

PLACE = "place"
"""x, y and z together: what arms are compared by."""
SHOWN = {PLACE: (0, 1, 2), **TARGETS}
_LAM_NOTE = (
    "R² of ridge regression on demonstrations that no model has learnt from, each held out by episode, with 95 % "
    "intervals by episode; several training seeds: the mean of their squared errors. 1 is all of the motion until the "
    "keyframe, 0 as good as its mean. place: x, y and z together. noise: what was executed beyond the expert's "
    "actions. p: sign-flip test over episodes of the squared errors of place; corrected: by Holm's method for all of "
    "the table."
)
_AGAINST = {
    ACTIONS_PROOF: "Each is compared with a model of the same configuration that has learnt nothing.",
    DEPTH_PROOF: "Light changes from frame to frame. Those with depth are compared with those of colours alone.",
    FARSIGHTED: "Three keyframes are compared with a model of that keyframe alone.",
}


@dataclass(frozen=True)
class LamLine:
    """A line of a latent action models' table.

    :param name: arm, or control.
    :param seconds: keyframe.
    :param errors: its errors; None for a model whose training ended in vain.
    :param against: line that it is compared with; None for none.
    """

    name: str
    seconds: float
    errors: HeldOutErrors | None
    against: HeldOutErrors | None = None


def write_lam_proof(
    folder: Path, proof: str, arms: Sequence[LamArm], networks: Sequence[LatentNetwork], ended: Mapping[str, str]
) -> str:
    """Write ``proof``.md, .csv and .png.

    :param folder: folder of the ablation.
    :param proof: one of ``LAM_ARMS``.
    :param arms: latent action models that are compared.
    :param networks: all networks of the ablation.
    :param ended: reason why a network's training ended in vain, by its name; empty for the others.
    :returns: the table as Markdown.
    """
    answers = folder / "answers"
    found = {arm: _lam_errors(answers, arm, networks) for arm in arms}
    why = [f"{each.name}: {ended[each.name]}" for each in networks if each.lam in arms and ended[each.name]]
    return write_lam_table(folder, proof, list(_lam_lines(proof, found, answers)), [_AGAINST[proof], _LAM_NOTE, *why])


def _lam_errors(answers: Path, arm: LamArm, networks: Sequence[LatentNetwork]) -> dict[str, HeldOutErrors | None]:
    """Of each keyframe, by its seconds, over all training seeds; None where no training came to its end."""
    said = [read_answer(answers / f"{each.name}.json") for each in networks if each.lam == arm]
    there = [answer for answer in said if answer]
    return {
        f"{seconds:g}": mean_errors([as_errors(answer[f"{seconds:g}"]) for answer in there]) if there else None
        for seconds in arm.keyframes_s
    }


def mean_errors(errors: Sequence[HeldOutErrors]) -> HeldOutErrors:
    """Of several models on the same frames: the mean of what each leaves."""
    return replace(errors[0], left=np.mean([each.left for each in errors], axis=0))


def _lam_lines(
    proof: str, found: Mapping[LamArm, Mapping[str, HeldOutErrors | None]], answers: Path
) -> Iterable[LamLine]:
    for arm, by_keyframe in found.items():
        untrained = _untrained(answers, arm)
        for seconds, errors in by_keyframe.items():
            against = _reference(proof, arm, seconds, found, untrained)
            yield LamLine(arm.name, float(seconds), errors, against)
        if proof == ACTIONS_PROOF:
            for seconds, stored in untrained.items():
                yield LamLine(f"{arm.name}, untrained", float(seconds), as_errors(stored))
    for name, stored in read_answer(answers / f"controls{CHANGING if proof == DEPTH_PROOF else ''}.json").items():
        for seconds, errors in stored.items():
            yield LamLine(name, float(seconds), as_errors(errors))


def _untrained(answers: Path, arm: LamArm) -> dict[str, Any]:
    files = sorted(answers.glob(f"{arm.name}*{UNTRAINED_ENDING}.json"))
    # The names of some arms begin with others'.
    own = [file for file in files if file.stem.removesuffix(UNTRAINED_ENDING).rpartition("-s")[0] == arm.name]
    own += [file for file in files if file.stem.removesuffix(UNTRAINED_ENDING) == arm.name]
    return read_answer(own[0]) if own else {}


def _reference(
    proof: str,
    arm: LamArm,
    seconds: str,
    found: Mapping[LamArm, Mapping[str, HeldOutErrors | None]],
    untrained: Mapping[str, Any],
) -> HeldOutErrors | None:
    """What an arm is compared with."""
    if proof == ACTIONS_PROOF:
        return as_errors(untrained[seconds]) if seconds in untrained else None
    if proof == DEPTH_PROOF:
        other = replace(arm, sees="rgb")
    else:
        other = replace(arm, keyframes=f"pair-{seconds}") if arm.keyframes == THREE else arm
    return None if other == arm else found.get(other, {}).get(seconds)


def write_lam_table(folder: Path, name: str, lines: Sequence[LamLine], notes: Sequence[str]) -> str:
    """Write ``name``.md, .csv and .png. :returns: the table as Markdown."""
    from stvla_ros.evaluation.plots import plot_groups

    told = [line for line in lines if line.errors is not None]
    place = list(SHOWN[PLACE])
    p_values = {
        number: sign_flip_p_value((line.errors.left - line.against.left)[:, place].sum(axis=1))
        for number, line in enumerate(lines)
        if line.errors is not None and line.against is not None
    }
    both = dict(zip(p_values, zip(p_values.values(), holm(list(p_values.values())), strict=True), strict=True))
    head = ["told from", "keyframe, s", *SHOWN, "p", "p, corrected"]
    rows, numbers = [], []
    for number, line in enumerate(lines):
        tested = [f"{each:.3g}" for each in both[number]] if number in both else ["", ""]
        found = {} if line.errors is None else {each: line.errors.explained(at) for each, at in SHOWN.items()}
        cells = [interval_cell(*value_and_ends(found[each])) if found else "ended" for each in SHOWN]
        rows.append([line.name, f"{line.seconds:g}", *cells, *tested])
        for each, explained in found.items():
            numbers.append(
                [line.name, line.seconds, each, *value_and_ends(explained), explained.frames, explained.episodes]
            )
    text = markdown_table(head, rows, notes)
    columns = ["told_from", "keyframe_s", "target", "r2", "low", "high", "frames", "episodes"]
    write_text_and_csv(folder, name, text, columns, numbers)
    seconds = [f"+{each:g} s" for each in sorted({line.seconds for line in told})]
    series: dict[str, dict[str, SuccessRate]] = {}
    for line in told:
        value, low, high = value_and_ends(line.errors.explained(place)) if line.errors else (np.nan,) * 3
        if np.isfinite(value):
            series.setdefault(line.name, {})[f"+{line.seconds:g} s"] = SuccessRate(value, low, high, 0)
    if series:
        plot_groups(series, seconds, folder / f"{name}.png", "R² of the place until the keyframe", "R², %")
    return text


# --- files ------------------------------------------------------------------------------------------------------------


def value_and_ends(explained: Any) -> tuple[float, float, float]:
    return explained.value, explained.low, explained.high


def write_text_and_csv(
    folder: Path, name: str, text: str, head: Sequence[str], numbers: Sequence[Sequence[Any]]
) -> None:
    known = [["" if each != each else each for each in row] for row in numbers]
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.csv").write_text(csv_text(head, known))
