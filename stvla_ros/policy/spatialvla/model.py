"""SpatialVLA's network: Gemma 2, SigLIP and ZoeDepth from `transformers`, and what SpatialVLA adds to them.

Attribute names are those of the published tensors, so that checkpoint.py has little to rename.
"""

import torch
from torch import nn
from transformers import Gemma2ForCausalLM, SiglipVisionModel, ZoeDepthForDepthEstimation

from stvla_ros.perception.depth.zoedepth import run_zoedepth
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.ego3d import Ego3dPositionEmbedding, back_project_patches

# The picture encoder's normalisation of pixels in [0, 1] (reference model).
_MEAN = _DEVIATION = 0.5


class Projector(nn.Module):
    """From the picture encoder's width to the language model's."""

    def __init__(self, config: SpatialVlaConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.vision.hidden_size, config.text.hidden_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)


class SpatialVla(nn.Module):
    """The network with random weights; ``checkpoint.load_model`` gives it trained ones.

    B pictures, S = 224 pixels a side, P = 256 patches, E the language model's width.
    """

    def __init__(self, config: SpatialVlaConfig) -> None:
        super().__init__()
        self.config = config
        self.language_model = Gemma2ForCausalLM(config.text)
        self.vision_tower = SiglipVisionModel(config.vision)
        self.vision_zoe_model = ZoeDepthForDepthEstimation(config.depth)
        self.multi_modal_projector = Projector(config)
        self.position_embedding_3d = Ego3dPositionEmbedding(
            3 * config.patch_resolution**2, config.vision.hidden_size, config.num_frequencies
        )
        self.spatial_embed_tokens = nn.Embedding(config.num_action_tokens, config.text.hidden_size)
        deviation = config.text.initializer_range
        nn.init.normal_(self.spatial_embed_tokens.weight, std=deviation)
        nn.init.normal_(self.multi_modal_projector.linear.weight, std=deviation)
        nn.init.zeros_(self.multi_modal_projector.linear.bias)

    @property
    def device(self) -> torch.device:
        return self.spatial_embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        # Not of the action embeddings: training beside adapters keeps those in float32.
        return self.language_model.lm_head.weight.dtype

    def estimate_depth(self, pixels: torch.Tensor) -> torch.Tensor:
        """The model's own depth, for when none is given.

        :param pixels: (B, 3, S, S) float32 in [0, 1].
        :returns: (B, S, S) float32 metres.
        """
        return run_zoedepth(self.vision_zoe_model, pixels, self.dtype)

    def points(self, depth: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
        """(B, S, S) metres and (B, 3, 3) in its pixels to (B, P, 12) metres, see ``back_project_patches``."""
        return back_project_patches(depth, intrinsics, self.config.vision.patch_size, self.config.patch_resolution)

    def image_features(self, pixels: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """
        :param pixels: (B, 3, S, S) float32 in [0, 1].
        :param points: (B, P, 12) float32 metres.
        :returns: (B, P, E): what stands in the places of the picture's tokens. The reference divides by sqrt(E) here
            because its Gemma multiplies all inputs by it; Gemma in transformers 5 multiplies only what it looks up.
        """
        seen = self.vision_tower(((pixels - _MEAN) / _DEVIATION).to(self.dtype)).last_hidden_state
        return self.multi_modal_projector(seen + self.position_embedding_3d(points))

    def embed_actions(self, offsets: torch.Tensor) -> torch.Tensor:
        """Embeddings of action tokens, (…,) offsets to (…, E); scaled as Gemma scales its own."""
        scale = self.language_model.model.embed_tokens.embed_scale
        return self.spatial_embed_tokens(offsets).to(self.dtype) * scale.to(self.dtype)

    def embed_prompt(self, ids: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Inputs of the language model for a prompt.

        :param ids: (B, L) token ids; the first P are the picture's, none is an action token.
        :param features: (B, P, E) of the picture.
        :returns: (B, L, E).
        """
        text = self.language_model.model.embed_tokens(ids[:, features.shape[1] :])
        return torch.cat([features.to(text.dtype), text], dim=1)

    def run_language_model(
        self, embeddings: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, cache=None
    ) -> torch.Tensor:
        """
        :param embeddings: (B, L, E).
        :param positions: (B, L), the first token of a prompt has 1.
        :param mask: (B or 1, 1, L or 1, K) added to the attention logits, None for all to all.
        :param cache: a `transformers` cache, K = what it holds after this call; None for none.
        :returns: (B, L, E) normalised hidden states.
        """
        # The sliding window (4096) is far longer than any prompt: both kinds of layers see the same.
        masks = {"full_attention": mask, "sliding_attention": mask}
        return self.language_model.model(
            inputs_embeds=embeddings,
            position_ids=positions,
            attention_mask=masks,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    def logits(self, hidden: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
        """Scores of the token ids first … last - 1: (…, E) to (…, last - first) float32. Reads only their rows."""
        scores = nn.functional.linear(hidden, self.language_model.lm_head.weight[first:last]).float()
        cap = self.config.text.final_logit_softcapping
        return scores if cap is None else cap * torch.tanh(scores / cap)
