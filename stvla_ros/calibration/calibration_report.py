"""What a calibration leaves: the file that ``camera_pose`` takes, a sheet of pictures, and words."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from stvla_ros.atomic_files import make_folder, whole_file
from stvla_ros.calibration.seen_places import SeenPlace
from stvla_ros.perception.boards import Board
from stvla_ros.perception.geometry import pose_numbers
from stvla_ros.robots.hand_eye import HandEye

# Of a picture on the sheet, pixels; and how many are in a row.
_WIDTH, _ACROSS, _MOST = 480, 3, 12
_SEEN, _EXPECTED = (0, 220, 0), (255, 60, 60)
_DIGITS = 6


def write_pose(file: Path, found: HandEye, frame: str) -> None:
    """:param frame: frame in which the camera's pose is."""
    make_folder(file.parent)
    numbers = ", ".join(f"{round(number, _DIGITS) + 0.0:.{_DIGITS}f}" for number in pose_numbers(found.camera))
    agree = f"{1000 * found.rms_m:.1f} mm and {np.degrees(found.rms_rad):.2f} degrees"
    text = (
        f"# stvla calibrate, {datetime.now():%Y-%m-%d %H:%M}: {len(found.residuals)} places that agree within {agree}\n"
        "# pose of the camera's optical frame: x y z in metres, roll pitch yaw in radians about the fixed axes\n"
        f"camera_pose: [{numbers}]\n"
        f"frame: {frame}\n"
    )
    with whole_file(file) as aside:
        aside.write_text(text, encoding="utf-8")


def report_lines(found: HandEye, frame: str, board: Board) -> Iterator[str]:
    """The result in words, a line each."""
    yield "place        off by          pixels"
    for each in found.residuals:
        yield f"{each.name:<11} {1000 * each.distance_m:5.1f} mm {np.degrees(each.angle_rad):5.2f}°  {each.pixels:6.2f}"
    for name in found.left_out:
        yield f"{name:<11} left out, it does not fit the others"
    x, y, z, *angles = pose_numbers(found.camera)
    roll, pitch, yaw = np.degrees(angles)
    yield f"camera in {frame}: x {x:.4f}  y {y:.4f}  z {z:.4f} m, roll {roll:.2f}  pitch {pitch:.2f}  yaw {yaw:.2f}°"
    yield (
        f"residuals (rms of {len(found.residuals)} places): {1000 * found.rms_m:.1f} mm, "
        f"{np.degrees(found.rms_rad):.2f}°; by them the pose is known to {1000 * found.sigma_m:.1f} mm and "
        f"{np.degrees(found.sigma_rad):.2f}° (one sigma)"
    )
    side = board.square if board.kind == "charuco" else board.marker
    yield f"the board's {1000 * side:g} mm are {1000 * side * found.scale:.2f} mm by the arm's motion"


def write_sheet(file: Path, seen: Sequence[SeenPlace]) -> None:
    """Pictures of the places with the corners that were found (green) and the board's outline of them (red)."""
    tiles = [_tile(each) for each in seen[:_MOST]]
    height = max(tile.shape[0] for tile in tiles)
    empty = np.zeros((height, _WIDTH, 3), np.uint8)
    tiles = [np.vstack([tile, np.zeros((height - tile.shape[0], _WIDTH, 3), np.uint8)]) for tile in tiles]
    tiles += [empty] * (-len(tiles) % _ACROSS)
    rows = [np.hstack(tiles[start : start + _ACROSS]) for start in range(0, len(tiles), _ACROSS)]
    ok, data = cv2.imencode(".png", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
    assert ok
    with whole_file(file) as aside:
        aside.write_bytes(data.tobytes())


def _tile(seen: SeenPlace) -> np.ndarray:
    height, width = seen.picture.shape[:2]
    scale = _WIDTH / width
    tile = cv2.resize(seen.picture, (_WIDTH, round(height * scale)), interpolation=cv2.INTER_AREA)
    pixels = (seen.seen.pixels + 0.5) * scale - 0.5
    hull = cv2.convexHull(pixels.astype(np.float32)).round().astype(np.int32)
    cv2.polylines(tile, [hull], True, _EXPECTED, 1, cv2.LINE_AA)
    for x, y in pixels:
        cv2.circle(tile, (round(x), round(y)), 3, _SEEN, 1, cv2.LINE_AA)
    cv2.putText(tile, seen.place.name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _SEEN, 1, cv2.LINE_AA)
    return tile
