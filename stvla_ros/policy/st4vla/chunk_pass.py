"""From a prepared picture and a prompt to a chunk: the whole network while it acts, eagerly or as a CUDA graph.

The answers are those of ``St4Vla.features`` and ``St4Vla.sample``, up to rounding. What follows from the goal (the
prompt's embeddings and positions) is computed once for it. What follows from the checkpoint (the sampler's times, the
order of the patches) is computed once for all. On the way nothing waits for the device.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from stvla_ros.cuda_graph import CudaGraph
from stvla_ros.errors import InputError
from stvla_ros.policy.st4vla.encoder_inputs import PATCH, dino_pixels, patch_rows
from stvla_ros.policy.st4vla.eyes import Eyes
from stvla_ros.policy.st4vla.model import St4Vla
from stvla_ros.policy.st4vla.sampler import Sampler

PADDED_TEXT_TOKENS = (64, 128, 576)
"""A CUDA graph has one length: what stands behind the pictures is padded to the first of these that it fits."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """A goal's prompt, as the language model is given it.

    :param embedded: (1, L, E) embeddings, the pictures' places among them.
    :param positions: (3, 1, L) whole numbers: time, row, column.
    :param places: (V · 64,) places of the pictures' tokens.
    :param visible: (1, L) bool, False at the padding, which is behind; None when there is none.
    :param views: number of pictures, V.
    """

    embedded: torch.Tensor
    positions: torch.Tensor
    places: torch.Tensor
    visible: torch.Tensor | None
    views: int


class ChunkPass:
    """
    :param model: network, on its device. Its weights may not change afterwards.
    :param steps, guidance: settings of the sampler, see ``Sampler``.
    :param pads: whether prompts are padded, as graphs need it; None for CUDA devices alone, which have graphs.
    """

    def __init__(self, model: St4Vla, steps: int, guidance: float, pads: bool | None = None) -> None:
        self._model = model
        self._uses_graphs = model.device.type == "cuda"
        self._pads = self._uses_graphs if pads is None else pads
        self._eyes = Eyes(model.qwen_vl_interface.model.model.visual, model.config.picture_size)
        self._sampler = Sampler(model.action_model.net, steps, guidance)
        # By the number of pictures and the prompt's length.
        self._graphs: dict[tuple[int, int], CudaGraph] = {}
        # They are never replayed at the same time, so they can share their memory.
        self._pool: Any = torch.cuda.graph_pool_handle() if self._uses_graphs else None

    def prompt(self, ids: torch.Tensor, views: int, text_tokens: int = 0) -> Prompt:
        """
        :param ids: (1, L) token ids, on the device.
        :param views: number of pictures that they have places for.
        :param text_tokens: least number of tokens behind the pictures that the padding takes for granted.
        :raises InputError: for a prompt that is longer than the longest that prompts are padded to.
        """
        model = self._model
        language = model.qwen_vl_interface.model.model
        is_picture = ids == model.config.vlm.image_token_id
        side = model.config.picture_size // PATCH
        positions, _ = language.get_rope_index(
            ids,
            image_grid_thw=torch.tensor([[1, side, side]] * views, device=ids.device),
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=is_picture.int(),
        )
        embedded = language.get_input_embeddings()(ids)
        places = is_picture[0].nonzero()[:, 0]
        if not self._pads:
            return Prompt(embedded, positions, places, None, views)
        text = ids.shape[1] - int(places[-1]) - 1
        padded = next((each for each in PADDED_TEXT_TOKENS if each >= max(text, text_tokens)), None)
        if padded is None:
            raise InputError(
                f"instruction: expected at most {PADDED_TEXT_TOKENS[-1]} tokens together with the checkpoint's prompt, "
                f"got {text}"
            )
        # Behind: what is said before does not depend on it.
        more = padded - text
        visible = torch.arange(ids.shape[1] + more, device=ids.device)[None] < ids.shape[1]
        return Prompt(F.pad(embedded, (0, 0, 0, more)), F.pad(positions, (0, more)), places, visible, views)

    def __call__(self, pictures: torch.Tensor, prompt: Prompt, noise: torch.Tensor) -> torch.Tensor:
        """
        :param pictures: (V, 3, S, S) pictures from 0 to 1, on the device.
        :param prompt: prompt with places for these pictures.
        :param noise: (1, T, 7) noise of a standard normal distribution, on the device.
        :returns: (1, T, 7) normalised actions, not clipped.
        """
        inputs = [pictures, noise, prompt.embedded, prompt.positions]
        inputs += [] if prompt.visible is None else [prompt.visible]
        # All prompts with so many pictures have their places where this one has them.
        run = partial(_chunk, self._model, self._eyes, self._sampler, prompt.places)
        if not self._uses_graphs:
            return run(*inputs)
        key = (prompt.views, prompt.embedded.shape[1])
        if key not in self._graphs:
            self._graphs[key] = CudaGraph(run, tuple(inputs), self._pool)
        return self._graphs[key](*inputs)

    def warm_up(self, pictures: torch.Tensor, ids: torch.Tensor, noise: torch.Tensor) -> None:
        """Do now what only the first calls would have to wait for, for prompts of any length.

        :param pictures, noise: inputs as for a call.
        :param ids: (1, L) token ids of a prompt with places for these pictures.
        """
        if not self._pads:
            self(pictures, self.prompt(ids, len(pictures)), noise)
            return
        last = int((ids[0] == self._model.config.vlm.image_token_id).nonzero()[-1, 0])
        # What stands behind the pictures is left out but for a token, so that it fits each length.
        for text_tokens in PADDED_TEXT_TOKENS:
            self(pictures, self.prompt(ids[:, : last + 2], len(pictures), text_tokens), noise)


# No method: a graph that held its owner would be a circle, and a network in a circle stays in memory until the
# collector comes, beside the one that is loaded next.
def _chunk(
    model: St4Vla,
    eyes: Eyes,
    sampler: Sampler,
    places: torch.Tensor,
    pictures: torch.Tensor,
    noise: torch.Tensor,
    embedded: torch.Tensor,
    positions: torch.Tensor,
    visible: torch.Tensor | None = None,
) -> torch.Tensor:
    """See ``ChunkPass``; the parameters are those of its call and of ``Prompt``."""
    language = model.qwen_vl_interface.model.model.language_model
    seen = eyes(patch_rows(pictures)).flatten(0, 1)
    answer = language(
        inputs_embeds=embedded.index_copy(1, places, seen[None].to(embedded.dtype)),
        position_ids=positions,
        # No mask for any kind of layer: each token looks at those before it, which needs none.
        attention_mask=dict.fromkeys(language.config.layer_types),
        use_cache=False,
        output_hidden_states=model.reads_every_state,
    )
    condition = model.queried(model.read_states(answer), dino_pixels(pictures), visible)
    return sampler(condition, noise)
