"""From a prepared picture and prompt to action tokens: the whole network, run eagerly or as a CUDA graph."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from stvla_ros.cuda_graph import CudaGraph
from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.actions.consensus import Consensus
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations, ChunkDecoder, Decoded
from stvla_ros.policy.spatialvla.gemma import KeyValues
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
        if accelerations.fused_layers:
            model.vision_tower.merge_projections()
        on_cuda = model.device.type == "cuda"
        # A graph's addresses are fixed, and so must be those of its cache.
        self._uses_graphs = on_cuda and accelerations.cuda_graph and accelerations.static_cache
        # By padded length and whether tokens are sampled.
        self._graphs: dict[tuple[int, bool], CudaGraph] = {}
        # They are never replayed at the same time, so they can share their memory.
        self._depth_graph: CudaGraph | None = None
        self._pool: Any = torch.cuda.graph_pool_handle() if self._uses_graphs else None

    def __call__(
        self, pixels: torch.Tensor, points: torch.Tensor, text: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        :param pixels: (1, 3, S, S) float32 in [0, 1].
        :param points: (1, P, 12) float32 metres.
        :param text: (1, n, E) of the prompt's tokens after the picture's, see ``SpatialVla.embed_text``.
        :param noise: as in ``ChunkDecoder``.
        :returns: (N,) int64 offsets.
        :raises InputError: for a prompt that is longer than the longest graph.
        """
        if not self._uses_graphs:
            return self.decode(self._model.image_features(pixels, points), text, noise).offsets
        inputs = self._graph_inputs(pixels, points, text, noise)
        return self._graph(inputs)(*inputs)

    def decode(self, features: torch.Tensor, text: torch.Tensor, noise: torch.Tensor | None = None) -> Decoded:
        """As a call, from (1, P, E) image features, and never as a graph."""
        return self._decoder(_prompt(features, text), None, noise)

    def estimate_depth(self, pixels: torch.Tensor) -> torch.Tensor:
        """``SpatialVla.estimate_depth`` of one picture, (1, 3, S, S) to (1, S, S)."""
        if not (self._uses_graphs and self._model.depth_stays_on_device):
            return self._model.estimate_depth(pixels)
        if self._depth_graph is None:
            self._depth_graph = CudaGraph(self._model.estimate_depth, (pixels,), self._pool)
        return self._depth_graph(pixels)

    def warm_up(
        self, pixels: torch.Tensor, points: torch.Tensor, text: torch.Tensor, noise: torch.Tensor | None
    ) -> None:
        """Do now what only the first calls would have to wait for."""
        if self._uses_graphs:
            for longest in GRAPH_TEXT_TOKENS:
                self._graph(self._graph_inputs(pixels, points, _pad(text, longest), noise))
        for _ in range(2):
            self(pixels, points, text, noise)

    def _graph_inputs(
        self, pixels: torch.Tensor, points: torch.Tensor, text: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        length = text.shape[1]
        if length > GRAPH_TEXT_TOKENS[-1]:
            raise InputError(f"instruction: expected at most {GRAPH_TEXT_TOKENS[-1] - 1} tokens, got more")
        padded = next(padded for padded in GRAPH_TEXT_TOKENS if padded >= length)
        whole = torch.tensor(self._model.config.num_image_tokens + length, device=text.device)
        inputs = (pixels, points, _pad(text, padded), whole)
        return inputs if noise is None else (*inputs, noise)

    def _graph(self, inputs: tuple[torch.Tensor, ...]) -> CudaGraph:
        padded, sampled = self._model.config.num_image_tokens + inputs[2].shape[1], len(inputs) > 4
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
    cache: KeyValues,
    pixels: torch.Tensor,
    points: torch.Tensor,
    text: torch.Tensor,
    length: torch.Tensor,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """(N,) int64 offsets; see ``TokenPredictor.__call__``."""
    return decoder(_prompt(model.image_features(pixels, points), text), length, noise, cache).offsets


def _prompt(features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return torch.cat([features.to(text.dtype), text], dim=1)


def _pad(text: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(text, (0, 0, 0, length - text.shape[1]))
