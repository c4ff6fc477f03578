"""The tokenizer of a new checkpoint: byte-level BPE of 512 tokens, learnt from manipulation instructions.

Every byte has a token, so any text in any language can be spelt. Common English instructions take about a token a word.
In the sizes with the published vocabulary, ids below the image token that BPE does not need are ``<unusedN>``, as
Gemma's are.
"""

import itertools
import json

from stvla_ros.policy.learnt_tokenizer import learnt_tokenizer
from stvla_ros.policy.spatialvla.sizes import BOS, EOS, NUM_ACTION_TOKENS, PAD, SMALL_TEXT_VOCABULARY, UNK
from stvla_ros.policy.typical_instructions import typical_instructions

SPECIAL_TOKENS = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS, "<unk>": UNK}


def training_lines() -> list[str]:
    """The instructions that the tokenizer is learnt from."""
    return [f"{line}\n" for line in typical_instructions()]


def make_tokenizer(image_token_id: int) -> str:
    """Make the tokenizer. Every call gives the same text.

    :param image_token_id: id of ``<image>``; the action tokens follow it.
    :returns: content of tokenizer.json.
    """
    learnt = learnt_tokenizer(training_lines(), SMALL_TEXT_VOCABULARY, list(SPECIAL_TOKENS))
    content = json.loads(learnt.to_str())
    vocabulary: dict[str, int] = content["model"]["vocab"]
    # No merge leads to these, so no text is ever encoded as one of them; <image> is a special token below.
    names = itertools.chain(
        (f"<unused{number}>" for number in range(image_token_id - len(vocabulary))),
        ["<image>"],
        (f"<ACTION{offset:05d}>" for offset in range(NUM_ACTION_TOKENS)),
    )
    vocabulary.update(zip(names, itertools.count(len(vocabulary)), strict=False))
    image = {**content["added_tokens"][0], "id": image_token_id, "content": "<image>"}
    content["added_tokens"].append(image)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
