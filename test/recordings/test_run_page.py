"""The page of a run, and the line with which a run ends."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stvla_ros.graph.closing import closing_line
from stvla_ros.graph.supervisor import without_interrupts
from stvla_ros.recordings.run_page import outcome, write_run_page

SUMMARY: dict[str, Any] = {
    "task": "stack_cube",
    "policy": "stvla",
    "episodes": [
        {"episode_id": 0, "instruction": "stack <b> on </td>", "success": True, "steps": 31, "reason": "holds"},
        {"episode_id": 1, "instruction": "stack", "success": False, "steps": 60, "reason": "time limit"},
    ],
    "frames": 91,
    "stages": {
        "tracker": {"p50_ms": 12.34, "p99_ms": 20.0, "processing_p50_ms": 5.0, "published": 91, "drops": 0},
        "sim_bridge": {"p50_ms": None},
    },
}


class _Reader(HTMLParser):
    """The rows of a page's tables, and what it links; a tag that is not closed is a failure."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "html"):
            self._open.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag != "html":
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def _page(folder: Path, summary: dict[str, Any]) -> _Reader:
    write_run_page(folder, summary)
    return _Reader((folder / "index.html").read_text())


def test_a_page_has_a_row_for_every_episode_and_every_nodes_latencies(tmp_path: Path) -> None:
    rows = _page(tmp_path, SUMMARY).rows
    assert ["0", "success", "31", "stack <b> on </td>", "holds"] in rows
    assert ["1", "failure", "60", "stack", "time limit"] in rows
    assert ["tracker", "12.3", "20.0", "5.0", "", "91", "0"] in rows
    assert not any(row[0] == "sim_bridge" for row in rows), "a node without figures"


def test_a_page_shows_the_video_that_is_there(tmp_path: Path) -> None:
    assert _page(tmp_path, SUMMARY).links == ["summary.json"]
    (tmp_path / "video.mp4").touch()
    assert _page(tmp_path, SUMMARY).links == ["video.mp4", "summary.json"]


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (SUMMARY, "1 of 2 episodes succeeded · 46 steps on average"),
        ({"episodes": SUMMARY["episodes"][:1]}, "1 of 1 episode succeeded · 31 steps on average"),
        ({"episodes": [], "frames": 50}, "50 frames in the video"),
    ],
)
def test_the_outcome_is_a_few_words(summary: dict[str, Any], said: str) -> None:
    assert outcome(summary) == said


def test_a_run_ends_with_one_line(tmp_path: Path) -> None:
    assert closing_line(tmp_path) == f"results in {tmp_path}"
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    (tmp_path / "video.mp4").touch()
    assert closing_line(tmp_path) == (
        f"1 of 2 episodes succeeded · 46 steps on average · video: {tmp_path / 'video.mp4'}"
    )
    (tmp_path / "summary.json").write_text("[]")
    assert closing_line(tmp_path).startswith("video: ") or closing_line(tmp_path).startswith("results in")


def test_what_was_stopped_while_it_started_leaves_no_traceback() -> None:
    interrupted = [
        "Traceback (most recent call last):\n",
        '  File "a.py", line 1\n',
        "    import x\n",
        "KeyboardInterrupt\n",
    ]
    fault = [*interrupted[:3], "ValueError: bad\n"]
    assert list(without_interrupts(["a\n", *interrupted, "b\n"])) == ["a\n", "b\n"]
    assert list(without_interrupts(["a\n", *fault, "b\n"])) == ["a\n", *fault, "b\n"]
    assert list(without_interrupts(fault[:2])) == fault[:2], "a process that died in between"


def test_a_page_says_how_a_recording_was_traced_and_where_its_numbers_are(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    traced = {"task": "cup.mp4", "frames": 300, "frames_with_traces": 293, "tracker": "lucas_kanade", "depth": "none"}
    page = _page(tmp_path, traced)
    assert ["tracker", "lucas_kanade"] in page.rows and ["frames with traces", "293"] in page.rows
    assert "frames/" in page.links and "bag/" not in page.links


def test_a_page_says_yes_or_no(tmp_path: Path) -> None:
    rows = _page(tmp_path, {**SUMMARY, "fused": False}).rows
    assert ["fused", "no"] in rows
