"""Selects the recorded frames that become frames of a demonstration, and computes their actions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError

# A rate this near to a whole number is taken for that number: stamps jitter.
_WHOLE_RATE = 0.01


@dataclass(frozen=True)
class RecordedEpisode:
    """The recorded frames of one episode, without their pictures.

    :param name: name of the episode, for messages.
    :param stamps: (n,) int64 nanoseconds, increasing: stamps by which the frames are found.
    :param times: (n,) int64 nanoseconds, increasing: times of the frames in the robot's time. In a simulator in
        lockstep, a control step takes one period, however long it took on the wall clock that the stamps come from.
    :param actions: command that answers each frame; None if there is none.
    :param fps: control steps a second, if known; 0 if it must be told from the stamps.
    :param control_hz: rate to resample to if the frames are not evenly spaced: the control steps a second of a robot
        whose commands come when they are ready; 0 if it is not known.
    :param states: (n, 7) float32, states of the robot as in ``Demonstration.state``, NaN where unknown; None if the bag
        does not tell them.
    """

    name: str
    stamps: np.ndarray
    times: np.ndarray
    actions: Sequence[EndEffectorAction | None]
    instruction: str
    fps: float = 0.0
    control_hz: float = 0.0
    success: bool = True
    source: Mapping[str, Any] = field(default_factory=dict)
    states: np.ndarray | None = None


@dataclass(frozen=True)
class ChosenFrames:
    """:param recorded: (T,) int64 stamps of the recorded frames that are used; resampling may repeat some.
    :param stamps: (T,) int64 nanoseconds since the first frame.
    :param actions: action of each frame.
    :param remarks: number of frames or commands that were left out, merged or repeated, by reason.
    """

    recorded: np.ndarray
    stamps: np.ndarray
    actions: list[EndEffectorAction]
    fps: float
    remarks: Counter[str]


def choose_frames(episode: RecordedEpisode, fps: float, tolerance: float) -> ChosenFrames:
    """
    :param fps: rate to resample to; 0: frames stay as they are if they are evenly spaced, else the control rate is
        used.
    :param tolerance: largest difference of an interval from the usual one, as a share of it.
    :raises InputError: as :func:`keep_frames` and :func:`resample_frames`.
    """
    if fps:
        return resample_frames(episode, fps)
    try:
        return keep_frames(episode, tolerance)
    except InputError:
        if not episode.control_hz:
            raise
    chosen = resample_frames(episode, round(episode.control_hz, 3))
    remark = f"episodes resampled to {episode.control_hz:g} Hz, the robot's control rate: their commands are not even"
    return replace(chosen, remarks=chosen.remarks + Counter({remark: 1}))


def keep_frames(episode: RecordedEpisode, tolerance: float) -> ChosenFrames:
    """Keep every answered frame with its own stamp.

    :param tolerance: largest difference of an interval from the usual one, as a share of it.
    :raises InputError: when fewer than two frames are answered, or they are not evenly spaced.
    """
    answered = [index for index, action in enumerate(episode.actions) if action is not None]
    if len(answered) < 2:
        raise InputError(f"{episode.name}: expected at least 2 frames with a command, got {len(answered)}")
    intervals = np.diff(episode.times[answered])
    usual = 1e9 / episode.fps if episode.fps else float(np.median(intervals))
    uneven = np.flatnonzero(abs(intervals - usual) > tolerance * usual)
    if len(uneven):
        raise InputError(
            f"{episode.name}: expected frames with a command every {usual / 1e6:.1f} ms (within {tolerance:.0%}), "
            f"{len(uneven)} of {len(intervals)} intervals differ, such as {intervals[uneven[0]] / 1e6:.1f} ms; "
            "give fps to resample"
        )
    stamps = episode.stamps[answered]
    span = int(episode.times[answered[-1]] - episode.times[answered[0]])
    return ChosenFrames(
        recorded=stamps,
        stamps=stamps - stamps[0],
        actions=[episode.actions[index] for index in answered],
        fps=episode.fps or _nice_rate(1e9 * len(intervals) / span),
        remarks=_count({"frames left out, no command answers them": len(episode.stamps) - len(answered)}),
    )


def resample_frames(episode: RecordedEpisode, fps: float) -> ChosenFrames:
    """At each tick, take the newest frame. Its action is all motion that was commanded until the next chosen frame.

    Actions are relative, so the actions of merged frames are combined (the robot would otherwise move less far), and a
    repeated frame holds still. Ticks begin at the first frame with a command and end with the last one.

    :raises InputError: when no frame is answered.
    """
    answered = [index for index, action in enumerate(episode.actions) if action is not None]
    if not answered:
        raise InputError(f"{episode.name}: expected frames with a command, got none")
    first, last = answered[0], answered[-1]
    times = episode.times[first : last + 1] - episode.times[first]
    # The margin assigns frames that lie on a tick to that tick, whatever the rounding.
    count = int((times[-1] + 1) * fps // 1e9) + 1
    ticks = np.round(np.arange(count) * 1e9 / fps).astype(np.int64)
    chosen = first + np.searchsorted(times, ticks + 1, side="right") - 1
    gripper = episode.actions[first].gripper
    actions = []
    for tick, begin in enumerate(chosen):
        # A repeated frame holds still after its first tick.
        repeated = tick > 0 and chosen[tick - 1] == begin
        end = begin if repeated else next((later for later in chosen[tick:] if later != begin), last + 1)
        commands = [action for action in episode.actions[begin:end] if action is not None]
        actions.append(compose(commands, gripper))
        gripper = actions[-1].gripper
    used = len(set(chosen.tolist()))
    return ChosenFrames(
        recorded=episode.stamps[chosen],
        stamps=ticks,
        actions=actions,
        fps=fps,
        remarks=_count(
            {
                "frames left out, before the first or after the last command": len(episode.stamps) - len(times),
                f"frames merged into others at {fps:g} Hz": len(times) - used,
                f"frames repeated at {fps:g} Hz": count - used,
            }
        ),
    )


def compose(actions: Sequence[EndEffectorAction], gripper: float) -> EndEffectorAction:
    """One action with the same result as several, one after the other.

    :param gripper: opening of the gripper if there is no action: the robot holds.
    """
    if not actions:
        return EndEffectorAction.hold(gripper)
    if len(actions) == 1:
        return actions[0]
    rotation = Rotation.identity()
    for action in actions:
        rotation = Rotation.from_rotvec(action.rotation) * rotation
    translation = np.sum([action.translation for action in actions], axis=0)
    return EndEffectorAction(translation, rotation.as_rotvec(), actions[-1].gripper)


def _count(remarks: Mapping[str, int]) -> Counter[str]:
    return Counter({reason: count for reason, count in remarks.items() if count})


def _nice_rate(rate: float) -> float:
    return float(round(rate)) if abs(rate - round(rate)) < _WHOLE_RATE * rate else round(rate, 3)
