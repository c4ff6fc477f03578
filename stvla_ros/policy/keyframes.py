"""Keyframes: the frames some seconds later, and how the arm has moved until then. Uses no torch."""

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.policy.samples import Samples

MOTIONS = ("x", "y", "z", "turn", "opening")
"""Numbers of a motion: x y z in metres and the turn about the vertical in radians, both in the base frame; opening."""
NOISE = "noise"
TARGETS = {**{name: (column,) for column, name in enumerate(MOTIONS)}, NOISE: (5, 6, 7)}
"""What a latent action is asked for: columns of :func:`motion_targets`, by name."""
_TRANSLATION = slice(0, 3)


def find_keyframes(samples: Samples, seconds: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The keyframes of every frame, as the stamps tell.

    :returns: (N, T) indices, and (N, T) bool, which there are: in the same episode, within half a frame of their time,
        and later than the keyframe before. The others' index is the frame's own.
    """
    every = np.arange(len(samples))
    found, valid = (np.stack(parts, axis=1) for parts in zip(*(samples.at(every, each) for each in seconds)))
    latest = every
    for place in range(len(seconds)):
        valid[:, place] &= found[:, place] > latest
        latest = np.where(valid[:, place], found[:, place], latest)
    return np.where(valid, found, every[:, None]), valid


def motions(states: np.ndarray, keyframes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """How the tool point moves from each frame to its keyframes.

    :param states: (N, 7) as ``Samples.states``.
    :param keyframes, valid: (N, T) as of :func:`find_keyframes`.
    :returns: (N, T, 5) float64 ``MOTIONS``, NaN where unknown. The turn is taken of the rotations themselves: roll,
        pitch and yaw jump where the pitch is a right angle.
    """
    known = valid & np.isfinite(states).all(axis=1)[:, None] & np.isfinite(states[keyframes]).all(axis=2)
    found = np.full((*valid.shape, len(MOTIONS)), np.nan)
    rows, places = np.nonzero(known)
    if not len(rows):
        return found
    before, after = states[rows].astype(np.float64), states[keyframes[rows, places]].astype(np.float64)
    turn = Rotation.from_euler("xyz", after[:, 3:6]) * Rotation.from_euler("xyz", before[:, 3:6]).inv()
    found[rows, places] = np.column_stack(
        [after[:, :3] - before[:, :3], turn.as_rotvec()[:, 2], after[:, 6] - before[:, 6]]
    )
    return found


def injected_noise(actions: np.ndarray, executed: np.ndarray, keyframes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """What was executed beyond the expert's actions, from each frame until its keyframes. No picture of the present
    tells it: only the change does.

    :param actions, executed: (N, 7) as of ``Samples``.
    :param keyframes, valid: (N, T) as of :func:`find_keyframes`.
    :returns: (N, T, 3) float64 x y z, metres in the base frame, sums over the steps between; NaN where unknown.
    """
    beyond = executed[:, _TRANSLATION].astype(np.float64) - actions[:, _TRANSLATION]
    until = np.concatenate([np.zeros((1, 3)), np.cumsum(np.nan_to_num(beyond), axis=0)])
    unknown = np.concatenate([[0], np.cumsum(~np.isfinite(beyond).all(axis=1))])
    rows = np.arange(len(actions))[:, None]
    known = valid & (unknown[keyframes] == unknown[rows])
    return np.where(known[..., None], until[keyframes] - until[rows], np.nan)


def motion_targets(samples: Samples, keyframes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(N, T, 8) float64: ``motions`` and ``injected_noise``, NaN where unknown.

    :param keyframes, valid: (N, T) as of :func:`find_keyframes`.
    """
    noise = injected_noise(samples.actions, samples.executed, keyframes, valid)
    return np.concatenate([motions(samples.states, keyframes, valid), noise], axis=2)


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly over all."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]
