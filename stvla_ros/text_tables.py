"""Tables as text: Markdown for people, CSV for programs. The same cells give the same bytes."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

_DIGITS = 6


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Rows of cells under a head; ``notes`` are paragraphs below."""
    lines = ["| " + " | ".join(each) + " |" for each in (head, *rows)]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Fractions are rounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([round(each, _DIGITS) if isinstance(each, float) else each for each in row])
    return out.getvalue()


def interval_cell(value: float, low: float, high: float) -> str:
    """A value with the ends of its interval; empty for NaN."""
    if math.isnan(value):
        return ""
    value, low, high = (round(each, 2) + 0.0 for each in (value, low, high))  # without a minus before 0.00
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
