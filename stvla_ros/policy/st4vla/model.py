"""ST4VLA's network: `transformers`' Qwen2.5-VL and DINOv2, and the method's own parts between them and the actions.

Attribute names are those of the published tensors, so that published weights load as they are.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration, StoppingCriteriaList

from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.dino import DinoEncoder
from stvla_ros.policy.st4vla.dit import NoisePredictor
from stvla_ros.policy.st4vla.query_transformer import QueryTransformer
from stvla_ros.policy.st4vla.sampler import Sampler

HEAD = "qwen_vl_interface.model.lm_head.weight"
TEXT = "qwen_vl_interface.model.model.language_model.embed_tokens.weight"
"""In a network whose head shares its weights with the text embeddings (``tie_word_embeddings``), both names have the
same numbers."""


class PatchProjection(nn.Conv3d):
    """A convolution over whole patches is a matrix product: with its gradient it takes a quarter of the time on a CPU.

    :param other: the convolution that it is made in place of; it has that one's shape and random weights.
    """

    def __init__(self, other: nn.Conv3d) -> None:
        super().__init__(other.in_channels, other.out_channels, other.kernel_size, other.stride, bias=False)
        self.weight = other.weight

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, C, times, rows, columns) of exactly a patch each to (N, width)."""
        return F.linear(patches.flatten(1), self.weight.flatten(1))


class VlmInterface(nn.Module):
    """The vision-language model under its published name. If loaded weights lack the head, the head is the table of
    text embeddings.
    """

    def __init__(self, config: St4VlaConfig) -> None:
        super().__init__()
        self.model = Qwen2_5_VLForConditionalGeneration(config.vlm)
        embedding = self.model.model.visual.patch_embed
        embedding.proj = PatchProjection(embedding.proj)
        self.register_load_state_dict_pre_hook(_add_head)


def _add_head(module: nn.Module, state: MutableMapping[str, torch.Tensor], prefix: str, *_: Any) -> None:
    table = f"{prefix}model.model.language_model.embed_tokens.weight"
    if module.model.config.tie_word_embeddings and table in state:
        state.setdefault(f"{prefix}model.lm_head.weight", state[table])


class ActionModel(nn.Module):
    """The noise predictor under its published name."""

    def __init__(self, config: St4VlaConfig) -> None:
        super().__init__()
        self.net = NoisePredictor(config.queries, config.chunk, config.width, config.blocks, config.heads)


def parts_around(config: St4VlaConfig) -> dict[str, nn.Module]:
    """The parts around the vision-language model, by their published names, with random weights."""
    seen = config.vlm.text_config.hidden_size
    return {
        "layer_qformer": QueryTransformer(seen, config.width, config.queries, config.states, config.query_heads),
        "action_model": ActionModel(config),
        "dino_encoder": DinoEncoder(config.dino),
        "dino_pro": nn.Linear(config.dino.hidden_size, seen),
    }


class St4Vla(nn.Module):
    """The network with random weights; ``checkpoint.load_model`` gives it trained ones.

    B samples, V pictures each, L tokens of the prompt, P = 256 patches of a picture of 224x224 pixels, Q queries, D
    their width, T actions.

    :param config: configuration, or its content: a mapping for ``St4VlaConfig.from_dict``.
    """

    def __init__(self, config: St4VlaConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config = config if isinstance(config, St4VlaConfig) else St4VlaConfig.from_dict(config)
        self.qwen_vl_interface = VlmInterface(config)
        parts = parts_around(config)
        self.layer_qformer, self.action_model = parts["layer_qformer"], parts["action_model"]
        self.dino_encoder, self.dino_pro = parts["dino_encoder"], parts["dino_pro"]

    @property
    def device(self) -> torch.device:
        return self.dino_pro.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the vision-language model and DINOv2. The rest computes in float32, as published."""
        return self.dino_pro.weight.dtype

    def to_dtype(self, dtype: torch.dtype) -> "St4Vla":
        """Convert the vision-language model and DINOv2 to this type, in place."""
        for part in (self.qwen_vl_interface, self.dino_encoder, self.dino_pro):
            part.to(dtype)
        for part in (self.layer_qformer, self.action_model):
            part.float()
        return self

    def attend_by_products(self) -> None:
        """Compute the attention of the vision-language model and DINOv2 as two products and a softmax, in place of
        torch's one operation. On a CPU the latter's gradient in bfloat16 takes several times as long.
        """
        for network in (self.qwen_vl_interface.model, self.dino_encoder.body.network):
            network.set_attn_implementation("eager")

    def features(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        dino_pixels: torch.Tensor,
    ) -> torch.Tensor:
        """The action expert's condition, computed from pictures and words.

        :param pixel_values: (N, 1176) patches of all pictures, as ``encoder_inputs.patches`` makes them.
        :param image_grid_thw: (B · V, 3) whole numbers: times, rows, columns of each picture's patches.
        :param input_ids: (B, L) token ids, padded at the left.
        :param attention_mask: (B, L), 0 at the padding.
        :param dino_pixels: (B · V, 3, S, S), as ``encoder_inputs.dino_pixels`` makes them.
        :returns: (B, Q, D) float32.
        """
        states = self.language_states(pixel_values, image_grid_thw, input_ids, attention_mask)
        # Without padding nothing has to be hidden, and computing without a mask is faster.
        padded = self.config.mask_padding and not bool(attention_mask.all())
        return self.queried(states, dino_pixels, attention_mask.bool() if padded else None)

    def queried(
        self, states: Sequence[torch.Tensor], dino_pixels: torch.Tensor, visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the queries find.

        :param states: states of the language model, each (B, L, E).
        :param dino_pixels: pictures, as for ``features``.
        :param visible: (B, L) bool, False at the padding; None when there is none.
        :returns: (B, Q, D) float32.
        """
        seen = self.dino_pro(self.dino_encoder(dino_pixels.to(self.dtype)))
        seen = seen.reshape(len(states[0]), -1, seen.shape[-1])
        if visible is not None:
            visible = F.pad(visible, (0, seen.shape[1]), value=True)
        inputs = [torch.cat([self._decayed(state), seen], dim=1).float() for state in states]
        return self.layer_qformer(inputs, visible)

    def language_states(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """The states of the language model that the queries read, each (B, L, E). For the parameters see
        ``features``.
        """
        every = self.reads_every_state
        return self.read_states(self._language(pixel_values, image_grid_thw, input_ids, attention_mask, every))

    @property
    def reads_every_state(self) -> bool:
        """Whether the queries read more than the language model's last state (``output_hidden_states``)."""
        return self.config.states > 1 or self.config.end_state <= self.config.vlm.text_config.num_hidden_layers

    def read_states(self, answer: Any) -> tuple[torch.Tensor, ...]:
        """The states that the queries read, each (B, L, E). :param answer: output of the language model."""
        if not self.reads_every_state:
            return (answer.last_hidden_state,)
        return tuple(answer.hidden_states[self.config.first_state : self.config.end_state])

    def last_state(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> torch.Tensor:
        """The language model's last state, (B, L, E), after its norm: the input of ``words``. For the parameters see
        ``features``.
        """
        return self._language(pixel_values, image_grid_thw, input_ids, attention_mask, False).last_hidden_state

    def answer(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        end: int,
        most: int,
        given_up: Callable[[], bool] = lambda: False,
    ) -> torch.Tensor:
        """Greedy decoding after a prompt, token by token, with keys and values cached.

        :param end: token that ends the answer.
        :param most: largest number of tokens.
        :param given_up: function that tells, after each token, whether to cut the answer off there.
        :returns: (B, N) ids, without ``end``.
        """

        def stop(ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            return torch.full((len(ids),), given_up(), device=ids.device)

        said = self.qwen_vl_interface.model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=pixel_values.to(self.qwen_vl_interface.model.dtype),
            image_grid_thw=image_grid_thw,
            mm_token_type_ids=(input_ids == self.config.vlm.image_token_id).int(),
            do_sample=False,
            max_new_tokens=most,
            eos_token_id=end,
            pad_token_id=end,
            stopping_criteria=StoppingCriteriaList([stop]),
        )[:, input_ids.shape[1] :]
        return said[:, :-1] if said.shape[1] and bool((said[:, -1] == end).all()) else said

    def words(self, state: torch.Tensor) -> torch.Tensor:
        """Scores of the token that follows each place: states (..., E) to (..., vocabulary)."""
        return self.qwen_vl_interface.model.lm_head(state)

    def _language(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        every: bool,
    ) -> Any:
        return self.qwen_vl_interface.model.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=pixel_values.to(self.qwen_vl_interface.model.dtype),
            image_grid_thw=image_grid_thw,
            # Without them, positions would have one dimension instead of three, without a warning.
            mm_token_type_ids=(input_ids == self.config.vlm.image_token_id).int(),
            use_cache=False,
            output_hidden_states=every,
        )

    def _decayed(self, state: torch.Tensor) -> torch.Tensor:
        """The same numbers, with their gradient multiplied by ``gradient_decay``."""
        decay = self.config.gradient_decay
        if decay == 1.0 or not state.requires_grad:
            return state
        return decay * state + (1.0 - decay) * state.detach()

    def noise(self, actions: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """The network's estimate of the noise in actions.

        :param actions: (B, T, 7) actions with noise in them.
        :param t: (B,) times, whole numbers from 0 to 99: the amount of noise.
        :param condition: (B, Q, D) result of ``features``. In training a tenth of the conditions is dropped.
        :returns: (B, T, 7).
        """
        return self.action_model.net(actions, t, condition)

    def sample(
        self, condition: torch.Tensor, noise: torch.Tensor, steps: int = 10, guidance: float = 1.5
    ) -> torch.Tensor:
        """Sample actions, beginning with noise.

        :param condition: (B, Q, D) result of ``features``.
        :param noise: (B, T, 7), of a standard normal distribution.
        :param steps: number of steps, one of ``denoising_steps.sampler_steps``.
        :param guidance: strength of the guidance away from the answer without a condition; 1 or less: none, and half
            the work.
        :returns: (B, T, 7) normalised actions, not clipped.
        :raises InputError: for a number of steps that the sampler cannot take, or a guidance that is not finite.
        """
        return Sampler(self.action_model.net, steps, guidance)(condition, noise)
