"""SpatialVLA's network: Gemma 2, SigLIP, `transformers`' ZoeDepth, and SpatialVLA's own parts.

Attribute names are those of the published tensors, so that checkpoint.py has little to rename.
"""

from typing import Any

import torch
from torch import nn

from stvla_ros.policy.spatialvla.config import EARLIER_HEAD, HEADS, TRACE_HEAD, SpatialVlaConfig
from stvla_ros.policy.spatialvla.earlier_head import EarlierHead
from stvla_ros.policy.spatialvla.ego3d import Ego3dPositionEmbedding, back_project_patches
from stvla_ros.policy.spatialvla.gemma import KeyValues, LanguageModel
from stvla_ros.policy.spatialvla.siglip import Join, PictureEncoder
from stvla_ros.policy.spatialvla.trace_head import TraceHead

# The picture encoder's normalisation of pixels in [0, 1] (reference model).
_MEAN = _DEVIATION = 0.5


class Projector(nn.Module):
    """Maps features from the picture encoder's width to the language model's."""

    def __init__(self, config: SpatialVlaConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.vision.hidden_size, config.text.hidden_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)


class SpatialVla(nn.Module):
    """The network with random weights; ``checkpoint.load_model`` gives it trained ones.

    B pictures, S = 224 pixels a side, P = 256 patches, E the language model's width.

    :param lean: whether the network has only the parts that actions from a given depth need. It then lacks the depth
        network and the head's rows of text. Its text embeddings are not among the weights: they are in ``text_table``,
        which may stay on the disk, because a prompt needs only a dozen of its 265 k rows.
    """

    def __init__(self, config: SpatialVlaConfig, lean: bool = False) -> None:
        super().__init__()
        self.config, self.lean = config, lean
        vocabulary = config.text.vocab_size
        self.head_begin = config.action_token_begin if lean else 0
        self.language_model = LanguageModel(
            config.text, 0 if lean else vocabulary, config.num_action_tokens if lean else vocabulary
        )
        self.text_table: torch.Tensor | None = None
        self.vision_tower = PictureEncoder(config.vision)
        if not lean:
            from transformers import ZoeDepthForDepthEstimation  # 80 MB of modules that a lean model does without

            from stvla_ros.perception.depth.zoedepth import keep_on_device

            self.vision_zoe_model = keep_on_device(ZoeDepthForDepthEstimation(config.depth))
        self.multi_modal_projector = Projector(config)
        self.position_embedding_3d = Ego3dPositionEmbedding(
            3 * config.patch_resolution**2, config.vision.hidden_size, config.num_frequencies
        )
        self.trace_head: TraceHead | None = self._new_head(TRACE_HEAD) if config.trace_head else None
        self.earlier_head: EarlierHead | None = self._new_head(EARLIER_HEAD) if config.earlier_head else None
        self.spatial_embed_tokens = nn.Embedding(config.num_action_tokens, config.text.hidden_size)
        deviation = config.text.initializer_range
        nn.init.normal_(self.spatial_embed_tokens.weight, std=deviation)
        nn.init.normal_(self.multi_modal_projector.linear.weight, std=deviation)
        nn.init.zeros_(self.multi_modal_projector.linear.bias)

    def _new_head(self, name: str) -> Any:
        width = self.config.vision.hidden_size
        return TraceHead(self.config.patch_resolution**2, width) if name == TRACE_HEAD else EarlierHead(width)

    def add_head(self, name: str, seed: int = 0) -> nn.Module:
        """Give the network a head that does not change its answers yet; in float32, to be trained.

        :param name: one of ``config.HEADS``.
        :param seed: seed of the head's weights.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head: nn.Module = self._new_head(name).to(self.device, torch.float32)
        self.config = self.config.with_head(name, True)
        setattr(self, name, head)
        return head

    def remove_head(self, name: str) -> None:
        """Remove one of ``config.HEADS``."""
        self.config = self.config.with_head(name, False)
        setattr(self, name, None)

    @property
    def head_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters of all ``config.HEADS`` that the network has, by name."""
        return {name: each for name, each in self.named_parameters() if name.split(".")[0] in HEADS}

    @property
    def device(self) -> torch.device:
        return self.spatial_embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        # Not the action embeddings' type: training beside adapters keeps those in float32.
        return self.language_model.lm_head.weight.dtype

    def estimate_depth(self, pixels: torch.Tensor) -> torch.Tensor:
        """Estimate the depth with the model's own network, for use when none is given. A lean model cannot.

        :param pixels: (B, 3, S, S) float32 in [0, 1].
        :returns: (B, S, S) float32 metres.
        """
        from stvla_ros.perception.depth.zoedepth import plain_network, run_zoedepth

        return run_zoedepth(plain_network(self.vision_zoe_model), pixels, self.dtype)

    @property
    def depth_stays_on_device(self) -> bool:
        """Whether ``estimate_depth`` can run as a CUDA graph. A lean model has no such method."""
        from stvla_ros.perception.depth.zoedepth import stays_on_device

        return stays_on_device(self.vision_zoe_model)

    def points(self, depth: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
        """Points (B, P, 12) in metres from depth maps (B, S, S) in metres and their intrinsics (B, 3, 3), see
        ``back_project_patches``.
        """
        return back_project_patches(depth, intrinsics, self.config.vision.patch_size, self.config.patch_resolution)

    def image_features(
        self,
        pixels: torch.Tensor,
        points: torch.Tensor,
        join: Join | None = None,
        cells: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        :param pixels: (B, 3, S, S) float32 in [0, 1]; (2 B, …) for a network with a head for an earlier picture: the
            newest of all samples, then the earlier ones of all.
        :param points: (B, P, 12) float32 metres, or (2 B, …) likewise.
        :param join: function that adds and normalises, see ``PictureEncoder``.
        :param cells: (B, C, C, 5) float32 cells of the traces, see ``TraceHead``; None, or all 0, for no traces. Only
            for a network with a head for them.
        :returns: (B, P, E) features for the places of the picture's tokens. The reference divides them by sqrt(E)
            because its Gemma multiplies all inputs by sqrt(E). Here only embeddings from the tables are multiplied.
        """
        count = len(pixels) // self.config.num_pictures
        newest = placed = self.see(pixels[:count], points[:count], join)
        if cells is not None:
            if self.trace_head is None:
                raise ValueError("expected no traces for a network without a head for them")
            placed = placed + self.trace_head(cells).to(placed.dtype)
        if self.earlier_head is not None:
            # Added on its own: in a longer sum it may be rounded differently, and a network without the head has only
            # the newest picture.
            earlier = self.see(pixels[count:], points[count:], join)
            placed = placed + self.earlier_head(newest, earlier).to(placed.dtype)
        return self.multi_modal_projector(placed)

    def see(self, pixels: torch.Tensor, points: torch.Tensor, join: Join | None = None) -> torch.Tensor:
        """(B, P, width) features of the patches: appearance plus position."""
        # The same as (pixels - mean) / deviation to the bit, with one array less.
        normalised = (pixels / _DEVIATION).sub_(_MEAN / _DEVIATION)
        seen: torch.Tensor = self.vision_tower(normalised.to(self.dtype), join)
        return seen + self.position_embedding_3d(points)

    def embed_actions(self, offsets: torch.Tensor) -> torch.Tensor:
        """Embeddings of action tokens, (…,) offsets to (…, E); scaled as Gemma scales its own."""
        return self.spatial_embed_tokens(offsets).to(self.dtype) * self.embedding_scale

    @property
    def embedding_scale(self) -> float:
        """The factor by which Gemma multiplies embeddings: sqrt(E), rounded to the weights' type, as in its
        training.
        """
        return float(torch.tensor(self.config.text.hidden_size**0.5, dtype=self.dtype))

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings of text, (…,) token ids on any device to (…, E) on the model's."""
        if self.text_table is None:
            table = self.language_model.model.embed_tokens.weight
            return nn.functional.embedding(ids.to(table.device), table) * self.embedding_scale
        rows = nn.functional.embedding(ids.to(self.text_table.device), self.text_table)
        return rows.to(self.device, self.dtype) * self.embedding_scale

    def embed_prompt(self, ids: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Inputs of the language model for a prompt.

        :param ids: (B, L) token ids; the first P are the picture's, none is an action token.
        :param features: (B, P, E) features of the picture.
        :returns: (B, L, E).
        """
        text = self.embed_text(ids[:, features.shape[1] :])
        return torch.cat([features.to(text.dtype), text], dim=1)

    def run_language_model(
        self,
        embeddings: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        cache: KeyValues | None = None,
        slot: int = 0,
    ) -> torch.Tensor:
        """(B, L, E) normalised hidden states, see ``Gemma.forward``. The first token of a prompt has position 1."""
        # The sliding window (4096) of every other layer is far longer than any prompt: all layers see the same.
        return self.language_model.model(embeddings, positions, mask, cache, slot)

    def head(self, first: int = 0, last: int | None = None) -> torch.Tensor:
        """The head's rows of the token ids first … last - 1, (last - first, E), a view."""
        begin = self.head_begin
        if first < begin:
            raise ValueError(f"expected token ids from {begin} on, which a lean model has, got {first}")
        return self.language_model.lm_head.weight[first - begin : None if last is None else last - begin]

    def cap(self, scores: torch.Tensor) -> torch.Tensor:
        """Apply the soft cap to the scores."""
        return soft_cap(scores, self.config.text.final_logit_softcapping)

    def logits(self, hidden: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
        """Scores of the token ids first … last - 1: (…, E) to (…, last - first) float32. Reads only their rows."""
        return self.cap(nn.functional.linear(hidden, self.head(first, last)).float())


def soft_cap(scores: torch.Tensor, cap: float | None) -> torch.Tensor:
    """Apply Gemma's soft cap to scores of any shape; a cap of None changes nothing."""
    return scores if cap is None else cap * torch.tanh(scores / cap)
