"""From a prepared picture and prompt to action tokens: the whole network, run eagerly or as a CUDA graph."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers.cache_utils import Cache

from stvla_ros.errors import InputError
from stvla_ros.policy.cuda_graph import CudaGraph
from stvla_ros.policy.spatialvla.actions.consensus import Consensus
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations, ChunkDecoder, Decoded
from stvla_ros.policy.spatialvla.model import SpatialVla

# A CUDA graph has one length: a prompt is padded to the first of these lengths of text, in tokens, that it fits.
GRAPH_TEXT_TOKENS = (32, 192)


class TokenPredictor:
    """
    :param model: the network, on its device.
    :param legal_ranges: per token of a chunk, the half-open range of legal offsets.
    :param accelerations: what of them to use.
    :param consensus: as in ``ChunkDecoder``.
    """

    def __init__(
        self,
        model: SpatialVla,
        legal_ranges: Sequence[tuple[int, int]],
        accelerations: Accelerations = Accelerations(),
        consensus: Consensus | None = None,
    ) -> None:
        self._model = model
        self._decoder = ChunkDecoder(model, legal_ranges, accelerations, consensus)
        on_cuda = model.device.type == "cuda"
        # A graph's addresses are fixed, and so must be those of its cache.
        self._uses_graphs = on_cuda and accelerations.cuda_graph and accelerations.static_cache
        # By padded length and whether tokens are sampled.
        self._graphs: dict[tuple[int, bool], CudaGraph] = {}
        # They are never replayed at the same time, so they can share their memory.
        self._pool: Any = torch.cuda.graph_pool_handle() if self._uses_graphs else None

    def __call__(
        self, pixels: torch.Tensor, points: torch.Tensor, ids: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        :param pixels: (1, 3, S, S) float32 in [0, 1].
        :param points: (1, P, 12) float32 metres.
        :param ids: (1, L) int64, the prompt.
        :param noise: as in ``ChunkDecoder``.
        :returns: (N,) int64 offsets.
        :raises InputError: for a prompt that is longer than the longest graph.
        """
        if not self._uses_graphs:
            return self.decode(self._model.image_features(pixels, points), ids, noise).offsets
        inputs = self._graph_inputs(pixels, points, ids, noise)
        return self._graph(inputs)(*inputs)

    def decode(self, features: torch.Tensor, ids: torch.Tensor, noise: torch.Tensor | None = None) -> Decoded:
        """As a call, from (1, P, E) image features, and never as a graph."""
        length = torch.tensor(ids.shape[1], device=ids.device)
        return self._decoder(self._model.embed_prompt(ids, features), length, noise)

    def warm_up(
        self, pixels: torch.Tensor, points: torch.Tensor, ids: torch.Tensor, noise: torch.Tensor | None
    ) -> None:
        """Do now what only the first calls would have to wait for."""
        if self._uses_graphs:
            for text_tokens in GRAPH_TEXT_TOKENS:
                longest = self._model.config.num_image_tokens + text_tokens
                self._graph(self._graph_inputs(pixels, points, _pad(ids, longest), noise))
        for _ in range(2):
            self(pixels, points, ids, noise)

    def _graph_inputs(
        self, pixels: torch.Tensor, points: torch.Tensor, ids: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        length = ids.shape[1]
        lengths = [self._model.config.num_image_tokens + text_tokens for text_tokens in GRAPH_TEXT_TOKENS]
        if length > lengths[-1]:
            raise InputError(f"instruction: expected at most {GRAPH_TEXT_TOKENS[-1] - 1} tokens, got more")
        padded = next(padded for padded in lengths if padded >= length)
        inputs = (pixels, points, _pad(ids, padded), torch.tensor(length, device=ids.device))
        return inputs if noise is None else (*inputs, noise)

    def _graph(self, inputs: tuple[torch.Tensor, ...]) -> CudaGraph:
        padded, sampled = inputs[2].shape[1], len(inputs) > 4
        if (padded, sampled) not in self._graphs:
            # Made here: a recording may not allocate what outlives it.
            cache = self._decoder.static_cache(padded)
            run = partial(_tokens, self._model, self._decoder, cache)
            self._graphs[padded, sampled] = CudaGraph(run, inputs, self._pool)
        return self._graphs[padded, sampled]


# No method: a graph that held its predictor would be a circle, and a network in a circle stays in memory until the
# collector comes, beside the one that is loaded next.
def _tokens(
    model: SpatialVla,
    decoder: ChunkDecoder,
    cache: Cache,
    pixels: torch.Tensor,
    points: torch.Tensor,
    ids: torch.Tensor,
    length: torch.Tensor,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """(N,) int64 offsets; see ``TokenPredictor.__call__``."""
    return decoder(model.embed_prompt(ids, model.image_features(pixels, points)), length, noise, cache).offsets


def _pad(ids: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(ids, (0, length - ids.shape[1]))
