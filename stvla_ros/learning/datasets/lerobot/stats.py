"""Statistics of an episode and of a data set, with lerobot's names, shapes and units.

Each feature has min, max, mean, std, count (of frames) and quantiles q01 to q99. Pictures: per channel, shape (3, 1,
1), in 0..1; depth: (1, 1, 1), millimetres. Statistics of pictures use every pixel (lerobot samples them). A data set's
quantiles are the mean of its episodes' quantiles, weighted by their frames, as in lerobot: an approximation.
"""

from collections.abc import Mapping

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

FeatureStats = dict[str, np.ndarray]


def number_stats(values: np.ndarray) -> FeatureStats:
    """:param values: (T, D) numbers. :return: each statistic (D,) float64, `count` (1,) int64."""
    values = values.astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, quantiles)),
    }


def picture_stats(pictures: np.ndarray, scale: float) -> FeatureStats:
    """:param pictures: (T, H, W, C) uint8 or uint16.
    :param scale: divisor of the pixels' values.
    :return: each statistic (C, 1, 1) float64, `count` (1,) int64.
    """
    size = np.iinfo(pictures.dtype).max + 1
    # Picture by picture: NumPy counts in a copy that is eight times as large.
    histograms = [
        sum((np.bincount(picture[..., channel].ravel(), minlength=size) for picture in pictures), np.zeros(size, int))
        for channel in range(pictures.shape[3])
    ]
    channels = [_histogram_stats(histogram, scale) for histogram in histograms]
    stats = {name: np.array([channel[name] for channel in channels]).reshape(-1, 1, 1) for name in channels[0]}
    return {**stats, "count": np.array([len(pictures)])}


def _histogram_stats(histogram: np.ndarray, scale: float) -> dict[str, float]:
    present = np.flatnonzero(histogram)
    weights = histogram[present] / histogram.sum()
    mean = float(present @ weights)
    cumulative = np.cumsum(histogram)
    stats = {
        "min": float(present[0]),
        "max": float(present[-1]),
        "mean": mean,
        "std": float(np.sqrt(((present - mean) ** 2) @ weights)),
    }
    for name, share in QUANTILES.items():
        stats[name] = float(np.searchsorted(cumulative, share * cumulative[-1]))
    return {name: value / scale for name, value in stats.items()}


class RunningStats:
    """Statistics of all episodes so far."""

    def __init__(self) -> None:
        self._features: dict[str, FeatureStats] = {}

    def add(self, episode: Mapping[str, FeatureStats]) -> None:
        """:param episode: statistics of one episode, with the same features each time."""
        for name, new in episode.items():
            self._features[name] = _merge(self._features[name], new) if name in self._features else new

    def features(self) -> Mapping[str, FeatureStats]:
        return self._features


def _merge(one: FeatureStats, other: FeatureStats) -> FeatureStats:
    """The statistics of both together (parallel variance: Chan, Golub, LeVeque 1983)."""
    counts = one["count"], other["count"]
    count = counts[0] + counts[1]
    share = counts[1][0] / count[0]
    difference = other["mean"] - one["mean"]
    variance = one["std"] ** 2 * (1 - share) + other["std"] ** 2 * share + difference**2 * share * (1 - share)
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": one["mean"] + difference * share,
        "std": np.sqrt(variance),
        "count": count,
        **{name: one[name] * (1 - share) + other[name] * share for name in QUANTILES},
    }
