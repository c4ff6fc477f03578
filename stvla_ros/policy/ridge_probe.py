"""How much of some numbers a linear map can tell from others, on episodes that it has not seen.

Ridge regression in closed form. R² is of held-out episodes: 1 is all, 0 is as good as the mean of the other episodes,
less than 0 is worse. Uses numpy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PENALTIES = np.logspace(-4.0, 4.0, 17)
"""Penalties that are tried, for inputs of deviation 1 and the mean over the frames."""
_FOLDS, _INNER_FOLDS = 5, 4
LEAST_EPISODES = 3
"""Episodes without which nothing can be told: one is held out, and two choose the penalty."""
_DRAWS = 1000
_CONFIDENCE = 0.95
# What varies less than this share of the most that an input varies is constant, and its rounding no information: codes
# are float32, and a code that a fold does not see would be told by a billion times its rounding.
_CONSTANT = 1e-5


@dataclass(frozen=True)
class Explained:
    """R² with its interval.

    :param value: R²; NaN where too little is known to tell it.
    :param low, high: ends of the 95 % interval, of episodes drawn anew.
    :param frames, episodes: numbers of those that it is of.
    """

    value: float
    low: float
    high: float
    frames: int
    episodes: int


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Squared errors of E episodes, each by maps that have not seen it.

    :param left: (E, M) sums over an episode's frames of the squared errors of M targets.
    :param whole: (E, M) the same of the mean of the episodes that the map has seen.
    :param frames: (E, M) number of frames whose target is known.
    """

    left: np.ndarray
    whole: np.ndarray
    frames: np.ndarray

    def explained(self, targets: Sequence[int], seed: int = 0) -> Explained:
        """R² of some targets together, by their squared errors.

        :param targets: columns of the targets.
        :param seed: seed of the drawn episodes.
        """
        left, whole, frames = (each[:, list(targets)].sum(axis=1) for each in (self.left, self.whole, self.frames))
        told = frames > 0
        left, whole = left[told], whole[told]
        counts = int(self.frames[:, list(targets)].max(axis=1).sum()), int(told.sum())
        if not len(left) or whole.sum() <= 0:
            return Explained(np.nan, np.nan, np.nan, *counts)
        value = 1.0 - left.sum() / whole.sum()
        chosen = np.random.default_rng(seed).integers(0, len(left), (_DRAWS, len(left)))
        drawn = 1.0 - left[chosen].sum(axis=1) / np.maximum(whole[chosen].sum(axis=1), np.finfo(float).tiny)
        outside = (1.0 - _CONFIDENCE) / 2
        low, high = np.quantile(drawn, [outside, 1.0 - outside])
        return Explained(float(value), float(min(low, value)), float(max(high, value)), *counts)


def held_out_errors(inputs: np.ndarray, targets: np.ndarray, episodes: np.ndarray, seed: int = 0) -> HeldOutErrors:
    """Errors of ridge regression from inputs to targets, cross-validated by episode. The penalty of each target is
    chosen by cross-validation by episode, too, inside the episodes that the map may see.

    :param inputs: (N, D) finite.
    :param targets: (N, M), NaN where unknown; such frames are left out of that target.
    :param episodes: (N,) episode of each frame.
    :param seed: seed of the folds.
    :returns: errors of the episodes in the order of their numbers. A target that fewer than 3 episodes tell has none.
    """
    inputs, targets = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)
    numbers, place = np.unique(episodes, return_inverse=True)
    shape = (len(numbers), targets.shape[1])
    left, whole, frames = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
    for column, target in enumerate(targets.T):
        known = np.isfinite(target)
        if len(np.unique(place[known])) < LEAST_EPISODES:
            continue
        x, y, of = inputs[known], target[known], place[known]
        for seen, held in folds(of, _FOLDS, seed):
            told = _told(x[seen], y[seen], of[seen], x[held], seed)
            np.add.at(left[:, column], of[held], (told - y[held]) ** 2)
            np.add.at(whole[:, column], of[held], (y[seen].mean() - y[held]) ** 2)
        np.add.at(frames[:, column], of, 1)
    return HeldOutErrors(left, whole, frames)


def folds(episodes: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Halves of the frames, without an episode that is in both.

    :param episodes: (N,) episode of each frame, at least two different ones.
    :param count: number of folds; no more than there are episodes.
    :param seed: seed that deals the episodes.
    :returns: for each fold (N,) bool: frames that are seen, and frames that are held out.
    """
    numbers = np.unique(episodes)
    dealt = np.random.default_rng(seed).permutation(len(numbers)) % min(count, len(numbers))
    fold = dealt[np.searchsorted(numbers, episodes)]
    return [(fold != each, fold == each) for each in range(dealt.max() + 1)]


def _told(x: np.ndarray, y: np.ndarray, episodes: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """What the map of the best penalty tells of ``asked``."""
    wrong = np.zeros(len(PENALTIES))
    for seen, held in folds(episodes, _INNER_FOLDS, seed):
        wrong += ((_ridge(x[seen], y[seen], x[held], PENALTIES) - y[held, None]) ** 2).sum(axis=0)
    best = PENALTIES[[int(wrong.argmin())]]
    return _ridge(x, y, asked, best)[:, 0]


def _ridge(x: np.ndarray, y: np.ndarray, asked: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """(frames of ``asked``, penalties): what is told with each penalty."""
    middle, spread = x.mean(axis=0), x.std(axis=0)
    varies = spread > _CONSTANT * max(float(spread.max(initial=0.0)), np.finfo(float).tiny)
    scaled, wanted = ((each - middle)[:, varies] / spread[varies] for each in (x, asked))
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(x))
    along = vectors.T @ (scaled.T @ (y - y.mean())) / len(x)
    weights = vectors @ (along[:, None] / (np.maximum(values, 0.0)[:, None] + penalties))
    return y.mean() + wanted @ weights


def principal_components(rows: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """The rows along the directions in which they vary most, found at random (Halko et al., arXiv 0909.4061).

    :param rows: (N, D).
    :param count: most directions; no more than there can be.
    :param seed: seed of the first guess.
    :returns: (N, count) float64.
    """
    centred = np.asarray(rows, np.float32) - np.asarray(rows, np.float32).mean(axis=0)
    count = min(count, *centred.shape)
    guess = np.random.default_rng(seed).standard_normal((centred.shape[1], min(count + 16, *centred.shape)))
    basis, _ = np.linalg.qr(centred @ guess.astype(np.float32))
    for _ in range(3):
        other, _ = np.linalg.qr(centred.T @ basis)
        basis, _ = np.linalg.qr(centred @ other)
    left, sizes, _ = np.linalg.svd(basis.T @ centred, full_matrices=False)
    return (basis @ left[:, :count] * sizes[:count]).astype(np.float64)
