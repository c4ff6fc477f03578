"""ST4VLA's network: `transformers`' Qwen2.5-VL and DINOv2, and between them and the actions what is the method's own.

Names are those of the published tensors, so that a published state loads as it is.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from stvla_ros.errors import InputError
from stvla_ros.policy.st4vla import diffusion
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.diffusion import denoise
from stvla_ros.policy.st4vla.dino import DinoEncoder
from stvla_ros.policy.st4vla.dit import NoisePredictor
from stvla_ros.policy.st4vla.query_transformer import QueryTransformer

HEAD = "qwen_vl_interface.model.lm_head.weight"
TEXT = "qwen_vl_interface.model.model.language_model.embed_tokens.weight"
"""Of a network whose head is its table of text (``tie_word_embeddings``), both names are of the same numbers."""


class VlmInterface(nn.Module):
    """The vision-language model under its published name. A state without the head is one whose head is the table."""

    def __init__(self, config: St4VlaConfig) -> None:
        super().__init__()
        self.model = Qwen2_5_VLForConditionalGeneration(config.vlm)
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
    """What is around the vision-language model, by its published name, with random weights."""
    seen = config.vlm.text_config.hidden_size
    return {
        "layer_qformer": QueryTransformer(seen, config.width, config.queries, config.states, config.query_heads),
        "action_model": ActionModel(config),
        "dino_encoder": DinoEncoder(config.dino),
        "dino_pro": nn.Linear(config.dino.hidden_size, seen),
    }


class St4Vla(nn.Module):
    """The network with random weights; ``checkpoint.load_model`` gives it trained ones.

    B samples, V pictures each, L tokens of the prompt, P = 256 patches of a picture of 224 pixels, Q queries, D their
    width, T actions.

    :param config: the configuration, or its content: a mapping as ``St4VlaConfig.from_dict`` takes it.
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
        """Of the pictures' and the language model's part. The rest computes in float32, as published."""
        return self.dino_pro.weight.dtype

    def to_dtype(self, dtype: torch.dtype) -> "St4Vla":
        """Take this type for the pictures' and the language model's part, in place."""
        for part in (self.qwen_vl_interface, self.dino_encoder, self.dino_pro):
            part.to(dtype)
        for part in (self.layer_qformer, self.action_model):
            part.float()
        return self

    def features(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        dino_pixels: torch.Tensor,
    ) -> torch.Tensor:
        """What the action expert is told of pictures and words.

        :param pixel_values: (N, 1176) patches of all pictures, as ``encoder_inputs.patches`` makes them.
        :param image_grid_thw: (B · V, 3) whole numbers: times, rows, columns of each picture's patches.
        :param input_ids: (B, L) token ids, padded at the left.
        :param attention_mask: (B, L), 0 where the padding is.
        :param dino_pixels: (B · V, 3, S, S), as ``encoder_inputs.dino_pixels`` makes them.
        :returns: (B, Q, D) float32.
        """
        states = self.language_states(pixel_values, image_grid_thw, input_ids, attention_mask)
        seen = self.dino_pro(self.dino_encoder(dino_pixels.to(self.dtype)))
        seen = seen.reshape(len(input_ids), -1, seen.shape[-1])
        visible = None
        # Without padding there is nothing to hide, and no mask is faster.
        if self.config.mask_padding and not bool(attention_mask.all()):
            everything = torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device)
            visible = torch.cat([attention_mask.bool(), everything], dim=1)
        inputs = [torch.cat([self._decayed(state), seen], dim=1).float() for state in states]
        return self.layer_qformer(inputs, visible)

    def language_states(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """The states of the language model that the queries read, each (B, L, E); parameters as of ``features``."""
        config = self.config
        every = config.states > 1 or config.end_state <= config.vlm.text_config.num_hidden_layers
        answer = self._language(pixel_values, image_grid_thw, input_ids, attention_mask, every)
        if not every:
            return (answer.last_hidden_state,)
        return tuple(answer.hidden_states[config.first_state : config.end_state])

    def last_state(
        self,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> torch.Tensor:
        """The language model's last state, (B, L, E), after its norm: what ``words`` makes words of; parameters as of
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
    ) -> torch.Tensor:
        """The likeliest tokens after a prompt, one after the other, with the keys and values of those before kept.

        :param end: token at which the answer is over.
        :param most: tokens.
        :returns: (B, N) ids, ``end`` left out.
        """
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
        )[:, input_ids.shape[1] :]
        return said[:, :-1] if said.shape[1] and bool((said[:, -1] == end).all()) else said

    def words(self, state: torch.Tensor) -> torch.Tensor:
        """(..., E) states to (..., vocabulary) scores of the token that follows each."""
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
            # Without them positions would have one dimension and not three, and no warning.
            mm_token_type_ids=(input_ids == self.config.vlm.image_token_id).int(),
            use_cache=False,
            output_hidden_states=every,
        )

    def _decayed(self, state: torch.Tensor) -> torch.Tensor:
        """The same numbers, with a part of their gradient."""
        decay = self.config.gradient_decay
        if decay == 1.0 or not state.requires_grad:
            return state
        return decay * state + (1.0 - decay) * state.detach()

    def noise(self, actions: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """The noise that is found in actions.

        :param actions: (B, T, 7) with noise in them.
        :param t: (B,) whole numbers, 0 to 99: how much.
        :param condition: (B, Q, D) of ``features``. A tenth of them is dropped in training.
        :returns: (B, T, 7).
        """
        return self.action_model.net(actions, t, condition)

    def sample(
        self, condition: torch.Tensor, noise: torch.Tensor, steps: int = 10, guidance: float = 1.5
    ) -> torch.Tensor:
        """Actions out of noise.

        :param condition: (B, Q, D) of ``features``.
        :param noise: (B, T, 7), of a standard normal distribution.
        :param steps: of ``diffusion.sampler_steps``.
        :param guidance: how far away from what would be done without a condition; 1 or less: not at all, and half the
            work.
        :returns: (B, T, 7) normalised actions, not clipped.
        :raises InputError: for a number of steps that is none, or a guidance that is no finite number.
        """
        times = diffusion.step_times(steps)
        if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not abs(guidance) < float("inf"):
            raise InputError(f"guidance: expected a finite number, got {guidance!r}")
        net = self.action_model.net
        guided = guidance > 1.0
        if guided:
            # Both halves in one batch, and what does not change from step to step once.
            condition = torch.cat([condition, net.z_embedder.uncondition.expand_as(condition)])
        rows = torch.tensor(times, device=condition.device).repeat_interleave(len(condition))
        # What the network is told in each step, of all steps at once.
        told = net.told(rows, net.z_embedder(condition).repeat(len(times), 1, 1)).chunk(len(times))
        known = dict(zip(times, told, strict=True))

        def predict(actions: torch.Tensor, time: int) -> torch.Tensor:
            if not guided:
                return net.predict(actions, known[time])
            found, free = net.predict(torch.cat([actions, actions]), known[time]).chunk(2)
            return free + guidance * (found - free)

        return denoise(noise, steps, predict)
