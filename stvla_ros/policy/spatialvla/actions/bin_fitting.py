"""Fits action bins to a new data set, and moves trained action embeddings onto them.

As in SpatialVLA (arXiv 2501.15830, section on adaptive action grids), a Gaussian is fitted to every coordinate and its
bins are equally probable under that Gaussian, truncated to the coordinate's range.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import truncnorm

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import checked_actions
from stvla_ros.policy.spatialvla.actions.action_tokenizer import (
    COORDINATE_RANGES,
    COORDINATES,
    ROTATION_COORDINATES,
    TRANSLATION_COORDINATES,
    ActionTokenizer,
    action_coordinates,
)

PUBLISHED_NUM_BINS: Mapping[str, int] = {"theta": 16, "phi": 32, "r": 8, "roll": 16, "pitch": 16, "yaw": 16}
# Floor of the published bins' standard deviations. Without a floor, the outermost bins reach from the data's tail to
# the end of the range, and decode to their middle: at a standard deviation of 0.1, the mean rotation error is then 2.7
# times as large.
PUBLISHED_MIN_SIGMA = 0.5
# A standard deviation from fewer numbers is not reliable.
MIN_ACTIONS = 10
# As a share of the coordinate's range: far above the rounding of spherical coordinates, far below a useful action.
_MIN_BIN_WIDTH = 1e-6


@dataclass(frozen=True)
class Gaussian:
    """:param mean, std: mean and standard deviation, radians for theta and phi, otherwise in units of the normalized
    action.
    """

    mean: float
    std: float


# Gaussians behind the bin edges of IPEC-COMMUNITY/spatialvla-4b-mix-224-pt: a least-squares fit to the published edges
# leaves an error of 1e-15. A new model starts from these.
PUBLISHED_GAUSSIANS: Mapping[str, Gaussian] = {
    "theta": Gaussian(1.8764124969142981, 0.7796698531704828),
    "phi": Gaussian(0.11370731154738656, 1.6770051583708574),
    "r": Gaussian(0.5388089344232079, 0.5),
    "roll": Gaussian(-0.027831684347476782, 0.5),
    "pitch": Gaussian(0.024452017209463283, 0.5),
    "yaw": Gaussian(0.005450679027536503, 0.5),
}


def fit_gaussians(normalized_actions: ArrayLike) -> dict[str, Gaussian]:
    """
    :param normalized_actions: (N, 7), N >= ``MIN_ACTIONS``; values beyond -1..1 are clipped, as in encoding.
    :returns: mean and standard deviation by coordinate. Translations of length 0 have no direction and do not count
        for theta and phi.
    :raises InputError: for another shape, too few actions, a NaN or infinity, or too few translations that move.
    """
    actions = np.clip(checked_actions("normalized actions", normalized_actions), -1.0, 1.0)
    if actions.ndim != 2 or len(actions) < MIN_ACTIONS:
        raise InputError(f"normalized actions: expected shape (N, 7) with N >= {MIN_ACTIONS}, got {actions.shape}")
    values = dict(zip(COORDINATES, action_coordinates(actions), strict=True))
    moving = values["r"] > 0.0
    if np.count_nonzero(moving) < MIN_ACTIONS:
        raise InputError(
            f"normalized actions: expected at least {MIN_ACTIONS} translations that are not zero, "
            f"got {np.count_nonzero(moving)}"
        )
    for name in ("theta", "phi"):
        values[name] = values[name][moving]
    return {name: Gaussian(float(v.mean()), float(v.std())) for name, v in values.items()}


def bins_from_gaussians(
    gaussians: Mapping[str, Gaussian],
    num_bins: Mapping[str, int] = PUBLISHED_NUM_BINS,
    min_sigma: float = 0.0,
    chunk_size: int = 4,
) -> ActionTokenizer:
    """
    :param gaussians: one for each of ``COORDINATES``.
    :param num_bins: bins of each coordinate.
    :param min_sigma: floor of all standard deviations.
    :param chunk_size: actions in one chunk.
    :returns: a tokenizer whose bins are equally probable under the Gaussians, each truncated to its coordinate's range.
    :raises InputError: for a missing coordinate, a bad number, or Gaussians so narrow that edges fall together.
    """
    if not 0.0 <= min_sigma < np.inf:
        raise InputError(f"min_sigma: expected a finite number of at least 0, got {min_sigma}")
    for name, mapping in (("gaussians", gaussians), ("num_bins", num_bins)):
        if set(mapping) != set(COORDINATES):
            raise InputError(f"{name}: expected the coordinates {', '.join(COORDINATES)}, got {', '.join(mapping)}")
    for name in COORDINATES:
        if num_bins[name] < 1:
            raise InputError(f"num_bins of {name}: expected at least 1, got {num_bins[name]}")
    edges: dict[str, Any] = {
        f"{name}_edges": _equal_probability_edges(name, gaussians[name], num_bins[name], min_sigma)
        for name in COORDINATES
    }
    return ActionTokenizer(**edges, chunk_size=chunk_size)


def fit_bins(
    normalized_actions: ArrayLike,
    num_bins: Mapping[str, int] = PUBLISHED_NUM_BINS,
    min_sigma: float = PUBLISHED_MIN_SIGMA,
    chunk_size: int = 4,
) -> ActionTokenizer:
    """A tokenizer for a new data set: ``bins_from_gaussians`` of ``fit_gaussians``; see there."""
    return bins_from_gaussians(fit_gaussians(normalized_actions), num_bins, min_sigma, chunk_size)


def regrid_embeddings(embeddings: np.ndarray, old: ActionTokenizer, new: ActionTokenizer) -> np.ndarray:
    """Move action-token embeddings onto new bins, so that a place in action space keeps its embedding.

    Linear interpolation between the old bins' mid-points; beyond the outermost of them, the nearest one's embedding.

    :param embeddings: (old.num_tokens, E) floating point, trained with ``old``.
    :returns: (new.num_tokens, E) of the same dtype; the gripper's rows are unchanged.
    :raises InputError: for another shape or type.
    """
    embeddings = np.asarray(embeddings)
    shape = embeddings.shape
    if len(shape) != 2 or shape[0] != old.num_tokens or not np.issubdtype(embeddings.dtype, np.floating):
        raise InputError(
            f"embeddings: expected floating point of shape ({old.num_tokens}, E), got {embeddings.dtype} of {shape}"
        )
    translation, rotation, gripper = (embeddings[begin:end] for begin, end in old.legal_ranges)
    return np.concatenate(
        (
            _regrid(translation, old, new, TRANSLATION_COORDINATES),
            _regrid(rotation, old, new, ROTATION_COORDINATES),
            gripper,
        )
    )


def _equal_probability_edges(name: str, gaussian: Gaussian, bins: int, min_sigma: float) -> np.ndarray:
    low, high = COORDINATE_RANGES[name]
    std = max(gaussian.std, min_sigma)
    if not (np.isfinite(gaussian.mean) and 0.0 < std < np.inf):
        raise InputError(
            f"gaussian of {name}: expected a finite mean and a positive standard deviation (raise min_sigma), "
            f"got {gaussian.mean:g} and {std:g}"
        )
    a, b = (low - gaussian.mean) / std, (high - gaussian.mean) / std
    # Inner quantiles only: the ends are known, and would come back with rounding.
    inner = truncnorm.ppf(np.linspace(0.0, 1.0, bins + 1)[1:-1], a, b, loc=gaussian.mean, scale=std)
    edges = np.concatenate(([low], inner, [high]))
    narrowest = np.diff(edges).min()
    if not narrowest >= _MIN_BIN_WIDTH * (high - low):  # also for NaN
        raise InputError(
            f"gaussian of {name}: expected bins of at least {_MIN_BIN_WIDTH:g} of the range (raise min_sigma), "
            f"got a width of {narrowest:g} from mean {gaussian.mean:g} and standard deviation {std:g}"
        )
    return edges


def _regrid(rows: np.ndarray, old: ActionTokenizer, new: ActionTokenizer, coordinates: tuple[str, ...]) -> np.ndarray:
    grid = rows.reshape(*(old.num_bins(name) for name in coordinates), rows.shape[-1])
    # A copy of the border, one unit outside, gives every axis at least two points, and a constant value beyond them.
    grid = np.pad(grid, [(1, 1)] * len(coordinates) + [(0, 0)], mode="edge")
    points = []
    for name in coordinates:
        midpoints, (low, high) = old.midpoints(name), COORDINATE_RANGES[name]
        points.append(np.concatenate(([low - 1.0], midpoints, [high + 1.0])))
    targets = np.meshgrid(*(new.midpoints(name) for name in coordinates), indexing="ij")
    moved = RegularGridInterpolator(points, grid)(np.stack([t.ravel() for t in targets], axis=-1))
    return moved.astype(rows.dtype)
