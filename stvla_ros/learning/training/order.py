"""The order of the samples: which of them are in which batch."""

import numpy as np

_ORDER = 1


def batch_indices(seed: int, batch: int, batch_size: int, indices: np.ndarray) -> np.ndarray:
    """The (batch_size,) of ``indices`` that are in batch number ``batch``. Every epoch is a shuffle of all indices that
    follows from the seed and the epoch's number alone, so a continued run needs no memory of the past.
    """
    chosen = []
    for place in range(batch * batch_size, (batch + 1) * batch_size):
        epoch, within = divmod(place, len(indices))
        chosen.append(indices[_permutation(seed, epoch, len(indices))[within]])
    return np.array(chosen)


_permutations: dict[tuple[int, int, int], np.ndarray] = {}


def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    key = (seed, epoch, count)
    if key not in _permutations:
        if len(_permutations) > 3:  # this epoch's and the last one's, for frames and for questions
            _permutations.clear()
        _permutations[key] = np.random.default_rng([_ORDER, seed, epoch]).permutation(count)
    return _permutations[key]
