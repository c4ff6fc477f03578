"""Checks before training: refuses data from which no policy can be learnt.

Some faults cannot be seen in the data, and are not checked: a gripper with open and closed exchanged everywhere, a base
frame turned by some angle, an instruction that does not fit the pictures.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.picture_checks import check_pictures
from stvla_ros.learning.training.selection import Selection, held_episodes
from stvla_ros.perception.trackers import TRACKERS
from stvla_ros.policy.action_statistics import MIN_ACTIONS
from stvla_ros.policy.families import find_family
from stvla_ros.policy.inputs import BESIDE
from stvla_ros.robots.embodiments import embodiments

# Limits for the speed that 99 % of the steps stay below. Of the 28 data sets in SpatialVLA's processor_config.json,
# those in metres and radians per step reach 2 m/s and 9 rad/s; those in millimetres, in degrees or of absolute poses
# are far above.
_FASTEST_M_S, _FASTEST_RAD_S = 3.0, 10.0
_FAST_M_S = 1.0
_SLOWEST_M_S = 1e-3
_CONSTANT = 1e-6
# Data sets in one run whose scales differ by more have different units, or come from robots that one policy cannot
# control.
_MOST_SCALE = 10.0
_SAME_RATE = 0.02
_CONTROL_RATE = 0.2
_MOST_SINGLE_FRAMES = 0.1
_MOST_IMBALANCE = 10
_FEW_EPISODES = 10
# The paper's recipe has 52 of each instruction.
_FEW_IN_ALL = 25
_MOST_IDLE = 0.5
_OUTLIER = 10.0
_HALF_OPEN = (0.1, 0.9)
_MOST_HALF_OPEN = 0.05
# Share of the episodes that must begin in the same way.
_MOSTLY = 0.9


def check_datasets(selections: Sequence[Selection], config: TrainingConfig) -> list[str]:
    """
    :param selections: episodes to train on, for each data set of ``config.data.paths``.
    :returns: one line for everything that is suspicious but usable.
    :raises InputError: with one line that names the data set and the feature, and says why it cannot work. Refused are:
        too few actions, episodes of one frame, only one gripper state, a gripper beyond 0..1, constant translations,
        actions too fast or slow for metres and radians per step, data sets of different rates or scales in one run,
        missing or unusable depth or scene points that the configuration needs, a tracker that needs the robot, pictures
        without content, and everything that the reader refuses (NaN or infinite numbers, missing instructions).
    """
    if config.inputs.traces == BESIDE and not find_family(config.family.name).takes_traces:
        raise InputError(
            f"inputs.traces: expected none, depth or rgb, networks of the family {config.family.name} take no traces "
            "beside the depth"
        )
    if config.inputs.traces != "none" and TRACKERS.find(config.inputs.tracker).needs_robot:
        raise InputError(
            f"inputs.tracker: expected one that needs no robot, data sets have no joints and no camera's pose, got "
            f"{config.inputs.tracker}"
        )
    if config.inputs.traces == "depth" and config.inputs.perception().compositor.ignore_robot:
        raise InputError(
            "inputs.drawing.ignore_robot: expected false, data sets have no joints and no camera's pose; near_depth "
            "draws at a depth that does not depend on the robot"
        )
    warnings = list(_check_features(selections, config))
    for selection in selections:
        warnings += _check_episodes(selection)
        warnings += check_translations(selection)
        warnings += check_rotations(selection)
    warnings += _check_grippers(selections, config.data.still_gripper)
    warnings += _check_together(selections)
    warnings += _check_instructions(selections)
    for selection in selections:
        warnings += check_pictures(selection, uses_depth=config.inputs.depth == "sensor")
    return warnings


def check_count(selections: Sequence[Selection], validation_share: float) -> Iterator[str]:
    """Whether there are enough episodes to learn from, and to see what was learnt.

    :returns: what is suspicious.
    """
    episodes = sum(len(selection.numbers) for selection in selections)
    if episodes < _FEW_IN_ALL:
        yield f"episodes: {episodes} in all are few; the paper's recipe has 52 of each instruction"
    held = held_episodes(episodes, validation_share)
    if validation_share and held == 1:
        yield "data.validation_share: one episode is held out, whose error says little about others"
    elif validation_share and not held:
        yield "data.validation_share: nothing is held out of one episode, so that no error on others is known"


def check_translations(selection: Selection) -> Iterator[str]:
    """Check that translations are metres in one step.

    :returns: suspicious properties, one line each.
    :raises InputError: for constant translations, and for those too fast or slow.
    """
    where, xyz, fps = f"{selection.name}, {schema.ACTION}", selection.all_actions[:, :3], selection.reader.info.fps
    extent = np.ptp(xyz, axis=0)
    if (extent < _CONSTANT).all():
        raise InputError(f"{where}: expected translations that differ, all are {_numbers(xyz[0])}")
    for axis in np.flatnonzero(extent < _CONSTANT):
        yield f"{where}: {schema.ACTION_NAMES[axis]} is {xyz[0, axis]:g} in every frame"
    lengths = np.linalg.norm(xyz, axis=1)
    usual = np.quantile(lengths, 0.99)
    if usual * fps > _FASTEST_M_S:
        raise InputError(
            f"{where}: expected translations of one step in metres, 1 % are longer than {usual:g}, which at {fps:g} "
            f"steps a second would be {usual * fps:.3g} m/s: millimetres, normalised, or positions instead of steps?"
        )
    if usual * fps < _SLOWEST_M_S:
        raise InputError(
            f"{where}: expected translations of one step in metres, 99 % are shorter than {usual:.2g}, which at "
            f"{fps:g} steps a second would be {usual * fps:.2g} m/s: another unit, or a robot that stands still?"
        )
    if usual * fps > _FAST_M_S:
        yield f"{where}: 1 % of the translations are faster than {usual * fps:.2g} m/s; are they metres in one step?"
    if lengths.max() > _OUTLIER * usual:
        yield f"{where}: longest translation {lengths.max():.3g} m, 99 % are below {usual:.3g} m: outliers are clipped"
    turning = np.abs(selection.all_actions[:, 3:6]).max(axis=1)
    grippers = np.concatenate([np.diff(each[:, 6], prepend=each[0, 6]) for each in selection.actions])
    idle = np.mean((lengths < 1e-4) & (turning < 1e-3) & (grippers == 0))
    if idle > _MOST_IDLE:
        yield f"{where}: nothing moves in {idle:.0%} of the frames, and so a policy learns to stand still"


def check_rotations(selection: Selection) -> Iterator[str]:
    """Check that rotations are radians in one step. Constant rotations are usual: many tasks turn nothing.

    :returns: suspicious properties, one line each.
    :raises InputError: for rotations that are too fast.
    """
    where, fps = f"{selection.name}, {schema.ACTION}", selection.reader.info.fps
    angles = np.abs(selection.all_actions[:, 3:6])
    for name, usual in zip(schema.ACTION_NAMES[3:6], np.quantile(angles, 0.99, axis=0), strict=True):
        if usual * fps > _FASTEST_RAD_S or usual > np.pi:
            raise InputError(
                f"{where}: expected {name} of one step in radians, 1 % are above {usual:g}, which at {fps:g} steps a "
                f"second would be {usual * fps:.3g} rad/s: degrees, jumps by a full turn, or angles instead of steps?"
            )
    if angles.max() > np.pi:
        yield f"{where}: largest rotation {angles.max():.3g} rad in one step, more than half a turn: it is clipped"


def _check_features(selections: Sequence[Selection], config: TrainingConfig) -> Iterator[str]:
    """Checks of info.json alone."""
    needed = find_family(config.family.name).objectives
    for objective, weight in config.all_objectives().items():
        stages = [stage for stage in config.all_stages(1) if objective in (stage.objectives or {})]
        of_objective = {Path(path).resolve() for stage in stages for path in stage.data}
        used = [each for each in selections if not of_objective or each.reader.info.path.resolve() in of_objective]
        for feature in needed[objective]:
            yield from _check_feature(used, objective, weight, feature)
    for selection in selections:
        features = selection.reader.info.features
        if config.inputs.depth == "sensor" and schema.DEPTH not in features:
            raise InputError(
                f"{selection.name}: expected a feature {schema.DEPTH} because inputs.depth is 'sensor', there is none; "
                "set inputs.depth to a network (zoedepth), or to constant with inputs.traces none"
            )
        if schema.INTRINSICS not in features:
            yield f"{selection.name}: no {schema.INTRINSICS}, the checkpoint's default camera is used"


def _check_feature(selections: Sequence[Selection], objective: str, weight: float, feature: str) -> Iterator[str]:
    lacking = [each for each in selections if feature not in each.reader.info.features]
    if len(lacking) == len(selections):
        raise InputError(
            f"{lacking[0].name}: expected a feature {feature} because objectives.{objective} is {weight:g}, there is "
            f"none; set objectives.{objective} to 0"
        )
    yield from (
        f"{each.name}: no {feature}, nothing is learnt from it for the objective {objective}" for each in lacking
    )


def _check_episodes(selection: Selection) -> Iterator[str]:
    info, lengths = selection.reader.info, np.array([len(each) for each in selection.actions])
    single = int((lengths < 2).sum())
    if single > _MOST_SINGLE_FRAMES * len(lengths):
        raise InputError(f"{selection.name}: expected episodes of many frames, {single} of {len(lengths)} have one")
    if single:
        yield f"{selection.name}: {single} of {len(lengths)} episodes have one frame"
    robot = embodiments().get(info.robot_type)
    if robot and abs(info.fps / robot.control_hz - 1.0) > _CONTROL_RATE:
        yield (
            f"{selection.name}: {info.fps:g} frames a second, {info.robot_type} is controlled at {robot.control_hz:g}: "
            "an action is the motion of one frame, so the robot will move slower or faster"
        )


def _check_grippers(selections: Sequence[Selection], still: bool) -> Iterator[str]:
    """:param still: whether a gripper that never changes is right for these tasks."""
    seen: dict[str, set[str]] = {}
    for selection in selections:
        where, gripper = f"{selection.name}, {schema.ACTION}", selection.all_actions[:, 6]
        low, high = float(gripper.min()), float(gripper.max())
        if low < 0.0 or high > 1.0:
            raise InputError(f"{where}: expected gripper from 0 (closed) to 1 (open), got {low:g} to {high:g}")
        seen[where] = {"open" if is_open else "closed" for is_open in gripper >= 0.5}  # as the action tokens have it
        between = np.mean((gripper > _HALF_OPEN[0]) & (gripper < _HALF_OPEN[1]))
        if between > _MOST_HALF_OPEN:
            yield f"{where}: gripper is half open in {between:.0%} of the frames; from 0.5 on it counts as open"
    if len(set.union(*seen.values())) == 1 and not still:
        where, (state,) = next(iter(seen.items()))
        raise InputError(
            f"{where}: expected a gripper that opens and closes, it is {state} in every frame; where that is right, "
            "set data.still_gripper"
        )
    yield from _check_meanings(selections)
    yield from (
        f"{where}: gripper is {min(states)} in every frame" for where, states in seen.items() if len(states) == 1
    )


def _check_meanings(selections: Sequence[Selection]) -> Iterator[str]:
    """Check that grippers begin alike. If 1 means open in one data set and closed in another, one begins its episodes
    open and the other closed.
    """
    # A gripper that never moves tells nothing.
    moving = [each for each in selections if np.ptp(each.all_actions[:, 6]) >= 0.5]
    begins = {index: float(np.mean([each[0, 6] >= 0.5 for each in one.actions])) for index, one in enumerate(moving)}
    if begins:
        most, least = max(begins, key=begins.__getitem__), min(begins, key=begins.__getitem__)
        said = moving[most].reader.info.action_said and moving[least].reader.info.action_said
        if begins[most] > _MOSTLY and begins[least] < 1.0 - _MOSTLY and not said:
            raise InputError(
                f"{moving[least].name}, {schema.ACTION}: expected a gripper that begins open as in "
                f"{moving[most].name}; it begins closed in {1.0 - begins[least]:.0%} of the episodes: if 1 means "
                "closed there, say so in data.action (… gripper_closed); if not, say what the actions of both mean"
            )
    for selection in selections:
        if note := selection.reader.info.action.note:
            yield f"{selection.name}, {schema.ACTION}: converted: {note}"


def _check_together(selections: Sequence[Selection]) -> Iterator[str]:
    first = selections[0]
    for other in selections[1:]:
        rates = first.reader.info.fps, other.reader.info.fps
        if abs(rates[1] / rates[0] - 1.0) > _SAME_RATE:
            raise InputError(
                f"{other.name}: expected {rates[0]:g} frames a second as {first.name} has, got {rates[1]:g}: an action "
                "is the motion of one frame"
            )
    frames = sum(each.frames for each in selections)
    if frames < MIN_ACTIONS:
        raise InputError(f"{first.name}: expected at least {MIN_ACTIONS} frames to fit statistics to, got {frames}")
    scales = [np.quantile(np.linalg.norm(each.all_actions[:, :3], axis=1), 0.99) for each in selections]
    small, large = int(np.argmin(scales)), int(np.argmax(scales))
    if scales[large] > _MOST_SCALE * scales[small]:
        raise InputError(
            f"{selections[large].name}, {schema.ACTION}: expected translations like those of {selections[small].name}, "
            f"they are {scales[large] / scales[small]:.3g} times as long: other units, or not to be trained together"
        )
    paths = Counter(each.reader.info.path.resolve() for each in selections)
    yield from (f"data set {path}: listed {count} times" for path, count in paths.items() if count > 1)


def _check_instructions(selections: Sequence[Selection]) -> Iterator[str]:
    frames: Counter[str] = Counter()
    for selection in selections:
        for text, actions in zip(selection.instructions, selection.actions, strict=True):
            frames[text] += len(actions)
    (most, many), (least, few) = frames.most_common(1)[0], frames.most_common()[-1]
    if many > _MOST_IMBALANCE * few:
        yield f"instructions: {most!r} has {many} frames, {least!r} {few}: the rare one is hardly learnt"
    episodes = Counter(text for selection in selections for text in selection.instructions)
    rare = [text for text, count in episodes.items() if count < _FEW_EPISODES]
    if rare:
        yield f"instructions: {len(rare)} of {len(episodes)} have fewer than {_FEW_EPISODES} episodes, as {rare[0]!r}"


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)
