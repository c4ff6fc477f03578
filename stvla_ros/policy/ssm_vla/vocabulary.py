"""The tokenizer of a new checkpoint: byte-level BPE, learnt from manipulation instructions."""

from stvla_ros.policy.learnt_tokenizer import learnt_tokenizer
from stvla_ros.policy.typical_instructions import typical_instructions

BEGIN = "<bos>"
"""Token that every instruction begins with."""


def make_tokenizer(size: int) -> str:
    """Make the tokenizer. Every call gives the same text.

    :param size: largest number of tokens.
    :returns: content of tokenizer.json.
    """
    return learnt_tokenizer(typical_instructions(), size, [BEGIN]).to_str()
