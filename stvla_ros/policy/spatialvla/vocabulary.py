"""The tokenizer of a new checkpoint: byte-level BPE of 512 tokens, learnt from manipulation instructions.

Every byte has a token, so that any text in any language can be spelt; common English instructions take about a token
a word. The ids before the image token that BPE does not need (in the sizes with the published vocabulary) are
``<unusedN>``, as Gemma's are.
"""

import itertools
import json
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from stvla_ros.policy.spatialvla.sizes import BOS, EOS, NUM_ACTION_TOKENS, PAD, SMALL_TEXT_VOCABULARY, UNK

SPECIAL_TOKENS = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS, "<unk>": UNK}

# SimplerEnv's instructions for the WidowX and the Google robot, with the words that they are composed of.
_WIDOWX = (
    "put the spoon on the towel",
    "put carrot on plate",
    "stack the green block on the yellow block",
    "put eggplant into yellow basket",
)
_GOOGLE_OBJECTS = (
    "coke can",
    "pepsi can",
    "redbull can",
    "7up can",
    "sprite can",
    "water bottle",
    "blue plastic bottle",
    "apple",
    "orange",
    "sponge",
)
_DRAWERS = ("drawer", "top drawer", "middle drawer", "bottom drawer")

# Other tables than SimplerEnv's: what demonstrations of tabletop robots are commonly about.
_THINGS = (
    "block",
    "cube",
    "spoon",
    "carrot",
    "eggplant",
    "cup",
    "bowl",
    "fork",
    "knife",
    "banana",
    "pot",
    "lid",
    "toy",
)
_COLOURS = ("red", "green", "blue", "yellow")
_TAKE = ("pick up", "grasp", "lift", "take", "push")
_PUT = ("put", "place", "move")
_WHERE = (
    "on the plate",
    "on the towel",
    "on the table",
    "in the basket",
    "into the bowl",
    "in the sink",
    "to the left",
    "to the right",
    "near the cup",
    "to the target",
)
# How often a simulator's own instruction counts against one of the composed ones.
_SIMULATED_WEIGHT = 20


def _simulated() -> Iterator[str]:
    yield from _WIDOWX
    yield "stack the yellow block on the green block"
    yield "move the red cube to the green ball"
    yield from (f"pick {thing}" for thing in _GOOGLE_OBJECTS)
    yield from (f"move {a} near {b}" for a, b in itertools.permutations(_GOOGLE_OBJECTS[:4] + _GOOGLE_OBJECTS[-3:], 2))
    for drawer in _DRAWERS:
        yield from (f"open {drawer}", f"close {drawer}")
        yield from (
            f"place {thing} into {state}{drawer}" for thing in ("apple", "coke can") for state in ("", "closed ")
        )


def _composed() -> Iterator[str]:
    things = [*_THINGS, *(f"{colour} {thing}" for colour in _COLOURS for thing in _THINGS[:2])]
    yield from (f"{verb} the {thing}" for verb in _TAKE for thing in things)
    yield from (f"{verb} the {thing} {place}" for verb in _PUT for thing in things for place in _WHERE)


def training_lines() -> list[str]:
    """The instructions that the tokenizer is learnt from."""
    return [f"{line}\n" for line in [*_SIMULATED_WEIGHT * list(_simulated()), *_composed()]]


def make_tokenizer(image_token_id: int) -> str:
    """The same text at every call.

    :param image_token_id: id of ``<image>``; the action tokens follow it.
    :returns: content of tokenizer.json.
    """
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SMALL_TEXT_VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learnt.train_from_iterator(training_lines(), trainer)
    content = json.loads(learnt.to_str())
    vocabulary: dict[str, int] = content["model"]["vocab"]
    # No merge leads to these, so no text is ever read as one of them; <image> is a special token below.
    names = itertools.chain(
        (f"<unused{number}>" for number in range(image_token_id - len(vocabulary))),
        ["<image>"],
        (f"<ACTION{offset:05d}>" for offset in range(NUM_ACTION_TOKENS)),
    )
    vocabulary.update(zip(names, itertools.count(len(vocabulary)), strict=False))
    image = {**content["added_tokens"][0], "id": image_token_id, "content": "<image>"}
    content["added_tokens"].append(image)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
