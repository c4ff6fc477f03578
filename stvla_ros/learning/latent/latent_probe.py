"""Are latent actions actions? How much of the arm's motion a linear map tells from them, beside what it tells from
things that nobody had to learn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.policy.kept_frames import DEPTHS, PICTURES
from stvla_ros.policy.keyframes import TARGETS, evenly, find_keyframes, motion_targets
from stvla_ros.policy.ridge_probe import (
    LEAST_EPISODES,
    Explained,
    HeldOutErrors,
    held_out_errors,
    principal_components,
)
from stvla_ros.policy.samples import Samples
from stvla_ros.text_tables import interval_cell, markdown_table

CODES = "latent action"
UNTRAINED = "untrained model"
CHANGE = "PCA of the change, colour"
CHANGE_WITH_DEPTH = "PCA of the change, colour and depth"
PRESENT = "the present alone"
COMPONENTS = 64
_SIDE = 28  # side of the pictures that components are of, pixels
_READ = 256
_NEAREST_M = 0.05
# Frames that the codebook of an untrained model begins at.
_BEGINNING = 128


@dataclass(frozen=True, eq=False)
class ProbedFrames:
    """What is asked of latent actions.

    :param rows: (N,) numbers of the frames that are asked about.
    :param keyframes: (N, T) numbers of their keyframes.
    :param targets: (N, T, 8) as of ``motion_targets``.
    :param episodes: (N,) episode of each.
    """

    rows: np.ndarray
    keyframes: np.ndarray
    targets: np.ndarray
    episodes: np.ndarray


@dataclass(frozen=True)
class ProbeRow:
    """What is told of the motion until one keyframe.

    :param told_from: name of what it is told from.
    :param keyframe_s: time of the keyframe, seconds.
    :param explained: R² by target (``TARGETS``).
    """

    told_from: str
    keyframe_s: float
    explained: Mapping[str, Explained]


def probed_frames(samples: Samples, keyframes_s: tuple[float, ...], most: int, source: str) -> ProbedFrames:
    """
    :param keyframes_s: times of the keyframes, seconds; frames are asked about that have all of them.
    :param most: largest number of frames, evenly over all.
    :param source: name of the data, for the error.
    :raises InputError: when fewer than 3 episodes tell how the arm moves.
    """
    found, valid = find_keyframes(samples, keyframes_s)
    targets = motion_targets(samples, found, valid)
    # The opening stands for the motion: all of its numbers are known together.
    known = np.flatnonzero(valid.all(axis=1) & np.isfinite(targets[:, :, TARGETS["opening"][0]]).all(axis=1))
    if (told := len(np.unique(samples.episode[known]))) < LEAST_EPISODES:
        raise InputError(
            f"source {source}: expected at least {LEAST_EPISODES} episodes of {keyframes_s[-1]:g} s or longer that "
            f"tell the arm's pose (observation.state), got {told}"
        )
    rows = evenly(known, most)
    return ProbedFrames(rows, found[rows], targets[rows], samples.episode[rows])


def probe_errors(inputs: np.ndarray, asked: ProbedFrames, seed: int = 0) -> list[HeldOutErrors]:
    """Of each keyframe. :param inputs: (N, T, D)."""
    return [
        held_out_errors(inputs[:, place], asked.targets[:, place], asked.episodes, seed)
        for place in range(inputs.shape[1])
    ]


def probe_rows(model: Any, samples: Samples, asked: ProbedFrames, seed: int = 0) -> list[ProbeRow]:
    """What is told from the model's codes, and from all that they are compared with.

    :param model: see ``PolicyFamily.latent_actions``.
    :param seed: seed of the untrained model, of the folds and of the intervals.
    """
    rows = []
    for name, inputs in _compared(model, samples, asked, seed):
        for seconds, errors in zip(model.config.keyframes_s, probe_errors(inputs, asked, seed), strict=True):
            explained = {target: errors.explained(columns, seed) for target, columns in TARGETS.items()}
            rows.append(ProbeRow(name, seconds, explained))
    return rows


def codes_of(model: Any, samples: Samples, asked: ProbedFrames) -> np.ndarray:
    """(N, T, Q C) latent actions."""
    codes = model.encode(samples, asked.rows).codes
    return codes.reshape(*codes.shape[:2], -1)


def untrained_codes_of(model: Any, samples: Samples, asked: ProbedFrames, seed: int = 0) -> np.ndarray:
    """As :func:`codes_of`, of a model of the same configuration that has learnt nothing."""
    return codes_of(model.untrained(samples, evenly(asked.rows, _BEGINNING), seed), samples, asked)


def _compared(model: Any, samples: Samples, asked: ProbedFrames, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    yield CODES, codes_of(model, samples, asked)
    yield UNTRAINED, untrained_codes_of(model, samples, asked, seed)
    yield from probe_controls(samples, asked, seed)


def probe_controls(samples: Samples, asked: ProbedFrames, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """What no model has to learn: the main directions in which pictures change, and the present, in which the expert's
    answer can be read. Directions are found without labels, on all frames that are asked about.

    :returns: a name, and (N, T, D); those with depth only where depths change.
    """
    now = _pictures(samples, asked.rows)
    depth_now = _inverse_depths(samples, asked.rows)
    colours, both = [], []
    for keyframes in asked.keyframes.T:
        change = _flat(_pictures(samples, keyframes) - now)
        nearer = _inverse_depths(samples, keyframes)
        depths = _small(np.where((nearer > 0) & (depth_now > 0), nearer - depth_now, 0.0))
        colours.append(principal_components(change, COMPONENTS, seed))
        if depths.any():
            both.append(principal_components(np.hstack([_scaled(change), _scaled(depths)]), COMPONENTS, seed))
    yield CHANGE, _keyframe_by_keyframe(colours)
    if len(both) == len(colours):
        yield CHANGE_WITH_DEPTH, _keyframe_by_keyframe(both)
    present = principal_components(np.hstack([_scaled(_flat(now)), _scaled(_small(depth_now))]), COMPONENTS, seed)
    yield PRESENT, _keyframe_by_keyframe([present] * len(colours))


def _keyframe_by_keyframe(parts: Sequence[np.ndarray]) -> np.ndarray:
    """(N, T, D) of T times (N, D), filled up with 0 where there are fewer directions."""
    width = max(each.shape[1] for each in parts)
    return np.stack([np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in parts], axis=1)


def _pictures(samples: Samples, rows: np.ndarray) -> np.ndarray:
    """(N, s, s, 3) float32, 0 to 1."""
    found = []
    for first in range(0, len(rows), _READ):
        for picture in samples.prepared[PICTURES][rows[first : first + _READ]]:
            side = min(_SIDE, len(picture))
            found.append(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))
    return np.stack(found).astype(np.float32) / 255.0


def _inverse_depths(samples: Samples, rows: np.ndarray) -> np.ndarray:
    """(N, S, S) float32 1 / metres, 0 where unknown."""
    depths = np.concatenate(
        [samples.prepared[DEPTHS][rows[first : first + _READ]] for first in range(0, len(rows), _READ)]
    ).astype(np.float32)
    return np.where(depths > 0, 1.0 / np.maximum(depths, _NEAREST_M), 0.0)


def _small(maps: np.ndarray) -> np.ndarray:
    """(N, S, S) to (N, s s)."""
    side = min(_SIDE, maps.shape[1])
    return _flat(np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) for each in maps]))


def _flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1)


def _scaled(numbers: np.ndarray) -> np.ndarray:
    """Of deviation 1 as a whole, so that colours and depths count alike."""
    return numbers / max(float(numbers.std()), np.finfo(np.float32).tiny)


# --- what is written --------------------------------------------------------------------------------------------------


def probe_table(rows: Sequence[ProbeRow]) -> str:
    """As Markdown, a line for each keyframe and each thing that it is told from."""
    lines = []
    for row in rows:
        told = (row.explained[name] for name in TARGETS)
        cells = [interval_cell(each.value, each.low, each.high) for each in told]
        lines.append([row.told_from, f"{row.keyframe_s:g}", *cells])
    return markdown_table(["told from", "keyframe, s", *TARGETS], lines)


def probe_json(rows: Sequence[ProbeRow]) -> list[dict[str, Any]]:
    """For a file; what is not known is None."""
    return [
        {
            "told_from": row.told_from,
            "keyframe_s": row.keyframe_s,
            **{name: _known(asdict(each)) for name, each in row.explained.items()},
        }
        for row in rows
    ]


def _known(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in numbers.items()}
