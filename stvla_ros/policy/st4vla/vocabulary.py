"""The tokenizer of a new checkpoint: byte-level BPE in Qwen2.5's form, learnt from manipulation instructions.

Every byte has a token, so any text in any language can be spelt; each digit is a token. In the size with the published
vocabulary, ids that BPE does not need are ``<unusedN>``.
"""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from stvla_ros.policy.grounding.places import box_text, path_text, point_text
from stvla_ros.policy.grounding.wordings import FORMS, GRIPPER
from stvla_ros.policy.st4vla.sizes import PAPER_PROMPT, PUBLISHED_PROMPT, SMALL_SPECIAL, SPECIAL_TOKENS
from stvla_ros.policy.tokenizer_files import KNOWN_PATTERNS
from stvla_ros.policy.typical_instructions import typical_instructions

# Other texts: turns, and the questions and answers of grounding data.
_OTHERS = (
    "system\nYou are a helpful assistant.",
    "user\n",
    "assistant\n",
    box_text([12, 34, 156, 178], "green block"),
    f"[{box_text([12, 34, 156, 178], 'plate')}, {box_text([9, 80, 70, 100], 'plate')}]",
    point_text([90, 123], "plate"),
    point_text([90, 123], GRIPPER),
    path_text([[90, 123], [7, 8], [45, 6]], GRIPPER),
    *(wording.format(name="plate", task="put it there") for wordings in FORMS.values() for wording in wordings),
)
_OTHERS_WEIGHT = 50


def make_tokenizer(first_special: int) -> str:
    """Make the tokenizer. Every call gives the same text.

    :param first_special: id of the first special token.
    :returns: content of tokenizer.json.
    """
    learnt = Tokenizer(models.BPE())
    learnt.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(KNOWN_PATTERNS["Qwen2.5"]), "isolated")
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learnt.pre_tokenizer = pre_tokenizers.Sequence([split, in_bytes])
    learnt.decoder = decoders.ByteLevel()
    learnt.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=SMALL_SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    instructions = typical_instructions()
    prompts = [prompt.replace("{instruction}", instructions[0]) for prompt in (PUBLISHED_PROMPT, PAPER_PROMPT)]
    learnt.train_from_iterator([*instructions, *_OTHERS_WEIGHT * [*prompts, *_OTHERS]], trainer)
    content = json.loads(learnt.to_str())
    vocabulary: dict[str, int] = content["model"]["vocab"]
    for number in range(first_special - len(vocabulary)):
        vocabulary[f"<unused{number}>"] = len(vocabulary)
    made = Tokenizer.from_str(json.dumps(content))
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    return made.to_str()
