"""Finds ManiSkill's downloadable files: the WidowX robot and the bridge tasks' objects, scenes and overlays."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from stvla_ros.errors import InputError
from stvla_ros.shared_files import shared_folders

# Robots whose tasks need these files; other robots' files come with ManiSkill.
ROBOTS_WITH_ASSETS = ("widowx",)

_ROBOT = "data/robots/widowx/wx250s.urdf"
_BRIDGE = "data/tasks/bridge_v2_real2sim_dataset"
_MODELS = (
    "baked_green_cube_3cm",
    "baked_yellow_cube_3cm",
    "bridge_carrot_generated_modified",
    "bridge_plate_objaverse_larger",
    "bridge_spoon_generated_modified",
    "dummy_sink_target_plane",
    "eggplant",
    "sink",
    "table_cloth_generated_shorter",
)
_BRIDGE_FILES = (
    "custom/info_bridge_custom_v0.json",
    "custom/info_bridge_custom_baked_tex_v0.json",
    "stages/bridge_table_1_v1.glb",
    "stages/bridge_table_1_v2.glb",
    "real_inpainting/bridge_real_eval_1.png",
    "real_inpainting/bridge_sink.png",
)
# ManiSkill's own ids of the needed files, for its download_asset command.
_DOWNLOADS = ("widowx250s", "bridge_v2_real2sim")
_DOWNLOAD_TIMEOUT_S = 1800
HOW_TO_GET = " and ".join(f"`python -m mani_skill.utils.download_asset {name}`" for name in _DOWNLOADS)


def missing_files(root: Path) -> list[str]:
    """Files that the bridge tasks need and that are not below ``root``, relative to it.

    ManiSkill itself checks only that two folders exist; a missing mesh or texture gives an invisible or white object.
    """
    needed = [_ROBOT, *(f"{_BRIDGE}/{name}" for name in _BRIDGE_FILES)]
    if (root / _ROBOT).is_file():
        needed += _references(root, root / _ROBOT)
    for model in _MODELS:
        folder = f"{_BRIDGE}/custom/models/{model}"
        needed.append(f"{folder}/collision.obj")
        # The order in which ManiSkill tries them.
        visual = next((v for v in ("obj", "dae", "glb") if (root / folder / f"textured.{v}").is_file()), None)
        needed.append(f"{folder}/textured.{visual or 'obj'}")
        if visual is not None:
            needed += _references(root, root / folder / f"textured.{visual}")
    return sorted({name for name in needed if not (root / name).is_file()})


def _references(root: Path, file: Path) -> list[str]:
    """Files that a robot or mesh file names, relative to ``root``."""
    if file.suffix == ".glb":  # binary; the downloaded ones carry their textures inside
        return []
    text = file.read_text(errors="replace")
    if file.suffix == ".urdf":
        names = [mesh.attrib["filename"] for mesh in ElementTree.fromstring(text).iter("mesh")]
    elif file.suffix == ".dae":
        # The same tag is also used for ids of images, which have no dot.
        names = [name for name in re.findall(r"<init_from>([^<]+)</init_from>", text) if "." in name]
    else:
        names = re.findall(r"^(?:mtllib|map_Kd)\s+(\S+)", text, flags=re.MULTILINE)
    found = [file.parent / name for name in names]
    names = [os.path.relpath(path, root) for path in found]
    for path in found:
        if path.suffix in (".obj", ".mtl") and path.is_file():
            names += _references(root, path)
    return names


def find_assets(*, download: bool = True) -> Path:
    """The folder for MS_ASSET_DIR, with every file that the bridge tasks need. They are downloaded as a last resort.

    Searches MS_ASSET_DIR, then the optional ``shared_folders``, then the library's own folder (``~/.maniskill``). If
    none has the files, the library's own download runs, without asking, into MS_ASSET_DIR or the library's folder.

    :param download: False to search only.
    :raises InputError: when MS_ASSET_DIR is set but holds only a part, when there are none, or when the download fails.
    """
    chosen = os.environ.get("MS_ASSET_DIR")
    if chosen:
        return _complete_or_download(Path(chosen).expanduser().resolve(), "MS_ASSET_DIR", download)
    for folder in shared_folders("assets/maniskill3"):
        if not missing_files(folder):
            return folder
    return _complete_or_download(Path.home() / ".maniskill", "ManiSkill assets", download)


def _complete_or_download(root: Path, name: str, download: bool) -> Path:
    missing = missing_files(root)
    # An incomplete set of files is somebody's own work or a broken copy; ManiSkill's download would delete it.
    if missing and ((root / _BRIDGE).exists() or (root / _ROBOT).parent.exists()):
        count = f"{len(missing)} files, the first is" if len(missing) > 1 else "the file"
        raise InputError(f"{name}: {root} lacks {count} {missing[0]}; complete it, or delete it and run {HOW_TO_GET}")
    if missing and not download:
        raise InputError(f"{name}: none in {root}; get them with {HOW_TO_GET}")
    if missing:
        _download(root)
        missing = missing_files(root)
        if missing:
            raise InputError(f"{name}: the download into {root} lacks {missing[0]}; run {HOW_TO_GET}")
    return root


def _download(root: Path) -> None:
    # In a process of its own: the library reads MS_ASSET_DIR only once, on import. It sets no time limit on its
    # connections, so this does.
    script = (
        "import runpy, socket, sys; socket.setdefaulttimeout(20);"
        "sys.argv = ['download_asset', '-y', '--quiet', sys.argv[1]];"
        "runpy.run_module('mani_skill.utils.download_asset', run_name='__main__')"
    )
    for asset in _DOWNLOADS:
        try:
            result = subprocess.run(
                [sys.executable, "-c", script, asset],
                env={**os.environ, "MS_ASSET_DIR": str(root)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_DOWNLOAD_TIMEOUT_S,
                check=False,
            )
            reason = (result.stderr.strip().splitlines() or ["no output"])[-1] if result.returncode else None
        except subprocess.TimeoutExpired:
            reason = f"not finished after {_DOWNLOAD_TIMEOUT_S} s"
        if reason is not None:
            _remove_empty_folders(root)
            raise InputError(
                f"ManiSkill assets: none found, and the download of {asset} failed ({reason}); "
                f"get them with {HOW_TO_GET}"
            )


def _remove_empty_folders(root: Path) -> None:
    """Remove empty folders: the library makes its target folder before it downloads, and later takes an empty one for a
    finished download.
    """
    if not root.is_dir():
        return
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
