"""Checks of pictures and depth in a few episodes: decoding all would take longer than training."""

from collections.abc import Iterator
from typing import cast

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.training.selection import Selection

_EPISODES = 3
# A lens cap's noise is below this contrast, in 8-bit steps; any scene is far above.
_BLANK = 2.0
_SMALL = 112  # pixels: half of the model's
_FEW_KNOWN = 0.2
# Possible distances of a camera that watches a robot, metres.
_NEAR, _FAR = 0.05, 20.0
# If the paths in the states and in the actions differ by more, they have different units, or the actions are no steps.
_MOST_WAY_RATIO = 10.0
_LEAST_WAY_M = 0.01


def check_pictures(selection: Selection, uses_depth: bool) -> list[str]:
    """
    :param uses_depth: whether the data's own depth is trained with.
    :returns: suspicious properties, one line each.
    :raises InputError: for pictures without content, or depth that is unknown everywhere or not in millimetres.
    """
    wanted = np.linspace(0, len(selection.numbers) - 1, _EPISODES).round().astype(int)
    warnings: list[str] = []
    for number in dict.fromkeys(selection.numbers[index] for index in wanted):
        demonstration = cast(Demonstration, selection.reader.episode(number))
        where = f"{selection.name}, episode {number}"
        warnings += _check_colour(where, selection.reader.info.picture, demonstration)
        if uses_depth and demonstration.depth is not None:
            warnings += _check_depth(where, demonstration.depth)
        warnings += _check_state(where, demonstration)
    return warnings


def _check_colour(where: str, feature: str, demonstration: Demonstration) -> Iterator[str]:
    rgb = demonstration.rgb
    if max(float(rgb[0].std()), float(rgb[-1].std())) < _BLANK:
        raise InputError(
            f"{where}, {feature}: expected pictures of a scene, they are of one colour {rgb[0, 0, 0].tolist()}"
        )
    moved = np.abs(demonstration.action[:, :3]).sum() > _LEAST_WAY_M
    if len(rgb) > 1 and moved and all(np.array_equal(frame, rgb[0]) for frame in rgb[1:]):
        raise InputError(f"{where}, {feature}: expected pictures that change while the robot moves, all are the same")
    if min(rgb.shape[1:3]) < _SMALL:
        yield f"{where}, {feature}: pictures of {rgb.shape[2]}x{rgb.shape[1]} are enlarged for the model"


def _check_depth(where: str, depth: np.ndarray) -> Iterator[str]:
    known = depth > 0
    if not known.reshape(len(depth), -1).any(axis=1).all():
        empty = int((~known.reshape(len(depth), -1).any(axis=1)).sum())
        raise InputError(
            f"{where}, {schema.DEPTH}: expected depth in every frame, it is unknown (0) everywhere in {empty} of "
            f"{len(depth)}"
        )
    middle = float(np.median(depth[known])) / 1000.0
    if not _NEAR <= middle <= _FAR:
        raise InputError(f"{where}, {schema.DEPTH}: expected millimetres, the median would be {middle:.3g} m")
    if known.mean() < _FEW_KNOWN:
        yield f"{where}, {schema.DEPTH}: known in {known.mean():.0%} of the pixels only"


def _check_state(where: str, demonstration: Demonstration) -> Iterator[str]:
    """Check that the actions are the steps of the robot's path."""
    if demonstration.state is None or len(demonstration) < 2:
        return
    done = demonstration.action if demonstration.executed_action is None else demonstration.executed_action
    told = float(np.linalg.norm(done[:-1, :3], axis=1).sum())
    went = float(np.linalg.norm(np.diff(demonstration.state[:, :3], axis=0), axis=1).sum())
    if max(told, went) < _LEAST_WAY_M:
        return
    if not 1.0 / _MOST_WAY_RATIO <= told / max(went, 1e-9) <= _MOST_WAY_RATIO:
        yield (
            f"{where}: the actions add up to a path of {told:.3g} m, {schema.STATE} to one of {went:.3g} m: are both "
            "in metres, and are the actions steps?"
        )
