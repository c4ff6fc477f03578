"""Findings as text for people and as JSON for programs."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stvla_ros.doctor.findings import LEVELS, Section, count_levels
from stvla_ros.errors import InputError

# Width for a file or a pipe; a terminal has its own.
_PLAIN_WIDTH = 120
_LEAST_WIDTH = 60
_INDENT = " " * 11


def section_text(section: Section, width: int) -> str:
    """:param width: longest line, characters. Words that are longer (topics, paths) are not broken."""
    lines = [section.title]
    for finding in section.findings:
        lines += _wrapped(finding.text, f"  {finding.level:<9}", _INDENT, width)
        if finding.advice:
            lines += _wrapped(finding.advice, f"{_INDENT}-> ", f"{_INDENT}   ", width)
    return "\n".join(lines)


def summary_text(sections: Sequence[Section]) -> str:
    """One line: the number of findings by level, and the conclusion."""
    counts = count_levels(sections)
    told = ", ".join(f"{counts[level]} {level}{'' if level == 'ok' or counts[level] == 1 else 's'}" for level in LEVELS)
    if counts["error"]:
        areas = ", ".join(s.area for s in sections if any(f.level == "error" for f in s.findings))
        return f"{told}. Do not drive the robot before the errors are gone ({areas})."
    return f"{told}. No errors in what was checked."


def report_content(sections: Sequence[Section]) -> dict[str, Any]:
    counts = count_levels(sections)
    findings = [
        {"area": section.area, "level": finding.level, "found": finding.text, "advice": finding.advice}
        for section in sections
        for finding in section.findings
    ]
    return {"passed": not counts["error"], "counts": {level: counts[level] for level in LEVELS}, "findings": findings}


def write_report(file: Path, sections: Sequence[Section]) -> None:
    """:raises InputError: when the file cannot be written."""
    try:
        file.write_text(json.dumps(report_content(sections), indent=2) + "\n", encoding="utf-8")
    except OSError as problem:
        raise InputError(f"json: expected a file that can be written, got {file} ({problem.strerror})") from None


def line_width() -> int:
    """Number of characters in a line of the standard output."""
    if not sys.stdout.isatty():
        return _PLAIN_WIDTH
    return max(_LEAST_WIDTH, shutil.get_terminal_size().columns)


def _wrapped(text: str, first: str, others: str, width: int) -> list[str]:
    # A path or a topic that is broken in two cannot be copied.
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
