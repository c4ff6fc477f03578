"""The last picture of every episode on one sheet, and a page that links them to the videos."""

import html
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.perception.side_by_side import OUTCOME_COLOURS

TILE_WIDTH = 160
COLUMNS = 8
_BORDER, _GAP, _STRIP, _TITLE = 4, 6, 18, 34
_BACKGROUND, _INK = (255, 255, 255), (40, 40, 46)


def contact_sheet(title: str, results: Sequence[EpisodeResult], pictures: Sequence[np.ndarray | None]) -> np.ndarray:
    """
    :param results: results, at least one.
    :param pictures: last frame of each result, (H, W, 3) uint8 rgb; None if there is none.
    :returns: (height, width, 3) uint8 rgb: green frames for success, red for failure, each with its episode (and its
        seed, if there are several).
    """
    shapes = [picture.shape for picture in pictures if picture is not None]
    tile_height = round(TILE_WIDTH * shapes[0][0] / shapes[0][1]) if shapes else TILE_WIDTH * 3 // 4
    cell = (TILE_WIDTH + 2 * _BORDER, tile_height + 2 * _BORDER + _STRIP)
    columns = min(COLUMNS, len(results))
    rows = -(-len(results) // columns)
    width = max(columns * (cell[0] + _GAP) + _GAP, 420)
    sheet = np.full((rows * (cell[1] + _GAP) + _GAP + _TITLE, width, 3), _BACKGROUND, np.uint8)
    _text(sheet, title, (_GAP, 23), 0.6)
    with_seed = len({result.key.seed for result in results}) > 1
    for index, (result, picture) in enumerate(zip(results, pictures)):
        left = _GAP + index % columns * (cell[0] + _GAP)
        top = _TITLE + index // columns * (cell[1] + _GAP)
        colour = OUTCOME_COLOURS["success" if result.success else "failure"]
        sheet[top : top + tile_height + 2 * _BORDER, left : left + cell[0]] = colour
        inner = sheet[top + _BORDER : top + _BORDER + tile_height, left + _BORDER : left + _BORDER + TILE_WIDTH]
        inner[:] = 90
        if picture is not None:
            inner[:] = cv2.resize(picture, (TILE_WIDTH, tile_height), interpolation=cv2.INTER_AREA)
        seed = f" seed {result.key.seed}" if with_seed else ""
        note = f"{result.key.episode}{seed}, {result.steps} steps"
        _text(sheet, note, (left + _BORDER, top + tile_height + 2 * _BORDER + 13), 0.4)
    return sheet


def write_page(results: Iterable[EpisodeResult], pictures: Path, folder: Path) -> Path:
    """Write a contact sheet (``thumbnails/POLICY_TASK.png``) for each policy and task, and ``index.html``, which links
    every thumbnail to its video.

    :param pictures: folder with the files of ``EpisodePictures``.
    :returns: the page.
    """
    ordered = sorted(
        results, key=lambda result: (result.key.policy, result.key.task, result.key.seed, result.key.episode)
    )
    sheets = folder / "thumbnails"
    sheets.mkdir(parents=True, exist_ok=True)
    body = []
    for (policy, task), group in groupby(ordered, key=lambda result: (result.key.policy, result.key.task)):
        found = list(group)
        files = [pictures / f"{result.key.file_stem}.jpg" for result in found]
        title = f"{policy}, {task}: {sum(result.success for result in found)}/{len(found)}"
        sheet = contact_sheet(title, found, [_read(file) for file in files])
        cv2.imwrite(str(sheets / f"{policy}_{task.replace('/', '-')}.png"), sheet[..., ::-1])
        tiles = [_tile(result, pictures, folder) for result in found]
        body.append(f"<h2>{html.escape(title)}</h2>\n<div class=tiles>\n" + "\n".join(tiles) + "\n</div>")
    page = folder / "index.html"
    page.write_text(_PAGE.format(body="\n".join(body)))
    return page


def _tile(result: EpisodeResult, pictures: Path, folder: Path) -> str:
    key: EpisodeKey = result.key
    base = (pictures / key.file_stem).relative_to(folder).as_posix()
    video = pictures / f"{key.file_stem}.mp4"
    link = f' href="{html.escape(base)}.mp4"' if video.exists() else ""
    outcome = "success" if result.success else "failure"
    met = ", ".join(name for name, holds in result.conditions.items() if holds)
    text = f"episode {key.episode}, seed {key.seed}: {outcome} after {result.steps} steps" + (
        f" ({met})" if met else ""
    )
    image = f'<img class={outcome} loading=lazy src="{html.escape(base)}.jpg" alt="">'
    return f"<a{link}>{image}<span>{html.escape(text)}</span></a>"


def _read(file: Path) -> np.ndarray | None:
    picture = cv2.imread(str(file))
    return None if picture is None else picture[..., ::-1]


def _text(picture: np.ndarray, text: str, baseline: tuple[int, int], scale: float) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, baseline, cv2.FONT_HERSHEY_DUPLEX, scale, _INK, 1, cv2.LINE_AA)


_PAGE = """<!doctype html>
<meta charset=utf-8>
<title>stvla eval</title>
<style>
body {{ font: 14px sans-serif; margin: 2em; }}
.tiles {{ display: flex; flex-wrap: wrap; gap: 8px; }}
.tiles a {{ width: 200px; color: inherit; text-decoration: none; }}
img {{ width: 192px; border: 4px solid; display: block; }}
img.success {{ border-color: #5cd680; }}
img.failure {{ border-color: #f0645a; }}
</style>
{body}
"""
