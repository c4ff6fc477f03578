"""From a prepared picture and prompt to action tokens: the whole network, run eagerly or as a CUDA graph, with the
operations between its products compiled or not.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from stvla_ros.cuda_graph import CudaGraph
from stvla_ros.errors import InputError
from stvla_ros.policy.compiled_parts import Compiler, are_worth_it
from stvla_ros.policy.spatialvla.actions.consensus import Consensus
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations, ChunkDecoder, Decoded
from stvla_ros.policy.spatialvla.gemma import KeyValues
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.siglip import Join

# A CUDA graph and compiled code have a fixed length: a prompt's text is padded to the first of these lengths, in
# tokens, that it fits.
PADDED_TEXT_TOKENS = (32, 192)


class TokenPredictor:
    """
    :param model: the network, on its device.
    :param legal_ranges: half-open range of legal offsets for each token of a chunk.
    :param accelerations: choice of the accelerations.
    :param consensus: rule that chooses tokens, see ``ChunkDecoder``.
    """

    def __init__(
        self,
        model: SpatialVla,
        legal_ranges: Sequence[tuple[int, int]],
        accelerations: Accelerations = Accelerations(),
        consensus: Consensus | None = None,
    ) -> None:
        self._model = model
        fused, wanted = accelerations.fused_layers and accelerations.static_cache, accelerations.compiled_parts
        self._compiler = Compiler(fused and (are_worth_it(model.device) if wanted is None else wanted))
        self._join = self._compiler.part(model.vision_tower.join)
        self._decoder = ChunkDecoder(model, legal_ranges, accelerations, consensus, self._compiler)
        if accelerations.fused_layers:
            model.vision_tower.merge_projections()
        on_cuda = model.device.type == "cuda"
        # A graph's addresses are fixed, so its cache's must be, too.
        self._uses_graphs = on_cuda and accelerations.cuda_graph and accelerations.static_cache
        # Graphs by padded length and by whether tokens are sampled.
        self._padded: dict[tuple[int, bool], Callable[..., torch.Tensor]] = {}
        # Graphs are never replayed at the same time, so they can share their memory.
        self._depth_graph: CudaGraph | None = None
        self._pool: Any = torch.cuda.graph_pool_handle() if self._uses_graphs else None

    def __call__(
        self,
        pixels: torch.Tensor,
        points: torch.Tensor,
        text: torch.Tensor,
        noise: torch.Tensor | None = None,
        cells: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        :param pixels: (1, 3, S, S) float32 in [0, 1].
        :param points: (1, P, 12) float32 metres.
        :param text: (1, n, E) embeddings of the prompt's tokens after the picture's, see ``SpatialVla.embed_text``.
        :param noise: noise that is added to the scores, see ``ChunkDecoder``.
        :param cells: (1, C, C, 5) float32, see ``SpatialVla.image_features``; always given to a network with a head for
            traces, else None.
        :returns: (N,) int64 offsets.
        :raises InputError: for a prompt longer than the longest padded length.
        """
        if not self._pads:
            return self.decode(self._model.image_features(pixels, points, None, cells), text, noise).offsets
        inputs = self._padded_inputs(pixels, points, text, noise, cells)
        return self._for_padded(inputs)(*inputs)

    @property
    def _pads(self) -> bool:
        return self._uses_graphs or self._compiler.enabled

    def decode(self, features: torch.Tensor, text: torch.Tensor, noise: torch.Tensor | None = None) -> Decoded:
        """Decode from (1, P, E) image features, and never as a graph."""
        return self._decoder(_prompt(features, text), None, noise)

    def estimate_depth(self, pixels: torch.Tensor) -> torch.Tensor:
        """``SpatialVla.estimate_depth`` of one picture, (1, 3, S, S) to (1, S, S)."""
        if not (self._uses_graphs and self._model.depth_stays_on_device):
            return self._model.estimate_depth(pixels)
        if self._depth_graph is None:
            self._depth_graph = CudaGraph(self._model.estimate_depth, (pixels,), self._pool)
        return self._depth_graph(pixels)

    def warm_up(
        self,
        pixels: torch.Tensor,
        points: torch.Tensor,
        text: torch.Tensor,
        noise: torch.Tensor | None,
        cells: torch.Tensor | None = None,
    ) -> None:
        """Do now everything that would make the first calls slow. Nothing is compiled afterwards."""
        with self._compiler.compiling():
            for longest in PADDED_TEXT_TOKENS if self._pads else ():
                inputs = self._padded_inputs(pixels, points, _pad(text, longest), noise, cells)
                self._for_padded(inputs)(*inputs)
        for _ in range(2):
            self(pixels, points, text, noise, cells)

    def _padded_inputs(
        self,
        pixels: torch.Tensor,
        points: torch.Tensor,
        text: torch.Tensor,
        noise: torch.Tensor | None,
        cells: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        length = text.shape[1]
        if length > PADDED_TEXT_TOKENS[-1]:
            raise InputError(f"instruction: expected at most {PADDED_TEXT_TOKENS[-1] - 1} tokens, got more")
        padded = next(padded for padded in PADDED_TEXT_TOKENS if padded >= length)
        # Filled on the device: the host would have to wait for a copy.
        whole = torch.full((), self._model.config.num_image_tokens + length, device=text.device)
        return pixels, points, _pad(text, padded), whole, *(each for each in (cells, noise) if each is not None)

    def _for_padded(self, inputs: tuple[torch.Tensor, ...]) -> Callable[..., torch.Tensor]:
        padded = self._model.config.num_image_tokens + inputs[2].shape[1]
        sampled = len(inputs) > 4 + self._model.config.trace_head
        if (padded, sampled) not in self._padded:
            # Made before the recording, which must not allocate memory that lives longer than it.
            cache = self._decoder.static_cache(padded)
            run = partial(_tokens, self._model, self._join, self._decoder, cache)
            self._padded[padded, sampled] = CudaGraph(run, inputs, self._pool) if self._uses_graphs else run
        return self._padded[padded, sampled]


# No method: a graph that held its predictor would be a reference cycle. The network would then stay in memory until the
# collector runs, beside the one that is loaded next.
def _tokens(
    model: SpatialVla,
    join: Join,
    decoder: ChunkDecoder,
    cache: KeyValues,
    pixels: torch.Tensor,
    points: torch.Tensor,
    text: torch.Tensor,
    length: torch.Tensor,
    *further: torch.Tensor,
) -> torch.Tensor:
    """(N,) int64 offsets; see ``TokenPredictor.__call__``. ``further`` holds the cells and the noise, if given."""
    cells, *rest = further if model.config.trace_head else (None, *further)
    noise = rest[0] if rest else None
    return decoder(_prompt(model.image_features(pixels, points, join, cells), text), length, noise, cache).offsets


def _prompt(features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return torch.cat([features.to(text.dtype), text], dim=1)


def _pad(text: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(text, (0, 0, 0, length - text.shape[1]))
