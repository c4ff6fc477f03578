"""An instruction as text that a tokenizer may be given: plain words that its vocabulary can spell."""

import re
import unicodedata

from tokenizers import Encoding, Tokenizer

from stvla_ros.errors import InputError
from stvla_ros.safe_files import check_instruction, check_limit


def checked_text(instruction: str) -> str:
    """The instruction in lower case, without outer whitespace.

    :raises InputError: for anything but a string; a blank or too long one; control characters.
    """
    # Encoding megabytes would hold up the server.
    text = check_instruction(instruction, "instruction").strip().lower()
    if not text:
        raise InputError("instruction: expected an instruction in words, got a blank text")
    for character in text:
        # Cc: control characters, a line end would end the prompt early. Cs: surrogates, not valid Unicode text.
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InputError(
                f"instruction: expected one line of text, got the control character U+{ord(character):04X}"
            )
    return text


def check_question(question: str) -> None:
    """
    :param question: question of one or several lines.
    :raises InputError: for a blank question, or one longer than any that is meant.
    """
    # Putting megabytes into tokens would take seconds.
    check_limit("question_characters", len(question), "question", "characters")
    if not question.strip():
        raise InputError("question: expected a question in words, got a blank text")


class Words:
    """Words that a tokenizer can encode an instruction with.

    :param tokenizer: tokenizer of the checkpoint.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        unknown = getattr(tokenizer.model, "unk_token", None)
        self._unknown_id = None if unknown is None else tokenizer.token_to_id(unknown)
        # Tokens that stand for something other than words: <image>, <bos>, <loc0001>, <|im_end|>, …
        self._reserved = {
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.special or re.fullmatch(r"<.+>", token.content)
        }

    def check(self, text: str, encoding: Encoding, skipped: int = 0, offset: int = 0) -> None:
        """
        :param text: text that was encoded, without the characters that the caller put before it.
        :param encoding: encoding of the whole text.
        :param skipped: number of tokens that the caller put before it.
        :param offset: number of characters that the caller put before it.
        :raises InputError: for reserved tokens, and characters that the vocabulary cannot spell.
        """
        spelt = [False] * len(text)
        read = list(zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True))
        for number, token, (start, end) in read[skipped:]:
            start, end = start - offset, end - offset
            unknown = number == self._unknown_id and text[start:end] != token
            if number in self._reserved and not unknown:
                raise InputError(f"instruction: expected plain words, it contains the reserved token {token}")
            if not unknown:
                spelt[start:end] = [True] * (min(end, len(text)) - start)
        if all(done or character.isspace() for character, done in zip(text, spelt)):
            return
        # Offsets do not help here: a tokenizer without an unknown token counts as if nothing had been left out.
        lacking = [character for character in sorted(set(text)) if not self._spells(character)]
        raise InputError(
            f"instruction: expected text that the checkpoint's vocabulary can spell, it lacks "
            f"{', '.join(f'{character!r} (U+{ord(character):04X})' for character in lacking[:5])}"
        )

    def _spells(self, character: str) -> bool:
        ids = self._tokenizer.encode(character, add_special_tokens=False).ids
        return bool(ids) and self._unknown_id not in ids
