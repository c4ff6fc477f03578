"""Finished episodes on disk, until they become a data set; they make a recording resumable.

One file for each episode, moved to its place when it is complete. Pictures and depth are PNG (lossless).
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from stvla_ros.atomic_files import whole_file
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot.png import encode_png
from stvla_ros.recordings.pixels import decode_picture, picture_size
from stvla_ros.safe_files import check_limit, check_npz

_ARRAYS = ("intrinsics", "stamps", "action", "executed_action", "state", "scene_points")


def save_episode(file: Path, episode: Demonstration) -> None:
    """Write the episode; ``file`` appears only when it is complete."""
    arrays = {name: getattr(episode, name) for name in _ARRAYS if getattr(episode, name) is not None}
    arrays |= _encoded("rgb", episode.rgb[..., ::-1])
    if episode.depth is not None:
        arrays |= _encoded("depth", episode.depth)
    rest = {name: getattr(episode, name) for name in ("instruction", "fps", "success")}
    arrays["rest"] = np.array(json.dumps({**rest, "source": dict(episode.source)}))
    with whole_file(file) as aside, aside.open("wb") as stream:
        np.savez(stream, **arrays)


def load_episode(file: Path) -> Demonstration:
    """:raises InputError: when the file is damaged."""
    try:
        check_npz(file)
        with np.load(file, allow_pickle=False) as stored:
            rest = json.loads(str(stored["rest"]))
            return Demonstration(
                rgb=np.ascontiguousarray(_decoded(stored, "rgb")[..., ::-1]),
                depth=_decoded(stored, "depth") if "depth" in stored else None,
                **{name: stored.get(name) for name in _ARRAYS},
                **rest,
            )
    except Exception as error:  # whatever NumPy and zipfile run into
        raise InputError(f"{file}: expected a recorded episode ({type(error).__name__}: {error})") from error


def _encoded(name: str, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """All pictures as one row of bytes, and the end of each."""
    files = encode_png(pictures)
    return {name: np.concatenate(files), f"{name}_ends": np.cumsum([len(file) for file in files])}


def _decoded(stored: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    files = np.split(stored[name], stored[f"{name}_ends"][:-1])
    size = picture_size(files[0])
    if size is not None:
        check_limit("episode_bytes", 3 * size[0] * size[1] * len(files), name, f"bytes of {len(files)} pictures")
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda file: decode_picture(file, cv2.IMREAD_UNCHANGED), files))
    if any(picture is None for picture in pictures):
        raise InputError(f"a picture of {name} cannot be decoded")
    return np.stack(pictures)
