"""Which samples make which batch, and the batch as tensors."""

import numpy as np

_ORDER = 1


def batch_indices(seed: int, batch: int, batch_size: int, indices: np.ndarray) -> np.ndarray:
    """(batch_size,) of ``indices`` for batch number ``batch``: every epoch is a shuffle of all, decided by the seed and
    its number alone, so that a run that goes on needs no memory of the past.
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
        if len(_permutations) > 3:  # this epoch's and the last one's, of frames and of questions
            _permutations.clear()
        _permutations[key] = np.random.default_rng([_ORDER, seed, epoch]).permutation(count)
    return _permutations[key]
