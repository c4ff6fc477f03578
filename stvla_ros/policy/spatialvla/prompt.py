"""From an instruction to the token ids of the model's prompt.

The prompt (reference processor): ``<image>`` once a picture token, ``<bos>``, the lower-cased instruction, a line end.
The checkpoint's tokenizer.json is read with the `tokenizers` library alone: the published tokenizer_config.json names
classes of remote code, which is never run here.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import Encoding

from stvla_ros.errors import InputError
from stvla_ros.policy.tokenizer_files import checked_tokenizer
from stvla_ros.safe_files import check_instruction, read_bytes

_IMAGE = "<image>"
_BOS = "<bos>"
_FILE = "tokenizer.json"
# What describes the tokenizer to other programs; kept for saving, not read.
_COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json")


class PromptTokenizer:
    """Encodes instructions. Made by ``load``.

    :param image_token_id: config.json's id of ``<image>``.
    :param vocab_size: number of embeddings of the language model.
    :param image_tokens: places for the picture in a prompt.
    :param max_tokens: most tokens of an instruction, its line end included.
    :param files: content of tokenizer.json and of what belongs to it, by file name.
    :param source: names the tokenizer in messages.
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
        tokenizer = checked_tokenizer(files[_FILE], source)
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
        unknown = getattr(tokenizer.model, "unk_token", None)
        self._unknown_id = None if unknown is None else tokenizer.token_to_id(unknown)
        # Whatever stands for something other than words: <image>, <bos>, <loc0001>, <unused5>, …
        self._reserved = {
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.special or re.fullmatch(r"<.+>", token.content)
        }

    @classmethod
    def load(
        cls, directory: Path, image_token_id: int, vocab_size: int, image_tokens: int = 256, max_tokens: int = 128
    ) -> "PromptTokenizer":
        """
        :param directory: a checkpoint, with tokenizer.json.
        :param image_token_id: config.json's id of ``<image>``.
        :param vocab_size: number of embeddings of the language model.
        :param image_tokens: places for the picture in a prompt.
        :param max_tokens: most tokens of an instruction, its line end included.
        :raises InputError: when tokenizer.json is missing, damaged, or not this model's.
        """
        file = directory / _FILE
        if not file.is_file():
            raise InputError(f"checkpoint {directory}: expected a file {_FILE}, there is none")
        try:
            present = [name for name in (_FILE, *_COMPANIONS) if (directory / name).is_file()]
            files = {name: read_bytes(directory / name, "tokenizer_bytes") for name in present}
        except OSError as error:
            raise InputError(f"checkpoint {directory}: expected a readable tokenizer ({error})") from error
        return cls(files, image_token_id, vocab_size, image_tokens, max_tokens, str(file))

    def save(self, directory: Path) -> None:
        """Write tokenizer.json, and what was beside it about the tokenizer, as they were read."""
        for name, content in self._files.items():
            (directory / name).write_bytes(content)

    def encode(self, instruction: str) -> np.ndarray:
        """
        :param instruction: what to do, in words of any language that the checkpoint's vocabulary can spell. Case and
            outer whitespace do not matter.
        :returns: (image_tokens + 1 + n,) int64 ids: the picture's places, ``<bos>``, the n tokens of the instruction
            and its line end.
        :raises InputError: for anything but a string; a blank or too long one; control characters; text that the
            tokenizer reads as a reserved token (it could stand for a picture or an action); text that it cannot spell.
        """
        text = self._checked_text(instruction)
        # With <bos>, because some tokenizers treat the start of a text otherwise than what follows a special token.
        encoding = self._tokenizer.encode(f"{_BOS}{text}\n", add_special_tokens=False)
        ids = np.array(encoding.ids, dtype=np.int64)
        if ids[0] != self._bos_id:
            raise InputError(f"{self._source}: expected {_BOS} to be read as one token, got {encoding.tokens[:5]}")
        self._check_words(text, encoding)
        if len(ids) - 1 > self._max_tokens:
            raise InputError(f"instruction: expected at most {self._max_tokens} tokens, got {len(ids) - 1}")
        if ids.max() >= self._vocab_size:
            raise InputError(
                f"{self._source}: expected ids below the model's {self._vocab_size}, got {ids.max()} for "
                f"{encoding.tokens[int(ids.argmax())]!r}"
            )
        return np.concatenate([self._image, ids])

    def _checked_text(self, instruction: str) -> str:
        # Encoding megabytes would hold up the server.
        text = check_instruction(instruction, "instruction").strip().lower()
        if not text:
            raise InputError("instruction: expected what to do, in words, got a blank text")
        for character in text:
            # Cc: control characters, a line end would end the prompt early. Cs: halves of characters, not Unicode.
            if unicodedata.category(character) in ("Cc", "Cs"):
                raise InputError(
                    f"instruction: expected one line of text, got the control character U+{ord(character):04X}"
                )
        return text

    def _check_words(self, text: str, encoding: Encoding) -> None:
        """Refuse reserved tokens and characters that the vocabulary cannot spell."""
        spelt = [False] * len(text)
        for number, token, (start, end) in list(zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True))[1:]:
            start, end = start - len(_BOS), end - len(_BOS)
            unknown = number == self._unknown_id and text[start:end] != token
            if number in self._reserved and not unknown:
                raise InputError(f"instruction: expected plain words, it contains the reserved token {token}")
            if not unknown:
                spelt[start:end] = [True] * (min(end, len(text)) - start)
        if all(done or character.isspace() for character, done in zip(text, spelt)):
            return
        # Offsets are of no use here: tokenizers without an unknown token count as if nothing had been left out.
        lacking = [character for character in sorted(set(text)) if not self._spells(character)]
        raise InputError(
            f"instruction: expected text that the checkpoint's vocabulary can spell, it lacks "
            f"{', '.join(f'{character!r} (U+{ord(character):04X})' for character in lacking[:5])}"
        )

    def _spells(self, character: str) -> bool:
        ids = self._tokenizer.encode(character, add_special_tokens=False).ids
        return bool(ids) and self._unknown_id not in ids
