"""What is asked of an ablation's latent action models and policies on demonstrations that none has learnt from. Each
answer is a file, episode by episode, and is asked for once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stvla_ros.atomic_files import make_folder, whole_file, write_json
from stvla_ros.evaluation.latent_arms import ASKED_S
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.demonstrations.pseudo_labels import picture_at
from stvla_ros.learning.latent.latent_probe import (
    ProbedFrames,
    codes_of,
    probe_controls,
    probe_errors,
    probed_frames,
    untrained_codes_of,
)
from stvla_ros.learning.training.prepared_frames import prepare_samples
from stvla_ros.perception.compositor import resize_depth
from stvla_ros.policy import load_policy
from stvla_ros.policy.base import Picture
from stvla_ros.policy.families import family_of
from stvla_ros.policy.keyframes import evenly
from stvla_ros.policy.pictures import CHANGED_COLOUR, CHANGED_DEPTH
from stvla_ros.policy.ridge_probe import HeldOutErrors
from stvla_ros.policy.samples import Samples
from stvla_ros.policy.training_record import resolve

UNTRAINED_ENDING = "-untrained"
# Frames that a policy is asked about: each is an inference.
_POLICY_FRAMES = 400
_OTHERS = 8
"""Episodes whose pictures stand in for the policy's own."""


# --- latent action models ---------------------------------------------------------------------------------------------


def probe_lam(
    checkpoint: Path, paths: Sequence[Path], cache: Path, frames: int, file: Path, with_untrained: bool
) -> None:
    """Ask a latent action model for the arm's motions, unless it was asked before.

    :param checkpoint: folder of the model.
    :param paths: data sets.
    :param cache: folder that keeps prepared frames.
    :param frames: most frames.
    :param file: file for the answer.
    :param with_untrained: whether a model of the same configuration that has learnt nothing is asked as well; its file
        is beside, with ``UNTRAINED_ENDING``.
    """
    beside = file.with_name(f"{file.stem}{UNTRAINED_ENDING}.json")
    if file.is_file() and (beside.is_file() or not with_untrained):
        return
    print(f"asking {file.stem}", flush=True)
    model, samples, asked = _opened(checkpoint, paths, cache, frames)
    _write_errors(file, model.config.keyframes_s, codes_of(model, samples, asked), asked)
    if with_untrained:
        _write_errors(beside, model.config.keyframes_s, untrained_codes_of(model, samples, asked), asked)


def probe_controls_of(checkpoint: Path, paths: Sequence[Path], cache: Path, frames: int, file: Path) -> None:
    """Ask what no model has to learn, on the frames that a model is asked about, unless it was asked before.

    :param checkpoint: folder of a model that sees depth.
    :param paths, cache, frames, file: parameters as of :func:`probe_lam`.
    """
    if file.is_file():
        return
    _, samples, asked = _opened(checkpoint, paths, cache, frames)
    found = {name: _stored(ASKED_S, inputs, asked) for name, inputs in probe_controls(samples, asked)}
    make_folder(file.parent)
    write_json(file, found)


def _opened(checkpoint: Path, paths: Sequence[Path], cache: Path, frames: int) -> tuple[Any, Samples, ProbedFrames]:
    model = family_of(checkpoint).latent_actions(checkpoint, "auto")
    inputs = resolve(str(checkpoint), {"traces": "none"}).inputs
    readers = [LeRobotReader(path) for path in paths]
    numbers = [range(len(reader)) for reader in readers]
    samples = prepare_samples(readers, numbers, inputs, model.preparation(inputs.resize), cache)
    return model, samples, probed_frames(samples, ASKED_S, frames, str(paths[0]))


def _write_errors(file: Path, keyframes_s: Sequence[float], inputs: np.ndarray, asked: ProbedFrames) -> None:
    make_folder(file.parent)
    write_json(file, _stored(keyframes_s, inputs, asked))


def _stored(keyframes_s: Sequence[float], inputs: np.ndarray, asked: ProbedFrames) -> dict[str, Any]:
    """Errors by the keyframe's seconds. :param inputs: (N, T, D) of these keyframes."""
    places = [ASKED_S.index(seconds) for seconds in keyframes_s]
    of_these = ProbedFrames(asked.rows, asked.keyframes[:, places], asked.targets[:, places], asked.episodes)
    found = probe_errors(inputs, of_these)
    return {f"{seconds:g}": _as_lists(errors) for seconds, errors in zip(keyframes_s, found, strict=True)}


def _as_lists(errors: HeldOutErrors) -> dict[str, Any]:
    return {name: getattr(errors, name).tolist() for name in ("left", "whole", "frames")}


def as_errors(stored: Mapping[str, Any]) -> HeldOutErrors:
    """As it was written."""
    left, whole = (np.array(stored[name], np.float64) for name in ("left", "whole"))
    return HeldOutErrors(left, whole, np.array(stored["frames"], np.int64))


def read_answer(file: Path) -> dict[str, Any]:
    """An answer; empty where nothing was asked."""
    return json.loads(file.read_text()) if file.is_file() else {}


# --- policies ---------------------------------------------------------------------------------------------------------


@dataclass
class _Sums:
    """Sums over an episode's frames.

    :param wrong_mm: distances of first actions from the right ones, millimetres.
    :param frames: number of these frames.
    :param left, whole: squared errors, in the pixels that change, of the expected picture and of the present one:
        colours, inverse depths.
    """

    wrong_mm: float = 0.0
    frames: int = 0
    left: list[float] = field(default_factory=lambda: [0.0, 0.0])
    whole: list[float] = field(default_factory=lambda: [0.0, 0.0])


def measure_policy(checkpoint: Path, paths: Sequence[Path], file: Path, most: int = _POLICY_FRAMES) -> None:
    """Ask a policy what to do and what it expects, unless it was asked before.

    :param checkpoint: folder of the policy.
    :param paths: data sets.
    :param file: file for the answer: by episode ``wrong_mm``, ``frames``, ``left`` and ``whole``.
    :param most: largest number of frames, evenly over all.
    """
    if file.is_file():
        return
    print(f"asking {file.stem}", flush=True)
    model = load_policy(str(checkpoint))
    before_s = model.model.config.before_s
    episodes = []
    for reader, numbers in _chosen(paths, most):
        for number, rows in numbers.items():
            episode = reader.episode(number)
            sums = _Sums()
            for row in rows:
                _measure(model, episode, row, before_s, sums)
            episodes.append(vars(sums))
    make_folder(file.parent)
    write_json(file, {"episodes": episodes})


def _chosen(paths: Sequence[Path], most: int) -> Iterator[tuple[LeRobotReader, dict[int, list[int]]]]:
    """Frames of each episode of each data set, evenly over all."""
    readers = [LeRobotReader(path) for path in paths]
    for reader in readers:
        lengths = reader.episode_lengths()
        of = np.repeat(np.arange(len(lengths)), lengths)
        rows = evenly(np.arange(len(of)), max(1, most // len(readers)))
        firsts = np.cumsum(lengths) - lengths
        yield reader, {number: (rows[of[rows] == number] - firsts[number]).tolist() for number in np.unique(of[rows])}


def _measure(model: Any, episode: Demonstration, row: int, before_s: float, sums: _Sums) -> None:
    now, earlier = picture_at(episode, row), picture_at(episode, frame_before(episode, row, before_s))
    chunk = model.predict(now.rgb, episode.instruction, now.depth, now.intrinsics, earlier=earlier)
    wrong = chunk.actions[0, :3] - episode.action[row, :3]
    sums.wrong_mm += 1000.0 * float(np.linalg.norm(wrong))
    sums.frames += 1
    at = episode.stamps[row] + round(1e9 * chunk.expected.ahead_s)
    later = int(np.abs(episode.stamps - at).argmin())
    period = np.median(np.diff(episode.stamps)) if len(episode) > 1 else 0
    if abs(episode.stamps[later] - at) > period / 2:
        return
    then = picture_at(episode, later)
    for place, (told, seen, came, counts) in enumerate(_compared(chunk.expected, now, then)):
        sums.left[place] += float(((told - came)[counts] ** 2).sum())
        sums.whole[place] += float(((seen - came)[counts] ** 2).sum())


def _compared(expected: Any, now: Picture, then: Picture) -> Iterator[tuple[np.ndarray, ...]]:
    """Colours and inverse depths that are expected, that are there now, that came, and (S, S) which pixels change."""
    side = len(expected.rgb)
    colours = [_small(each.rgb, side) for each in (now, then)]
    changed = np.abs(colours[1] - colours[0]).max(axis=2) > CHANGED_COLOUR
    depths = []
    if expected.depth is not None and now.depth is not None and then.depth is not None:
        depths = [_inverse(expected.depth), *(_inverse(resize_depth(each.depth, side)) for each in (now, then))]
        known = (depths[1] > 0) & (depths[2] > 0)
        changed |= known & (np.abs(depths[2] - depths[1]) > CHANGED_DEPTH * depths[1])
    yield expected.rgb / 255.0, *colours, changed
    if depths:
        yield *depths, changed & known


def _small(rgb: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA) / 255.0


def _inverse(depth: np.ndarray) -> np.ndarray:
    return np.where(depth > 0, 1.0 / np.where(depth > 0, depth, 1.0), 0.0)


def frame_before(episode: Demonstration, row: int, seconds: float) -> int:
    """Number of the newest frame that is so much older; of the first one where there is none."""
    latest = episode.stamps[row] - round(1e9 * seconds)
    return max(int(np.searchsorted(episode.stamps[: row + 1], latest, side="right")) - 1, 0)


def write_other_pictures(checkpoint: Path, paths: Sequence[Path], file: Path) -> Path:
    """Frames of other episodes for a policy's ``vision_of``, unless they are there.

    :param checkpoint: folder of the policy.
    :param paths: data sets.
    :param file: file for the frames.
    """
    if file.is_file():
        return file
    before_s = load_policy(str(checkpoint)).model.config.before_s
    arrays: dict[str, list[Any]] = {name: [] for name in ("rgb", "depth", "intrinsics", "before", "episode")}
    texts: list[str] = []
    reader = LeRobotReader(paths[0])
    for number in range(min(_OTHERS, len(reader))):
        episode, first = reader.episode(number), len(texts)
        for row in range(len(episode)):
            seen = picture_at(episode, row)
            before = first + frame_before(episode, row, before_s)
            for name, value in zip(arrays, (seen.rgb, seen.depth, seen.intrinsics, before, number), strict=True):
                arrays[name].append(value)
            texts.append(episode.instruction)
    make_folder(file.parent)
    with whole_file(file) as aside, aside.open("wb") as stream:
        stacked: dict[str, Any] = {name: np.stack(each) for name, each in arrays.items()}
        np.savez(stream, instruction=np.array(texts), **stacked)
    return file
