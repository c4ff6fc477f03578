"""Finding ManiSkill's files."""

import os
from pathlib import Path

import pytest

from stvla_ros.errors import InputError
from stvla_ros.sim.maniskill import assets


def linked_copy(source: Path, target: Path, without: str) -> None:
    """All files of a folder as links, except one."""
    for file in source.rglob("*"):
        name = file.relative_to(source)
        if file.is_file() and str(name) != without:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(file)


def test_a_chosen_folder_comes_first(scenes, tmp_path, monkeypatch):
    linked_copy(scenes, tmp_path, without="")
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    assert assets.find_assets(download=False) == tmp_path


@pytest.mark.parametrize(
    "file",
    [
        "data/robots/widowx/meshes_wx250s/WXSA-250-M-10-Finger.obj",
        "data/robots/widowx/interbotix_black.png",
        "data/tasks/bridge_v2_real2sim_dataset/custom/models/bridge_carrot_generated_modified/Image_0.005.png",
        "data/tasks/bridge_v2_real2sim_dataset/real_inpainting/bridge_sink.png",
    ],
)
def test_one_missing_file_is_noticed_and_named(scenes, tmp_path, monkeypatch, file):
    linked_copy(scenes, tmp_path, without=file)
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    with pytest.raises(InputError, match=f"MS_ASSET_DIR.*lacks the file {file}.*download_asset bridge_v2_real2sim"):
        assets.find_assets()


def test_looking_without_downloading_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    with pytest.raises(InputError, match="MS_ASSET_DIR: none in .*download_asset widowx250s"):
        assets.find_assets(download=False)


def test_a_download_that_cannot_work_asks_nothing_and_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody answers
    with pytest.raises(InputError, match="the download of widowx250s failed") as caught:
        assets.find_assets()
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == [], "an empty folder left behind would pass for a finished download"
