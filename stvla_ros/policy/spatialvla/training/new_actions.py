"""Fits action bins and statistics to a training set, and moves the embeddings that belong to them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from stvla_ros.policy.action_statistics import ActionStatistics, fit_statistics, read_statistics, select_statistics
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.actions.bin_fitting import fit_bins, regrid_embeddings
from stvla_ros.policy.spatialvla.actions.consensus import token_places
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions

# Actions nearer to each other than this, in normalised units, start with nearly the same embedding.
_LENGTH_SCALE = 0.4


def fit_processor(
    processor: Mapping[str, Any], actions: np.ndarray, episodes: int, key: str, options: SpatialVlaOptions
) -> tuple[dict[str, Any], ActionTokenizer, ActionStatistics]:
    """Make the checkpoint's processor_config.json for the training set.

    :param actions: (N, 7) metres, radians, opening.
    :param key: name of the statistics; those of other data sets stay only while the bins do.
    :raises InputError: when the checkpoint's own statistics are to stay, and it has none of this name.
    """
    old = ActionTokenizer.from_config(processor)
    old = replace(old, chunk_size=options.chunk_size or old.chunk_size)
    if options.refit_statistics:
        statistics = fit_statistics(actions, episodes)
    else:
        _, statistics = select_statistics(read_statistics(processor), key)
    bins = {name: old.num_bins(name) for name in ("theta", "phi", "r", "roll", "pitch", "yaw")}
    refit = options.refit_bins
    new = fit_bins(statistics.normalize(actions), bins, chunk_size=old.chunk_size) if refit else old
    kept = {} if refit else dict(processor["statistics"])
    content = {**processor, **new.to_config(), "statistics": {**kept, key: statistics.to_config()}}
    return content, new, statistics


@torch.no_grad()
def move_embeddings(model: SpatialVla, old: ActionTokenizer, new: ActionTokenizer) -> None:
    """Give each place in action space the embedding and the score that it had with the old bins."""
    begin = model.config.action_token_begin
    end = begin + new.num_tokens
    moved_rows = [model.spatial_embed_tokens.weight, model.head(begin, end)]
    if not model.lean:  # nothing reads them there, but whole checkpoints have them
        moved_rows.append(model.language_model.model.embed_tokens.weight[begin:end])
    for rows in moved_rows:
        moved = regrid_embeddings(rows.float().cpu().numpy(), old, new)
        rows.copy_(torch.from_numpy(moved))


@torch.no_grad()
def smooth_embeddings(model: SpatialVla, tokenizer: ActionTokenizer, seed: int) -> None:
    """Start the action tokens' embeddings and scores from random smooth functions of the action (random Fourier
    features, Rahimi and Recht 2007): neighbouring actions are then alike from the first step on.
    """
    random = np.random.default_rng(seed)
    begin = model.config.action_token_begin
    for rows in (model.spatial_embed_tokens.weight, model.head(begin, begin + tokenizer.num_tokens)):
        deviation, width = model.config.text.initializer_range, rows.shape[1]
        for (first, end), places in zip(tokenizer.legal_ranges, token_places(tokenizer), strict=False):
            waves = random.normal(0.0, 1.0 / _LENGTH_SCALE, (3, width))
            values = np.cos(places @ waves + random.uniform(0.0, 2.0 * np.pi, width))
            rows[first:end] = torch.from_numpy(np.sqrt(2.0) * deviation * values).to(rows.dtype)
