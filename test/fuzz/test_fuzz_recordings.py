"""Recordings that are damaged in any way: frames before the damage, then one clear line."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import damaged, only_bad_input
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from test_bag_reader import rgbd_bag
from test_foreign_bags import ros1_bag

from stvla_ros.recordings.image_folder import STAMPS_FILE
from stvla_ros.recordings.open_recording import open_recording
from stvla_ros.recordings.video_writer import VideoWriter

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
PNG, JPEG = (cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".png", ".jpg"))


def read(path: Path, tolerant: bool, **options: Any) -> None:
    problems: list[str] = []
    with only_bad_input(str(path)):
        for frame in open_recording(path, on_bad_frame=problems.append if tolerant else None, **options):
            assert frame.rgb.dtype == np.uint8 and frame.rgb.ndim == 3 and frame.rgb.shape[2] == 3
            assert isinstance(frame.stamp_ns, int)
    assert all(str(path) in problem for problem in problems)


@examples(quick=15)
@given(damaged(PNG) | damaged(JPEG), st.booleans())
# Its first chunk after the header claims two gigabytes.
@example(PNG[:33] + b"\x7f\xfe\xff\xff" + PNG[37:], False)
def test_fuzz_pictures(tmp_path, content, tolerant):
    for suffix in ("png", "jpg"):
        (tmp_path / f"1.{suffix}").write_bytes(content)
    read(tmp_path, tolerant, frame_rate=5.0)


TABLE = b"stamp,file\n1700000000000000000,1.png\n# a\n1700000000033000000, 2.jpg\n"
names = st.text("0123456789.- ax", min_size=1, max_size=40).filter(lambda name: name.strip(". "))


@examples(quick=15)
@given(damaged(TABLE, text=True), st.lists(names, max_size=3), st.sampled_from([None, 0.0, 5.0]), st.booleans())
def test_fuzz_image_folder(tmp_path, content, given_names, frame_rate, with_table):
    folder = tmp_path / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ["1", *given_names]:
        (folder / f"{name}.png").write_bytes(PNG)
    if with_table:
        (folder / STAMPS_FILE).write_bytes(content)
    read(folder, tolerant=False, frame_rate=frame_rate)


@pytest.fixture(scope="module")
def ros1(tmp_path_factory):
    return ros1_bag(tmp_path_factory.mktemp("ros1") / "whole.bag", Ros1Writer.CompressionFormat.LZ4).read_bytes()


@examples(quick=15)
@given(st.data())
def test_fuzz_ros1_bag(tmp_path, ros1, data):
    (tmp_path / "a.bag").write_bytes(data.draw(damaged(ros1)))
    read(tmp_path / "a.bag", tolerant=data.draw(st.booleans()))


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "sqlite3"])
@examples(quick=15)
@given(st.data())
def test_fuzz_bag(storage, tmp_path, data):
    # Written once: the same bag for all examples.
    whole = tmp_path / "whole"
    if not whole.exists():
        rgbd_bag().write(whole, storage)
    contents = {file.name: file.read_bytes() for file in whole.iterdir()}
    folder = tmp_path / "bag"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    broken = data.draw(st.sampled_from([name for name in contents if name != "metadata.yaml"] * 3 + ["metadata.yaml"]))
    for name, content in contents.items():
        text = name == "metadata.yaml"
        (folder / name).write_bytes(data.draw(damaged(content, text=text)) if name == broken else content)
    if data.draw(st.booleans()) and broken != "metadata.yaml":
        (folder / "metadata.yaml").unlink()
    read(folder, tolerant=data.draw(st.booleans()))


def video(path: Path) -> bytes:
    with VideoWriter(path, fps=10.0) as writer:
        for index in range(6):
            writer.write(np.roll(PICTURE, index, axis=1))
    return path.read_bytes()


@examples(quick=15)
@given(st.data())
def test_fuzz_video(tmp_path, data):
    whole = tmp_path / "whole.mp4"
    content = whole.read_bytes() if whole.exists() else video(whole)
    (tmp_path / "broken.mp4").write_bytes(data.draw(damaged(content)))
    read(tmp_path / "broken.mp4", tolerant=False)
