"""Converts between normalized actions and the model's spatial action tokens.

One action is three tokens: a translation in spherical bins, a rotation in Euler-angle bins, an open or closed gripper.
The rules are those of SpatialVLA (https://github.com/SpatialVLA/SpatialVLA, ``model/action_tokenizer.py``), so that
tokens of published checkpoints mean the same here; the bin edges come with the checkpoint.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import checked_actions

TRANSLATION_COORDINATES = ("theta", "phi", "r")
ROTATION_COORDINATES = ("roll", "pitch", "yaw")
COORDINATES = TRANSLATION_COORDINATES + ROTATION_COORDINATES
# Radians for the angles of the translation's direction; all others in units of the normalized action.
COORDINATE_RANGES = {
    "theta": (0.0, math.pi),
    "phi": (-math.pi, math.pi),
    "r": (0.0, math.sqrt(3.0)),
    "roll": (-1.0, 1.0),
    "pitch": (-1.0, 1.0),
    "yaw": (-1.0, 1.0),
}
TOKENS_PER_ACTION = 3
_TOKEN_KINDS = ("translation", "rotation", "gripper")
_GRIPPER_TOKENS = 2
# Published edges miss the ends of their range, but only by rounding.
_RANGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ActionTokenizer:
    """Encodes normalized actions as token offsets, and back.

    A normalized action is (x, y, z, roll, pitch, yaw, gripper), the first six in [-1, 1], the gripper 0 (closed) or
    1 (open). An offset is a token id less the id of the first action token: translations come first, then rotations,
    then the gripper's "close" and "open".

    :param theta_edges: n + 1 increasing bin edges for n bins of the translation's angle from +z, in 0..pi.
    :param phi_edges: the same for its angle about z from +x, in -pi..pi.
    :param r_edges: the same for its length, in 0..sqrt(3).
    :param roll_edges: the same for the normalized roll, in -1..1.
    :param pitch_edges: the same for the normalized pitch, in -1..1.
    :param yaw_edges: the same for the normalized yaw, in -1..1.
    :param chunk_size: actions in one chunk.
    :param distribution: distribution that the edges were fitted with; only kept, for the configuration file.
    :raises InputError: for edges that are too few, not finite, not strictly increasing or out of range; chunk_size < 1.
    """

    theta_edges: tuple[float, ...]
    phi_edges: tuple[float, ...]
    r_edges: tuple[float, ...]
    roll_edges: tuple[float, ...]
    pitch_edges: tuple[float, ...]
    yaw_edges: tuple[float, ...]
    chunk_size: int = 4
    distribution: str = "gaussian"

    def __post_init__(self) -> None:
        for name in COORDINATES:
            edges = _checked_edges(f"action tokenizer {name}_edges", getattr(self, f"{name}_edges"), name)
            object.__setattr__(self, f"{name}_edges", edges)
        _checked_count("action tokenizer chunk_size", self.chunk_size)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ActionTokenizer":
        """
        :param config: a checkpoint's ``processor_config.json``.
        :raises InputError: naming the key that is missing or wrong.
        """
        fields: dict[str, Any] = {}
        for name in COORDINATES:
            bins = f"{name}_bins"
            count_path = ("action_config", "num_bins", _kind(name), bins)
            count = _checked_count(_label(*count_path), _entry(config, *count_path))
            edges_path = ("bin_policy", _kind(name), bins)
            fields[f"{name}_edges"] = _checked_edges(_label(*edges_path), _entry(config, *edges_path), name, count)
        fields["chunk_size"] = _checked_count(_label("action_chunk_size"), _entry(config, "action_chunk_size"))
        fields["distribution"] = _entry(config, "action_config", "distribution")
        tokenizer = cls(**fields)
        for path, expected in (
            (("action_config", "use_spherical"), True),
            (("action_config", "num_bins", "gripper"), _GRIPPER_TOKENS),
            (("action_config", "num_bins", "total"), tokenizer.num_tokens),
        ):
            value = _entry(config, *path)
            if value != expected:
                raise InputError(f"{_label(*path)}: expected {expected}, got {value!r}")
        return tokenizer

    def to_config(self) -> dict[str, Any]:
        """The keys ``bin_policy``, ``action_config`` and ``action_chunk_size`` of ``processor_config.json``."""
        bin_policy: dict[str, Any] = {"translation": {}, "rotation": {}}
        num_bins: dict[str, Any] = {"translation": {}, "rotation": {}}
        for name in COORDINATES:
            bin_policy[_kind(name)][f"{name}_bins"] = list(self.edges(name))
            num_bins[_kind(name)][f"{name}_bins"] = self.num_bins(name)
        num_bins |= {"gripper": _GRIPPER_TOKENS, "total": self.num_tokens}
        return {
            "action_chunk_size": self.chunk_size,
            "action_config": {"distribution": self.distribution, "num_bins": num_bins, "use_spherical": True},
            "bin_policy": bin_policy,
        }

    def edges(self, coordinate: str) -> tuple[float, ...]:
        """:param coordinate: one of ``COORDINATES``."""
        return getattr(self, f"{coordinate}_edges")

    def num_bins(self, coordinate: str) -> int:
        """:param coordinate: one of ``COORDINATES``."""
        return len(self.edges(coordinate)) - 1

    def midpoints(self, coordinate: str) -> np.ndarray:
        """:returns: (bins,) float64, the value that each bin of ``coordinate`` decodes to."""
        return self._midpoints[coordinate]

    @property
    def translation_shape(self) -> tuple[int, int, int]:
        """Bins of theta, phi and r: translation offsets count them in C order."""
        theta, phi, r = (self.num_bins(name) for name in TRANSLATION_COORDINATES)
        return theta, phi, r

    @property
    def rotation_shape(self) -> tuple[int, int, int]:
        """Bins of roll, pitch and yaw: rotation offsets count them in C order."""
        roll, pitch, yaw = (self.num_bins(name) for name in ROTATION_COORDINATES)
        return roll, pitch, yaw

    @property
    def legal_ranges(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Half-open ranges of the offsets that are translations, rotations and gripper tokens."""
        rotation = math.prod(self.translation_shape)
        gripper = rotation + math.prod(self.rotation_shape)
        return (0, rotation), (rotation, gripper), (gripper, gripper + _GRIPPER_TOKENS)

    @property
    def num_tokens(self) -> int:
        return self.legal_ranges[-1][1]

    def encode(self, actions: ArrayLike) -> np.ndarray:
        """
        :param actions: (..., 7) normalized actions; values beyond -1..1 are clipped.
        :returns: (..., 3) int64 offsets of the translation, rotation and gripper tokens. A value on an edge belongs
            to the bin above it; a gripper of at least 0.5 is open.
        :raises InputError: for another shape, or a NaN or infinity.
        """
        clipped = np.clip(checked_actions("normalized actions", actions), -1.0, 1.0)
        # Only inner edges count, so that the outermost bins reach beyond their rounded ends.
        bins = {
            name: np.digitize(values, self.edges(name)[1:-1])
            for name, values in zip(COORDINATES, action_coordinates(clipped), strict=True)
        }
        (_, rotation), (_, gripper), _ = self.legal_ranges
        return np.stack(
            (
                np.ravel_multi_index([bins[name] for name in TRANSLATION_COORDINATES], self.translation_shape),
                np.ravel_multi_index([bins[name] for name in ROTATION_COORDINATES], self.rotation_shape) + rotation,
                np.where(clipped[..., 6] >= 0.5, 1, 0) + gripper,
            ),
            axis=-1,
        ).astype(np.int64)

    def decode(self, offsets: ArrayLike) -> np.ndarray:
        """
        :param offsets: (..., 3) integers, translation, rotation and gripper tokens.
        :returns: (..., 7) float64 normalized actions: the bins' mid-points, translations clipped to -1..1, because
            the sphere that the bins fill is larger than the cube.
        :raises InputError: for another shape or type, or an offset that is not legal at its place.
        """
        offsets = self._checked_offsets(offsets)
        (_, rotation), (_, gripper), _ = self.legal_ranges
        theta, phi, r = self._bins_to_values(offsets[..., 0], TRANSLATION_COORDINATES, self.translation_shape)
        x, y, z = r * np.sin(theta) * np.cos(phi), r * np.sin(theta) * np.sin(phi), r * np.cos(theta)
        angles = self._bins_to_values(offsets[..., 1] - rotation, ROTATION_COORDINATES, self.rotation_shape)
        translation = [np.clip(value, -1.0, 1.0) for value in (x, y, z)]
        return np.stack([*translation, *angles, (offsets[..., 2] - gripper).astype(np.float64)], axis=-1)

    def _bins_to_values(
        self, index: np.ndarray, coordinates: tuple[str, ...], shape: tuple[int, ...]
    ) -> list[np.ndarray]:
        bins = np.unravel_index(index, shape)
        return [self._midpoints[name][b] for name, b in zip(coordinates, bins, strict=True)]

    @cached_property
    def _midpoints(self) -> dict[str, np.ndarray]:
        midpoints = {}
        for name in COORDINATES:
            edges = np.array(self.edges(name))
            midpoints[name] = 0.5 * (edges[:-1] + edges[1:])
            midpoints[name].setflags(write=False)
        return midpoints

    def _checked_offsets(self, offsets: ArrayLike) -> np.ndarray:
        offsets = np.asarray(offsets)
        if not np.issubdtype(offsets.dtype, np.integer) or offsets.ndim < 1 or offsets.shape[-1] != TOKENS_PER_ACTION:
            raise InputError(
                f"action offsets: expected integers of shape (..., {TOKENS_PER_ACTION}), "
                f"got {offsets.dtype} of shape {offsets.shape}"
            )
        for place, (kind, (begin, end)) in enumerate(zip(_TOKEN_KINDS, self.legal_ranges, strict=True)):
            values = offsets[..., place]
            wrong = (values < begin) | (values >= end)
            if wrong.any():
                raise InputError(
                    f"action offsets: expected {begin}..{end - 1} for a {kind}, got {int(values[wrong].flat[0])}"
                )
        return offsets.astype(np.int64)


def action_coordinates(actions: np.ndarray) -> tuple[np.ndarray, ...]:
    """(..., 7) normalized actions to the values of ``COORDINATES``, (...) each."""
    x, y, z = actions[..., 0], actions[..., 1], actions[..., 2]
    # Written out, not hypot: a rounding difference to the reference would move values across an edge.
    theta = np.arctan2(np.sqrt(x**2 + y**2), z)
    return theta, np.arctan2(y, x), np.sqrt(x**2 + y**2 + z**2), actions[..., 3], actions[..., 4], actions[..., 5]


def _kind(coordinate: str) -> str:
    return "translation" if coordinate in TRANSLATION_COORDINATES else "rotation"


def _label(*path: str) -> str:
    return f"processor_config.json {'.'.join(path)}"


def _entry(config: Mapping[str, Any], *path: str) -> Any:
    value: Any = config
    for depth, key in enumerate(path, start=1):
        if not isinstance(value, Mapping) or key not in value:
            raise InputError(f"{_label(*path[:depth])}: expected the key, which is missing")
        value = value[key]
    return value


def _checked_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}: expected a whole number of at least 1, got {value!r}")
    return value


def _checked_edges(name: str, values: Any, coordinate: str, bins: int | None = None) -> tuple[float, ...]:
    try:
        edges = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: expected a list of numbers, got {type(values).__name__} ({error})") from error
    expected = "at least 2" if bins is None else str(bins + 1)
    if edges.ndim != 1 or len(edges) < 2 or (bins is not None and len(edges) != bins + 1):
        raise InputError(f"{name}: expected {expected} edges, got shape {edges.shape}")
    low, high = COORDINATE_RANGES[coordinate]
    # Also false for NaN.
    if not ((edges >= low - _RANGE_TOLERANCE) & (edges <= high + _RANGE_TOLERANCE)).all():
        raise InputError(f"{name}: expected edges in {low:.6g}..{high:.6g}, got {edges.min()}..{edges.max()}")
    flat = np.flatnonzero(np.diff(edges) <= 0)
    if len(flat):
        raise InputError(
            f"{name}: expected strictly increasing edges, got {edges[flat[0]]} before {edges[flat[0] + 1]}"
        )
    return tuple(edges.tolist())
