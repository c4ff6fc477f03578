"""Pictures and pages for people: now, what was predicted, what came."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stvla_ros.atomic_files import whole_file
from stvla_ros.perception.coloured_depth import colour_depth, depth_range
from stvla_ros.perception.lettering import BACKGROUND, FAINT, INK, draw_text

Frame = tuple[np.ndarray, np.ndarray | None]
"""(S, S, 3) uint8, and (S, S) float32 metres or None."""
_SIDE, _GAP, _TITLE, _LETTERS = 168, 6, 26, 12


@dataclass(frozen=True, eq=False)
class Moment:
    """
    :param title: text above.
    :param now: the current frame.
    :param predicted: predicted keyframes; None for one that is not there.
    :param came: keyframes as they came, likewise; None where that is not shown.
    :param keyframes_s: times of the keyframes, seconds.
    """

    title: str
    now: Frame
    predicted: Sequence[Frame | None]
    came: Sequence[Frame | None] | None
    keyframes_s: tuple[float, ...]


def moment_picture(moment: Moment) -> np.ndarray:
    """Rows: predicted in colour and depth, came in colour and depth; columns: now, then the keyframes.

    :param moment: frames that are shown.
    :returns: (H, W, 3) uint8.
    """
    depths = [each[1] for each in (moment.now, *(moment.came or ())) if each is not None and each[1] is not None]
    known = [each for each in depths if (each > 0).any()]
    near_far = depth_range(np.concatenate([each.ravel() for each in known])[None]) if known else (0.1, 1.0)
    rows: list[tuple[str, list[np.ndarray | None]]] = []
    for name, frames in (("predicted", moment.predicted), ("came", moment.came)):
        if frames is None:
            continue
        shown = [moment.now, *frames] if name == "predicted" else [None, *frames]
        rows.append((name, [None if each is None else each[0] for each in shown]))
        if known and any(each is not None and each[1] is not None for each in frames):
            coloured = [
                None
                if each is None or each[1] is None
                else colour_depth(each[1], each[0].shape[:2], near_far, scale=False)
                for each in shown
            ]
            rows.append(("", coloured))
    columns = len(moment.keyframes_s) + 1
    height = 2 * _TITLE + len(rows) * (_SIDE + _GAP)
    picture = np.full((height, columns * (_SIDE + _GAP) + _GAP, 3), BACKGROUND, np.uint8)
    draw_text(picture, moment.title, (_GAP, _TITLE - 8), _LETTERS, INK)
    for column, text in enumerate(["now", *(f"+{each:g} s" for each in moment.keyframes_s)]):
        draw_text(picture, text, (_GAP + column * (_SIDE + _GAP), 2 * _TITLE - 8), _LETTERS, FAINT)
    for row, (name, pictures) in enumerate(rows):
        top = 2 * _TITLE + row * (_SIDE + _GAP)
        for column, each in enumerate(pictures):
            left = _GAP + column * (_SIDE + _GAP)
            if each is not None:
                picture[top : top + _SIDE, left : left + _SIDE] = cv2.resize(
                    each, (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST_EXACT
                )
        if name == "came":
            draw_text(picture, "what came", (_GAP, top + _SIDE // 2), _LETTERS, FAINT)
    return picture


def write_use_plot(file: Path, use: np.ndarray, keyframes_s: tuple[float, ...]) -> None:
    """How often each code is used, a row of bars for each keyframe.

    :param file: PNG to write.
    :param use: (T, codes) counts.
    :param keyframes_s: times of the keyframes, seconds.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(len(use), 1, figsize=(8, 1.5 * len(use)), sharex=True, squeeze=False)
    for axes, counts, seconds in zip(all_axes[:, 0], use, keyframes_s, strict=True):
        axes.bar(np.arange(use.shape[1]), 100.0 * counts / max(counts.sum(), 1), color="#3b6ea5")
        axes.axhline(100.0 / use.shape[1], color="#999999", linewidth=0.8)
        axes.set_ylabel(f"+{seconds:g} s, %", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[-1, 0].set_xlabel("code (the line: all used alike)", fontsize=8)
    figure.savefig(file, dpi=120, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)


def write_latent_page(folder: Path, summary: Mapping[str, Any], pictures: Sequence[str], has_use: bool) -> None:
    """Write index.html.

    :param folder: folder of the pictures.
    :param summary: figures, by name.
    :param pictures: names of the moments' pictures.
    :param has_use: whether there is a plot of the codes' use.
    """
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(_text(value))}</td></tr>" for name, value in summary.items()
    )
    use = '<h2>How the codes are used</h2><img src="use.png" alt="use of the codes">' if has_use else ""
    moments = "".join(f'<p><img src="{name}" alt="{name}"></p>' for name in pictures)
    body = (
        f"<h1>Latent actions of {html.escape(Path(str(summary['source'])).name)}</h1>"
        "<p>Now, what the codes tell of each keyframe, and what came. explained: the share of the squared change of "
        "the changing pixels that the codes tell; 0 is as good as a copy of the present. Good figures do not say that "
        "a code is an action.</p>"
        f"<table>{rows}</table>{use}<h2>Moments</h2>{moments}"
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>latent actions</title><style>body{font:15px '
        "sans-serif;background:#16171c;color:#ececf0;margin:24px}td{padding:2px 16px 2px 0}img{max-width:100%}</style>"
        f"<body>{body}</body></html>\n"
    )
    with whole_file(folder / "index.html") as aside:
        aside.write_text(page, encoding="utf-8")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
