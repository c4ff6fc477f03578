"""The meaning of an action's numbers, told by the names of its elements or by the configuration; and the conversion to
our convention: x y z roll pitch yaw about the fixed axes, gripper opening from 0 (closed) to 1.

LeRobot's info.json has a name for each element, but every lab uses its own names. Names that can mean two things are
not guessed: then `data.action` must tell the meaning, in the words of `ELEMENTS`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import ACTION_NAMES

_XYZ, _RPY = ACTION_NAMES[:3], ACTION_NAMES[3:6]
_AXIS_ANGLE = ("axis_angle_x", "axis_angle_y", "axis_angle_z")
_OPEN, _CLOSED = "gripper", "gripper_closed"
# Words of `data.action`: steps in metres and radians; a gripper that is 1 when open, or 1 when closed.
ELEMENTS = (*ACTION_NAMES, *_AXIS_ANGLE, _CLOSED)

# Prefixes and suffixes of a name that do not change its meaning: they say that it is a step, of what, in which unit.
_STEP = re.compile(
    r"^(delta|d|rel|relative|ee|eef|tcp|tool|end_effector|hand|right|left|arm|robot|action)_|_(delta|rel|m|rad)$"
)
# Of a gripper they do: its opening, or by how much it opens.
_GRIPPER_STEP = re.compile(r"^(action_)?(d|delta|rel|relative)_?\w*grip|grip\w*_(delta|rel)$")
_ABSOLUTE = re.compile(r"(^|_)(abs|absolute|target|goal|desired)(_|$)")
_JOINTS = re.compile(
    r"joint|waist|shoulder|elbow|forearm|wrist|motor_|servo|finger|^(j|q|a|axis)_?[1-9]$|panda_|base_link|qpos"
)
# Names of what no words of `data.action` can tell.
_OTHER_SPACES = {
    "orientations as quaternions": re.compile(r"quat|(^|_)(qw|qw_\d)$"),
    "rotations as six numbers": re.compile(r"6d(_|$)|6d\d"),
    "speeds": re.compile(r"vel(_|$)|veloc|speed|twist|^(linear|angular|v|omega)_?[xyz]$|_(linear|angular)_[xyz]$"),
    "another unit than metres and radians": re.compile(r"(^|_)(mm|cm|millimet\w+|centimet\w+|deg|degrees?)(_|$)"),
}
_SIDES = tuple(re.compile(rf"(^|_){side}(_|$)") for side in ("left", "right"))
_ALIASES = {
    **{
        name: axis
        for axis in "xyz"
        for name in (f"pos_{axis}", f"{axis}_pos", f"position_{axis}", f"translation_{axis}", f"t{axis}", f"d{axis}")
    },
    **{f"world_vector_{number}": axis for number, axis in enumerate("xyz")},
    **{f"{kind}_{name}": name for name in _RPY for kind in ("euler", "rot", "rotation", "rpy")},
    **{f"d{name}": name for name in _RPY},
    **{
        alias: f"axis_angle_{axis}"
        for number, axis in enumerate("xyz", start=1)
        for alias in (
            f"axis_angle{number}",
            f"axisangle{number}",
            f"axis_angle_{number}",
            f"axisangle_{axis}",
            f"rotvec_{axis}",
            f"rotation_vector_{axis}",
        )
    },
    **dict.fromkeys(("gripper_open", "gripper_openness", "gripper_opening", "open_gripper", "grip_open"), _OPEN),
    **dict.fromkeys(
        ("gripper_closed", "gripper_closedness", "gripper_close", "gripper_closing", "close_gripper", "grasp"), _CLOSED
    ),
}
_NO_NAMES = re.compile(r"(action|motor|dim|element|value|a)?_?\d+")


@dataclass(frozen=True)
class ActionMeaning:
    """:param elements: meaning of each number, one of ``ELEMENTS``: one translation, one rotation, one gripper."""

    elements: tuple[str, ...]

    def to_ours(self, values: np.ndarray) -> np.ndarray:
        """
        :param values: (T, 7) as stored.
        :returns: (T, 7) of the same type, as ``ACTION_NAMES``.
        """
        if self.elements == ACTION_NAMES:
            return values
        ours = np.empty_like(values)
        ours[:, :3] = values[:, self._places(_XYZ)]
        if _AXIS_ANGLE[0] in self.elements:
            vectors = values[:, self._places(_AXIS_ANGLE)].astype(np.float64)
            # Numbers that are not finite are left to the code that checks them.
            finite = np.isfinite(vectors).all(axis=1)
            ours[:, 3:6] = np.nan
            ours[finite, 3:6] = Rotation.from_rotvec(vectors[finite]).as_euler("xyz")
        else:
            ours[:, 3:6] = values[:, self._places(_RPY)]
        if _CLOSED in self.elements:
            ours[:, 6] = 1.0 - values[:, self.elements.index(_CLOSED)]
        else:
            ours[:, 6] = values[:, self.elements.index(_OPEN)]
        return ours

    @property
    def note(self) -> str:
        """The conversion in words for people; empty if nothing is converted."""
        done = []
        if _AXIS_ANGLE[0] in self.elements:
            done.append("axis-angle to roll, pitch, yaw")
        if _CLOSED in self.elements:
            done.append("a gripper of 1 when closed to 1 when open")
        plain = [name for name in self.elements if name not in (*_AXIS_ANGLE, _CLOSED)]
        if plain != [name for name in ACTION_NAMES if name in plain] or self.elements[-1] not in (_OPEN, _CLOSED):
            done.append("another order of the numbers")
        return ", ".join(done)

    def _places(self, names: Sequence[str]) -> list[int]:
        return [self.elements.index(name) for name in names]


def meaning_of(names: Sequence[str], said: str = "") -> ActionMeaning:
    """
    :param names: names of the elements in the data set; empty if it has none.
    :param said: meaning of the elements in the configuration, in words of ``ELEMENTS``; empty if it says nothing.
    :raises InputError: for joints, absolute poses and everything else that is no step of the end effector; for names
        that are unknown or ambiguous, if the configuration says nothing about them.
    """
    if said:
        words = tuple(said.replace(",", " ").split())
        if not _is_whole(words):
            raise InputError(
                f"data.action: expected seven words, three of {' '.join(_XYZ)}, three of {' '.join(_RPY)} or "
                f"{' '.join(_AXIS_ANGLE)}, and {_OPEN} (1 when open) or {_CLOSED} (1 when closed), in the order of the "
                f"numbers, got {said!r}"
            )
        return ActionMeaning(words)
    check_space(names)
    shown = ", ".join(names) or "no names"
    words = tuple(_word(name) for name in names)
    if not _is_whole(words):
        unclear = [name for name, word in zip(names, words, strict=True) if word not in ELEMENTS]
        which = f"{', '.join(unclear)} can mean several things" if unclear else f"got {shown}"
        raise InputError(
            f"expected names that say what the numbers mean, {which}; say it in data.action, by the data set's path: "
            f"{' '.join(ACTION_NAMES)}, or with {' '.join(_AXIS_ANGLE)} or {_CLOSED} (1 when closed), in the order of "
            "the numbers"
        )
    return ActionMeaning(words)


def check_space(names: Sequence[str]) -> None:
    """:raises InputError: for names of joints, absolute poses and everything else that is no step of one end effector
    in metres and radians.
    """
    shown = ", ".join(names)
    expected = f"expected steps of the end effector ({', '.join(ACTION_NAMES)})"
    for name in names:
        if _ABSOLUTE.search(_plain(name)):
            raise InputError(f"expected steps of the end effector, {name!r} is an absolute pose ({shown})")
    if any(_JOINTS.search(_plain(name)) and not _NO_NAMES.fullmatch(_plain(name)) for name in names):
        raise InputError(f"{expected}, got joints: {shown}")
    for space, pattern in _OTHER_SPACES.items():
        if any(pattern.search(_plain(name)) for name in names):
            raise InputError(f"{expected} in metres and radians, got {space}: {shown}")
    if _of_two_arms(names):
        raise InputError(f"{expected}, got those of two arms: {shown}")


def pose_of(names: Sequence[str], values: np.ndarray) -> np.ndarray | None:
    """A state's pose and gripper opening, if the names of its elements tell which they are.

    :param values: (T, n) as stored.
    :returns: (T, 7) float32 as ``ACTION_NAMES``; None if the names do not tell.
    """
    words = [_word(name) for name in names]
    gripper = next((word for word in (_OPEN, _CLOSED) if word in words), None)
    if gripper is None or not {*_XYZ, *_RPY} <= set(words) or _of_two_arms(names):
        return None
    pose = values[:, [words.index(name) for name in (*_XYZ, *_RPY, gripper)]].astype(np.float32)
    if gripper == _CLOSED:
        pose[:, 6] = 1.0 - pose[:, 6]
    return pose


def _plain(name: str) -> str:
    """In small letters, with underscores, without LeRobot's unit (`gripper.pos` is one of its motors)."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower().removesuffix(".pos")).strip("_")


def _of_two_arms(names: Sequence[str]) -> bool:
    return all(any(side.search(_plain(name)) for name in names) for side in _SIDES)


def _word(name: str) -> str:
    if name.lower().endswith(".pos"):
        return ""  # a motor's position in its own unit, which tells neither open nor closed
    plain = _plain(name)
    if _GRIPPER_STEP.search(plain):
        return ""
    while plain not in ELEMENTS and plain not in _ALIASES and (shorter := _STEP.sub("", plain)) != plain:
        plain = shorter
    return _ALIASES.get(plain, plain)


def _is_whole(words: Sequence[str]) -> bool:
    if len(words) != len(ACTION_NAMES):
        return False
    found = set(words)
    return any(found == {*_XYZ, *rotation, gripper} for rotation in (_RPY, _AXIS_ANGLE) for gripper in (_OPEN, _CLOSED))
