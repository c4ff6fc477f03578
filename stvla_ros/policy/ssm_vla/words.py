"""Instructions as ids of words."""

from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.policy.instruction_text import Words, checked_text
from stvla_ros.policy.ssm_vla.config import PolicyConfig
from stvla_ros.policy.ssm_vla.vocabulary import BEGIN
from stvla_ros.policy.tokenizer_files import FILE, checked_tokenizer, read_tokenizer_files


class WordTokenizer:
    """
    :param content: content of tokenizer.json.
    :param config: shape of the policy.
    :param source: name of the tokenizer in messages.
    :raises InputError: when the tokenizer is damaged, or has tokens that the policy does not have.
    """

    def __init__(self, content: bytes, config: PolicyConfig, source: str) -> None:
        tokenizer = checked_tokenizer(content, source)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        begin = tokenizer.token_to_id(BEGIN)
        if begin is None:
            raise InputError(f"{source}: expected a token {BEGIN}, there is none")
        if (most := tokenizer.get_vocab_size()) > config.vocabulary:
            raise InputError(f"{source}: expected at most the model's {config.vocabulary} tokens, got {most}")
        self.content = content
        self._tokenizer, self._begin, self._most, self._source = tokenizer, begin, config.most_words, source
        self._vocabulary, self._words = config.vocabulary, Words(tokenizer)

    @classmethod
    def load(cls, directory: Path, config: PolicyConfig) -> "WordTokenizer":
        """
        :param directory: folder of a checkpoint with tokenizer.json.
        :param config: shape of its policy.
        :raises InputError: when tokenizer.json is missing, damaged, or not this policy's.
        """
        return cls(read_tokenizer_files(directory)[FILE], config, str(directory / FILE))

    def encode(self, instruction: str) -> np.ndarray:
        """
        :param instruction: instruction in words of any language. Case and outer whitespace do not matter.
        :returns: (L,) int64 ids, ``<bos>`` first.
        :raises InputError: for anything but a string; a blank or too long one; control characters; text that the
            tokenizer reads as a reserved token, or cannot spell.
        """
        text = checked_text(instruction)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        self._words.check(text, encoding)
        ids = np.array([self._begin, *encoding.ids], dtype=np.int64)
        if len(ids) > self._most:
            raise InputError(f"instruction: expected at most {self._most - 1} tokens, got {len(ids) - 1}")
        if ids.max() >= self._vocabulary:
            raise InputError(f"{self._source}: expected ids below the model's {self._vocabulary}, got {ids.max()}")
        return ids

    def nothing(self) -> np.ndarray:
        """(1,) int64 ids of a clip without an instruction."""
        return np.array([self._begin], dtype=np.int64)
