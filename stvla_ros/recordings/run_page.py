"""A run's page for the browser: the video, a row for every episode, and the latencies."""

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stvla_ros.atomic_files import whole_file

PAGE, VIDEO, SUMMARY = "index.html", "video.mp4", "summary.json"
# A stage's figures in the summary: title and key.
_LATENCIES = (
    ("from the picture, p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("own share, p50 ms", "processing_p50_ms"),
    ("p99 ms", "processing_p99_ms"),
    ("messages", "published"),
    ("dropped", "drops"),
)
_LATENCY_NOTE = (
    "From the picture: from the picture's stamp until the node's result is out. Own share: the node's own work in it. "
    "p50: half of all took longer; p99: one of a hundred."
)
_FACTS = (
    "task",
    "policy",
    "checkpoint",
    "traces",
    "execution",
    "pacing",
    "fused",
    "tracker",
    "depth",
    "frames_with_traces",
)
_FOLDERS = (("frames", "the traces of each frame, for numpy"), ("bag", "all topics, for Foxglove and ros2 bag"))


def write_run_page(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``index.html`` beside the summary. It links the video if there is one.

    :param summary: content of ``summary.json``.
    """
    parts = [
        f"<h1>{_text(summary.get('task') or 'run')}: {_text(outcome(summary))}</h1>",
        *([f'<video controls src="{VIDEO}"></video>'] if (folder / VIDEO).is_file() else []),
        *_table("episodes", ("episode", "", "steps", "instruction", "why it ended"), _episodes(summary)),
        *_table("latencies", ("node", *(title for title, _ in _LATENCIES)), _stages(summary), _LATENCY_NOTE),
        *_table("what was run", ("", ""), _facts(summary)),
        f'<p><a href="{SUMMARY}">{SUMMARY}</a>: all figures</p>',
        *(f'<p><a href="{name}/">{name}/</a>: {what}</p>' for name, what in _FOLDERS if (folder / name).is_dir()),
    ]
    with whole_file(folder / PAGE) as aside:
        aside.write_text(_PAGE.format(title=_text(folder.name), body="\n".join(parts)), encoding="utf-8")


def outcome(summary: Mapping[str, Any]) -> str:
    """The outcome of a run in a few words: "2 of 3 episodes succeeded · 41 steps on average"; for a recording, its
    number of frames.
    """
    episodes = summary.get("episodes") or []
    if not episodes:
        return f"{summary.get('frames', 0)} frames in the video"
    succeeded = sum(bool(episode["success"]) for episode in episodes)
    steps = sum(episode["steps"] for episode in episodes) / len(episodes)
    noun = "episode" if len(episodes) == 1 else "episodes"
    return f"{succeeded} of {len(episodes)} {noun} succeeded · {steps:.0f} steps on average"


def _episodes(summary: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for episode in summary.get("episodes") or []:
        word = "success" if episode["success"] else "failure"
        yield episode["episode_id"], word, episode["steps"], episode["instruction"], episode.get("reason", "")


def _stages(summary: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for name, values in (summary.get("stages") or {}).items():
        if values.get("p50_ms") is not None:
            yield name, *(_figure(values.get(key)) for _, key in _LATENCIES)


def _facts(summary: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for name in _FACTS:
        value = summary.get(name, "")
        if value != "":
            yield name.replace("_", " "), ("yes" if value else "no") if isinstance(value, bool) else value


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)


def _table(title: str, head: tuple[str, ...], rows: Iterator[tuple[Any, ...]], note: str = "") -> Iterator[str]:
    lines = ["<tr>" + "".join(f"<td class={_kind(cell)}>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if lines:
        names = "".join(f"<th>{_text(name)}</th>" for name in head)
        yield f"<h2>{_text(title)}</h2>\n<table>\n<tr>{names}</tr>\n" + "\n".join(lines) + "\n</table>"
        if note:
            yield f"<p class=note>{_text(note)}</p>"


def _kind(cell: Any) -> str:
    """The CSS class of a cell: outcomes have colours, numbers stand on the right."""
    if cell in ("success", "failure"):
        return str(cell)
    is_number = isinstance(cell, int | float) or str(cell).replace(".", "", 1).isdigit()
    return "number" if is_number and not isinstance(cell, bool) else "text"


def _text(value: Any) -> str:
    return html.escape(str(value))


_PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222 }}
h1 {{ font-size: 1.4em }} h2 {{ font-size: 1.1em; margin-top: 2em }}
video {{ width: 100%; background: #111 }}
table {{ border-collapse: collapse }} th, td {{ padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd }}
.number {{ text-align: right; font-variant-numeric: tabular-nums }}
.note {{ color: #666; font-size: .9em }}
.success {{ color: #17803d }} .failure {{ color: #b3261e }}
</style>
{body}
</html>
"""
