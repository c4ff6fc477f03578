"""The repository's pages: what stands in their fenced blocks, and outside of them."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
RUN = "run"
"""Title of the blocks whose commands a test runs."""
_FENCED = re.compile(r"^( *)```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """
    :param title: file that the block is, or ``RUN``; empty for most.
    :param text: without the indentation that the fence has.
    """

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page's text."""
    found = []
    for indentation, language, title, text in _FENCED.findall(page):
        found.append(Block(language, title, re.sub(f"^{indentation}", "", text, flags=re.MULTILINE)))
    return found


def without_blocks(page: str) -> str:
    """A page's text without its fenced blocks."""
    return _FENCED.sub("", page)


def run_lines(page: str) -> list[str]:
    """The commands that a page says to run."""
    return [line for block in blocks(page) if block.title == RUN for line in block.text.splitlines()]


def files(page: str) -> dict[str, str]:
    """The files that stand in a page, by their paths."""
    return {block.title: block.text for block in blocks(page) if block.title not in ("", RUN)}
