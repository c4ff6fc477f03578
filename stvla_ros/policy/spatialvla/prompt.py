"""Turns an instruction into the token ids of the model's prompt.

The prompt (reference processor): ``<image>`` once for each picture token, ``<bos>``, the lower-cased instruction, a
line end. The checkpoint's tokenizer.json is read with the `tokenizers` library alone: the published
tokenizer_config.json names classes of remote code, which is never run here.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.policy.instruction_text import Words, checked_text
from stvla_ros.policy.tokenizer_files import FILE, checked_tokenizer, read_tokenizer_files

_IMAGE = "<image>"
_BOS = "<bos>"
# Files that describe the tokenizer to other programs; kept for saving, not read.
_COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json")


class PromptTokenizer:
    """Encodes instructions. Made by ``load``.

    :param image_token_id: config.json's id of ``<image>``.
    :param vocab_size: number of embeddings of the language model.
    :param image_tokens: places for the picture in a prompt.
    :param max_tokens: most tokens of an instruction, its line end included.
    :param files: contents of tokenizer.json and of the files that belong to it, by file name.
    :param source: name of the tokenizer in messages.
    :raises InputError: when the tokenizer is damaged, lacks ``<image>`` or ``<bos>``, or has them elsewhere than the
        model.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        image_token_id: int,
        vocab_size: int,
        image_tokens: int,
        max_tokens: int,
        source: str,
    ) -> None:
        tokenizer = checked_tokenizer(files[FILE], source)
        ids = {token: tokenizer.token_to_id(token) for token in (_IMAGE, _BOS)}
        for token, found in ids.items():
            if found is None:
                raise InputError(f"{source}: expected a token {token}, there is none")
            if found >= vocab_size:
                raise InputError(f"{source}: expected {token} inside the model's {vocab_size} ids, it is {found}")
        if ids[_IMAGE] != image_token_id:
            raise InputError(
                f"{source}: expected {_IMAGE} to have config.json's image token id {image_token_id}, got {ids[_IMAGE]}"
            )
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._files = dict(files)
        self._vocab_size = vocab_size
        self._max_tokens = max_tokens
        self._source = source
        self._image = np.full(image_tokens, image_token_id, dtype=np.int64)
        self._bos_id = ids[_BOS]
        self._words = Words(tokenizer)

    @classmethod
    def load(
        cls, directory: Path, image_token_id: int, vocab_size: int, image_tokens: int = 256, max_tokens: int = 128
    ) -> "PromptTokenizer":
        """
        :param directory: folder of a checkpoint with tokenizer.json.
        :param image_token_id: config.json's id of ``<image>``.
        :param vocab_size: number of embeddings of the language model.
        :param image_tokens: places for the picture in a prompt.
        :param max_tokens: most tokens of an instruction, its line end included.
        :raises InputError: when tokenizer.json is missing, damaged, or not this model's.
        """
        files = read_tokenizer_files(directory, _COMPANIONS)
        return cls(files, image_token_id, vocab_size, image_tokens, max_tokens, str(directory / FILE))

    def save(self, directory: Path) -> None:
        """Write tokenizer.json and the other tokenizer files as they were read."""
        for name, content in self._files.items():
            (directory / name).write_bytes(content)

    def encode(self, instruction: str) -> np.ndarray:
        """
        :param instruction: instruction in words of any language that the checkpoint's vocabulary can spell. Case and
            outer whitespace do not matter.
        :returns: (image_tokens + 1 + n,) int64 ids: the picture's places, ``<bos>``, the n tokens of the instruction
            and its line end.
        :raises InputError: for anything but a string; a blank or too long one; control characters; text that the
            tokenizer reads as a reserved token (it could stand for a picture or an action); text that it cannot spell.
        """
        text = checked_text(instruction)
        # With <bos>: some tokenizers treat the start of a text differently from text after a special token.
        encoding = self._tokenizer.encode(f"{_BOS}{text}\n", add_special_tokens=False)
        ids = np.array(encoding.ids, dtype=np.int64)
        if ids[0] != self._bos_id:
            raise InputError(f"{self._source}: expected {_BOS} to be read as one token, got {encoding.tokens[:5]}")
        self._words.check(text, encoding, skipped=1, offset=len(_BOS))
        if len(ids) - 1 > self._max_tokens:
            raise InputError(f"instruction: expected at most {self._max_tokens} tokens, got {len(ids) - 1}")
        if ids.max() >= self._vocab_size:
            raise InputError(
                f"{self._source}: expected ids below the model's {self._vocab_size}, got {ids.max()} for "
                f"{encoding.tokens[int(ids.argmax())]!r}"
            )
        return np.concatenate([self._image, ids])
