"""Reads a checkpoint's tokenizer.json so that no text can make it run for long.

A tokenizer file may contain regular expressions. Some take minutes for a line of text, others crash the library with a
panic. So only those parts are accepted whose time grows with the text's length: literal texts that are searched and
replaced, changes of case and of Unicode's forms, and splitting at spaces, bytes, digits and punctuation. Of regular
expressions, only the few that most byte-level tokenizers have are accepted, and only letter for letter.
"""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from stvla_ros.errors import InputError, reason_of
from stvla_ros.safe_files import check_limit, parse_json, read_bytes

FILE = "tokenizer.json"

_NORMALIZERS = frozenset(
    ("Sequence", "Replace", "Prepend", "Strip", "StripAccents", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "ByteLevel")
)
_NORMALIZERS |= {"BertNormalizer", "Nmt"}
_PRE_TOKENIZERS = frozenset(
    ("Sequence", "Split", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit", "BertPreTokenizer", "Punctuation")
)
_PRE_TOKENIZERS |= {"Digits", "UnicodeScripts", "CharDelimiterSplit"}
# Regular expressions that split texts in the tokenizers of these models. Each was tried on texts of any two of 20 kinds
# of characters in turn: the time grows with the text's length (test/policy/st4vla/test_known_patterns.py runs some).
# One more letter may make an expression very slow, so similar ones are not accepted.
_END = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_MARKS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
KNOWN_PATTERNS = {
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "Qwen2.5": rf"{_ENGLISH}{_WORD}|\p{{N}}{_MARKS}{_END}",
    "Llama 3": rf"{_ENGLISH}{_WORD}|\p{{N}}{{1,3}}{_MARKS}{_END}",
    "GPT-4o": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENGLISH}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENGLISH}?"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_END}"
    ),
}
"""Regular expressions that are accepted, by a model that has them."""
_MOST_PARTS = 32
# Largest factor by which all replacements together may lengthen a text.
_MOST_GROWTH = 1000
# Largest number of lists and mappings in the file: each takes memory of its own. Gemma's merges are 580,000.
_MOST_CONTAINERS = 3_000_000


def read_tokenizer_files(directory: Path, companions: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The contents of tokenizer.json, and of those of its companions that are there, by file name.

    :param directory: folder of a checkpoint.
    :param companions: names of further files that belong to the tokenizer.
    :raises InputError: when tokenizer.json is missing, too large or cannot be read.
    """
    if not (directory / FILE).is_file():
        raise InputError(f"checkpoint {directory}: expected a file {FILE}, there is none")
    try:
        present = [name for name in (FILE, *companions) if (directory / name).is_file()]
        return {name: read_bytes(directory / name, "tokenizer_bytes") for name in present}
    except OSError as error:
        raise InputError(f"checkpoint {directory}: expected a readable tokenizer ({error})") from error


def checked_tokenizer(content: bytes, where: str) -> Tokenizer:
    """
    :param content: content of tokenizer.json.
    :param where: name of the file in messages.
    :raises InputError: for no tokenizer, or one with parts that may take very long.
    """
    check_limit("tokenizer_bytes", len(content), where, "bytes")
    containers = content.count(b"[") + content.count(b"{")
    if containers > _MOST_CONTAINERS:
        raise InputError(f"{where}: expected at most {_MOST_CONTAINERS} lists and objects, got {containers}")
    document = parse_json(content, where, "tokenizer_bytes")
    if not isinstance(document, dict):
        raise InputError(f"{where}: expected a tokenizer, got {type(document).__name__}")
    # Checked before the library sees it: a damaged part can crash the library with a panic.
    growth = 1.0
    for step in _parts(document.get("normalizer"), "normalizer", "normalizers", _NORMALIZERS, where):
        growth *= _growth(step, where)
    if growth > _MOST_GROWTH:
        raise InputError(f"{where}: expected replacements that make a text at most {_MOST_GROWTH} times as long")
    for step in _parts(document.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS, where):
        _growth(step, where)
    del document
    try:
        return Tokenizer.from_buffer(content)
    except BaseException as error:  # the library raises plain Exception, and a panic is none at all
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{where}: expected a tokenizer of the `tokenizers` library ({reason_of(error)})") from None


def _parts(part: Any, name: str, inner: str, known: frozenset[str], where: str) -> list[dict[str, Any]]:
    """The steps that a part consists of; none for null."""
    steps, waiting = [], [part]
    while waiting:
        step = waiting.pop()
        if step is None:
            continue
        kind = step.get("type") if isinstance(step, dict) else None
        if not isinstance(kind, str) or kind not in known:
            got = kind[:80] if isinstance(kind, str) else type(kind).__name__
            raise InputError(f"{where}: {name}: expected one of {', '.join(sorted(known))}, got {got}")
        steps.append(step)
        if kind == "Sequence":
            each = step.get(inner)
            waiting += each if isinstance(each, list) else []
        if len(steps) + len(waiting) > _MOST_PARTS:
            raise InputError(f"{where}: {name}: expected at most {_MOST_PARTS} parts")
    return steps


def _growth(step: dict[str, Any], where: str) -> float:
    """The largest factor by which a step lengthens a text."""
    if step["type"] not in ("Replace", "Prepend", "Split"):
        return 1.0
    pattern = step.get("pattern")
    if step["type"] == "Split" and isinstance(pattern, dict) and pattern.get("Regex") in KNOWN_PATTERNS.values():
        return 1.0
    if step["type"] == "Prepend":
        searched = " "
    else:
        searched = pattern.get("String") if isinstance(pattern, dict) else pattern
    if not isinstance(searched, str) or not searched:
        raise InputError(
            f"{where}: {step['type']}: expected a literal text (String) to look for, no regular expression but those "
            f"that split the texts of {', '.join(KNOWN_PATTERNS)}"
        )
    added = step.get("content", step.get("prepend", ""))
    return max(1.0, len(added) / len(searched)) if isinstance(added, str) else 1.0
