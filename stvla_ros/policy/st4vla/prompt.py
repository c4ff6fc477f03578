"""Turns an instruction into the token ids of the model's prompt.

The prompt is Qwen's chat: a system message, the user's turn with pictures and text, and the start of the assistant's
turn. The text is the checkpoint's spatial prompt with the instruction in it, in lower case, as the published server
writes it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.policy.instruction_text import Words, check_question, checked_text
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.tokenizer_files import FILE, checked_tokenizer, read_tokenizer_files

_START, _END = "<|im_start|>", "<|im_end|>"
_SEEN, _PLACE, _SEEN_END = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"
_ASSISTANT = "You are a helpful assistant."
_MOST_TOKENS = 512


class PromptTokenizer:
    """Encodes instructions. Made by ``load``.

    :param content: content of tokenizer.json.
    :param config: configuration of the model.
    :param source: name of the tokenizer in messages.
    :raises InputError: when the tokenizer is damaged, lacks tokens for pictures or turns, or has them elsewhere than
        the model; when the model's prompt holds one.
    """

    def __init__(self, content: bytes, config: St4VlaConfig, source: str) -> None:
        tokenizer = checked_tokenizer(content, source)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.content = content
        self._tokenizer, self._source, self._prompt = tokenizer, source, config.prompt
        self._vocabulary = config.vlm.text_config.vocab_size
        known = {
            _SEEN: ("vision_start_token_id", config.vlm.vision_start_token_id),
            _PLACE: ("image_token_id", config.vlm.image_token_id),
            _SEEN_END: ("vision_end_token_id", config.vlm.vision_end_token_id),
        }
        for token in (_START, _END, *known):
            found = tokenizer.token_to_id(token)
            if found is None or tokenizer.encode(token, add_special_tokens=False).ids != [found]:
                raise InputError(f"{source}: expected a token {token}, there is none")
            key, wanted = known.get(token, ("", found))
            if found != wanted:
                raise InputError(f"{source}: expected {token} to have vlm_config's {key} {wanted}, got {found}")
        self._words = Words(tokenizer)
        before = self._ids(f"{_START}system\n{_ASSISTANT}{_END}\n{_START}user\n")
        picture = self._ids(_SEEN + _PLACE * config.picture_tokens + _SEEN_END)
        after = self._ids(f"{_END}\n{_START}assistant\n")
        self._before, self._picture, self._after = before, picture, after
        self.end = int(tokenizer.token_to_id(_END))
        if config.prompt is not None:
            try:
                self._text_ids(config.prompt.replace("{instruction}", ""))
            except InputError as error:
                raise InputError(f"{source}: CoT_prompt: {error}") from None

    @classmethod
    def load(cls, directory: Path, config: St4VlaConfig) -> "PromptTokenizer":
        """
        :param directory: folder of a checkpoint with tokenizer.json.
        :param config: configuration of its model.
        :raises InputError: when tokenizer.json is missing, damaged, or not this model's.
        """
        return cls(read_tokenizer_files(directory)[FILE], config, str(directory / FILE))

    def encode(self, instruction: str, views: int = 1) -> np.ndarray:
        """
        :param instruction: instruction in words of any language. Case and outer whitespace do not matter.
        :param views: number of pictures, at least 1.
        :returns: (L,) int64 ids.
        :raises InputError: for anything but a string; a blank or too long one; control characters; text that the
            tokenizer reads as a reserved token (it could stand for a picture or another's turn).
        """
        text = checked_text(instruction)
        if self._prompt is not None:
            text = self._prompt.replace("{instruction}", text)
        return self._checked(
            np.concatenate([self._before, *views * [self._picture], self._text_ids(text), self._after])
        )

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        if ids.max() >= self._vocabulary:
            raise InputError(f"{self._source}: expected ids below the model's {self._vocabulary}, got {ids.max()}")
        return ids

    def encode_question(self, question: str, views: int = 1) -> np.ndarray:
        """The prompt of a question to be answered in words: the question as it is, without text around it.

        :param question: question of one or several lines.
        :param views: number of pictures, at least 1.
        :returns: (L,) int64 ids.
        :raises InputError: for a blank or too long one, or text that the tokenizer reads as a reserved token.
        """
        check_question(question)
        ids = self._text_ids(question.strip(), "question")
        return self._checked(np.concatenate([self._before, *views * [self._picture], ids, self._after]))

    def encode_answer(self, answer: str) -> np.ndarray:
        """
        :param answer: answer in words, the content of the assistant's turn.
        :returns: (N,) int64 ids, the end of the turn last.
        :raises InputError: as ``encode_question``.
        """
        return self._checked(np.append(self._text_ids(answer, "answer"), self.end))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer. :param ids: token ids of the assistant's turn, without its end."""
        return self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=True)

    def _text_ids(self, text: str, name: str = "instruction") -> np.ndarray:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        try:
            self._words.check(text, encoding)
        except InputError as error:
            raise InputError(str(error).replace("instruction", name, 1)) from None
        if len(encoding.ids) > _MOST_TOKENS:
            raise InputError(f"{name}: expected at most {_MOST_TOKENS} tokens, got {len(encoding.ids)}")
        return np.array(encoding.ids, dtype=np.int64)

    def _ids(self, text: str) -> np.ndarray:
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
