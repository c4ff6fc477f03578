"""The network's pass over a known answer: scores of every token of a chunk at once.

The layout is that of decoding.py: a prompt in which every token sees every other, padded at its end, then the action
tokens, each of which sees the prompt and the action tokens before it. B samples, P picture tokens, L tokens of the
longest prompt, N = 3 T tokens of a chunk, E the language model's width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stvla_ros.policy.spatialvla.model import SpatialVla


@dataclass(frozen=True)
class Hidden:
    """
    :param answers: (B, N, E): hidden states that score the chunk's tokens.
    :param picture: (B, P, E): hidden states in the picture's places.
    """

    answers: torch.Tensor
    picture: torch.Tensor


def run_known_tokens(
    model: SpatialVla,
    pixels: torch.Tensor,
    points: torch.Tensor,
    ids: torch.Tensor,
    lengths: torch.Tensor,
    offsets: torch.Tensor,
    cells: torch.Tensor | None = None,
) -> Hidden:
    """
    :param pixels: (B, 3, S, S) float32 in [0, 1], or with an earlier picture (2 B, …), see ``image_features``.
    :param points: (B, P, 3 n^2) float32 metres, or likewise, see ``SpatialVla.points``.
    :param ids: (B, L) prompts, padded at the end with any id that is no picture's or action's.
    :param lengths: (B,) number of tokens that are no padding.
    :param offsets: (B, N) action tokens; the last one is not looked at.
    :param cells: (B, C, C, 5) cells of the traces, see ``SpatialVla.image_features``.
    """
    features = model.image_features(pixels, points, None, cells)
    prompt, actions = model.embed_prompt(ids, features), model.embed_actions(offsets[:, :-1])
    embeddings = torch.cat([prompt, actions.to(prompt.dtype)], dim=1)
    longest, count = ids.shape[1], offsets.shape[1]
    slots = torch.arange(longest + count - 1, device=ids.device)
    steps = torch.arange(1, count, device=ids.device)
    # Decoded tokens follow the prompt's last token, without a gap for its padding.
    positions = torch.cat([slots[:longest].expand(len(ids), -1) + 1, lengths[:, None] + steps], dim=1)
    sees_prompt = slots[None, None, :] < lengths[:, None, None]
    sees_actions = (slots >= longest) & (slots[None, :] <= slots[:, None]) & (slots[:, None] >= longest)
    visible = sees_prompt | sees_actions
    mask = torch.zeros(visible.shape, dtype=embeddings.dtype, device=ids.device)
    mask = mask.masked_fill(~visible, torch.finfo(embeddings.dtype).min)[:, None]
    hidden = model.run_language_model(embeddings, positions, mask)
    first = hidden[torch.arange(len(ids), device=ids.device), lengths - 1]
    answers = torch.cat([first[:, None], hidden[:, longest:]], dim=1)
    return Hidden(answers, hidden[:, : features.shape[1]])


def legal_scores(
    model: SpatialVla, answers: torch.Tensor, legal_ranges: Sequence[tuple[int, int]]
) -> tuple[torch.Tensor, ...]:
    """Scores of the legal tokens by kind: (B, T, 4096), (B, T, 4096), (B, T, 2) for a chunk of T actions.

    :param answers: (B, 3 T, E).
    :param legal_ranges: ranges of the translation, rotation and gripper tokens.
    """
    begin = model.config.action_token_begin
    kinds = len(legal_ranges)
    return tuple(
        model.logits(answers[:, kind::kinds], begin + first, begin + end)
        for kind, (first, end) in enumerate(legal_ranges)
    )
