"""Which regular expressions a tokenizer may have, and which it may not."""

import itertools
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_st4vla import PATTERN, tokenizer
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from stvla_ros.errors import InputError
from stvla_ros.policy.tokenizer_files import KNOWN_PATTERNS, checked_tokenizer

# What expressions of this kind could go to and fro over: spaces before no line end, marks before no letter.
_KINDS = ("a", "A", " ", "\n", " \n", "7", "!", "'", "'s", "中", "\u0300", "A!", "\u2028", "a\u0316")


def with_pattern(pattern: object) -> bytes:
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return json.dumps({**json.loads(Tokenizer(models.BPE()).to_str()), "pre_tokenizer": step}).encode()


def test_the_pattern_of_qwen_is_the_published_one():
    assert KNOWN_PATTERNS["Qwen2.5"] == PATTERN


@pytest.mark.parametrize("name", KNOWN_PATTERNS)
def test_a_known_pattern_is_read(name):
    assert checked_tokenizer(with_pattern(KNOWN_PATTERNS[name]), "tokenizer.json").pre_tokenizer is not None


@pytest.mark.parametrize(
    "pattern", [r"(\s+)+$", r"(a|aa)+$", PATTERN + "|(a+)+$", PATTERN.replace(r"\s*", r"(\s*)*"), ["a"], 1]
)
def test_what_only_looks_like_a_known_pattern_is_refused(pattern):
    with pytest.raises(InputError, match="tokenizer.json: Split: .*no regular expression but those"):
        checked_tokenizer(with_pattern(pattern), "tokenizer.json")


def test_a_known_pattern_is_refused_where_texts_are_replaced():
    step = {"type": "Replace", "pattern": {"Regex": PATTERN}, "content": ""}
    content = {**json.loads(Tokenizer(models.BPE()).to_str()), "normalizer": step}
    with pytest.raises(InputError, match="Replace: .*no regular expression"):
        checked_tokenizer(json.dumps(content).encode(), "tokenizer.json")


@pytest.mark.parametrize("name", KNOWN_PATTERNS)
def test_a_known_pattern_comes_to_the_end_of_a_long_text_of_one_kind(name):
    """Ten times the longest instruction: with a pattern that goes to and fro this test would never end."""
    split = pre_tokenizers.Split(Regex(KNOWN_PATTERNS[name]), "isolated")
    for kinds in itertools.product(_KINDS, ("", *_KINDS)):
        unit = "".join(kinds)
        text = unit * (10_000 // len(unit) if len(set(kinds)) == 1 or "" in kinds else 300) + "x"
        assert sum(len(piece) for piece, _ in split.pre_tokenize_str(text)) == len(text)


@given(st.text(max_size=60))
def test_a_checked_tokenizer_gives_the_text_back(text):
    made = checked_tokenizer(tokenizer().to_str().encode(), "tokenizer.json")
    expected = unicodedata.normalize("NFC", text)
    assert made.decode(made.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == expected
