"""Estimates the memory that a training step keeps between its forward and backward pass."""

from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.encoder_inputs import MERGED, PATCH

# Numbers that a transformer block keeps per number of a token: norms, queries, keys, values, attention's result, sums.
_KEPT = 14
# Further ones per number in the middle of its MLP, with a gate and without.
_KEPT_GATED, _KEPT_PLAIN = 4, 2
# Usual number of a prompt's tokens, or a question's with its answer, without the picture's.
_TEXT_TOKENS = 90


def activation_bytes(config: St4VlaConfig, batch_size: int, repeats: int, wide: int) -> int:
    """
    :param repeats: number of noises for each condition.
    :param wide: bytes of a number in the vision-language model and DINOv2; all other numbers have 4.
    """
    text, vision, dino = config.vlm.text_config, config.vlm.vision_config, config.dino
    patches = (config.picture_size // PATCH) ** 2
    tokens = patches // MERGED**2 + _TEXT_TOKENS
    numbers = tokens * text.num_hidden_layers * (_KEPT * text.hidden_size + _KEPT_GATED * text.intermediate_size)
    numbers += patches * vision.depth * (_KEPT * vision.hidden_size + _KEPT_GATED * vision.intermediate_size)
    numbers += patches * dino.num_hidden_layers * (_KEPT + _KEPT_PLAIN * dino.mlp_ratio) * dino.hidden_size
    scores = _TEXT_TOKENS * text.vocab_size
    sequence = config.queries + config.chunk
    looks = (tokens + patches) * config.states * 3 * config.width
    acting = looks + repeats * sequence * config.blocks * (_KEPT + 4 * _KEPT_PLAIN) * config.width
    return batch_size * int(wide * (numbers + scores) + 4 * acting)
