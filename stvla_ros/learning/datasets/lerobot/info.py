"""`meta/info.json` of a LeRobotDataset on disk: what is in the data set, and which of it is read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.lerobot import format as layout
from stvla_ros.learning.datasets.lerobot.action_meaning import ActionMeaning, check_space, meaning_of
from stvla_ros.safe_files import read_json_file

READABLE_VERSIONS = (layout.VERSION, "v2.1", "v2.0")
_PICTURES = "observation.images."


@dataclass(frozen=True)
class DatasetInfo:
    """:param version: version of the format, such as v3.0.
    :param fps: frames a second.
    :param robot_type: name of the robot; empty if the data set does not give one.
    :param features: dtype, shape and names of each column.
    :param picture: key of the colour pictures that are read.
    :param picture_is_video: whether these pictures are in mp4 files.
    :param action: meaning of an action's numbers; None if it is not known and not needed.
    :param action_said: whether the configuration gives that meaning, and not the numbers' names.
    """

    path: Path
    version: str
    fps: float
    robot_type: str
    features: Mapping[str, Mapping[str, Any]]
    num_episodes: int
    num_frames: int
    picture: str
    picture_is_video: bool
    action: ActionMeaning | None
    action_said: bool = False


def read_info(path: Path) -> Mapping[str, Any]:
    """The file's content. :raises InputError: when it cannot be read, or is of another version."""
    file = path / layout.INFO_PATH
    if not path.is_dir():
        raise InputError(f"data set {path}: expected a folder, there is none")
    with named_in_errors(file):
        document = read_json_file(file)
        version = document["codebase_version"]
    if version not in READABLE_VERSIONS:
        raise InputError(f"{file}: expected codebase_version {', '.join(READABLE_VERSIONS)}, got {version!r}")
    return document


def check_info(path: Path, document: Mapping[str, Any], picture: str, action: str, needs_actions: bool) -> DatasetInfo:
    """What the file's content says; parameters as of ``read_metadata``.

    :param document: content of the file.
    :raises InputError: naming what is missing, damaged or does not fit.
    """
    file = path / layout.INFO_PATH
    with named_in_errors(file):
        features, fps = document["features"], float(document["fps"])
        if not 0 < fps <= 1000:
            raise InputError(f"{file}: expected fps above 0 and at most 1000, got {fps:g}")
        meaning: ActionMeaning | None = None
        if needs_actions or action:
            meaning = _check_action(file, features, action)
        picture = _choose_picture(file, features, picture)
        return DatasetInfo(
            path=path,
            version=document["codebase_version"],
            fps=fps,
            robot_type=document.get("robot_type") or "",
            features=features,
            num_episodes=int(document["total_episodes"]),
            num_frames=int(document["total_frames"]),
            picture=picture,
            picture_is_video=features[picture]["dtype"] == "video",
            action=meaning,
            action_said=bool(action),
        )


def feature_names(feature: Mapping[str, Any]) -> list[str]:
    """Names of a feature's elements, from a list, a list of lists, a mapping of lists, or a mapping of each name to its
    place; empty if there are none.
    """
    names = feature.get("names") or []
    if isinstance(names, Mapping):
        if all(isinstance(place, int) for place in names.values()):
            return sorted(map(str, names), key=names.__getitem__)
        names = list(names.values())
    return [str(name) for group in names for name in (group if isinstance(group, list) else [group])]


@contextmanager
def named_in_errors(file: Path) -> Iterator[None]:
    """Turn any error while a file is read into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{file}: expected this file of a LeRobotDataset, there is none") from None
    except KeyError as error:
        raise InputError(f"{file}: expected {error}, which is missing") from None
    except Exception as error:  # Damage shows in any use of a value: a division by a chunk size of zero, …
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"{file}: cannot be read ({lines[0]})") from None


def _check_action(file: Path, features: Mapping[str, Mapping[str, Any]], said: str) -> ActionMeaning:
    if schema.ACTION not in features:
        raise InputError(f"{file}: expected a feature action, got {', '.join(features)}")
    expected, names = ", ".join(schema.ACTION_NAMES), feature_names(features[schema.ACTION])
    if not said:
        with _named_action(file):
            check_space(names)  # says more than the number of its numbers
    if list(features[schema.ACTION]["shape"]) != [len(schema.ACTION_NAMES)]:
        shape = features[schema.ACTION]["shape"]
        raise InputError(f"{file}: expected action of shape [7] ({expected}), got {shape}")
    with _named_action(file):
        return meaning_of(names, said)


@contextmanager
def _named_action(file: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{file}, action: {error}") from None


def _choose_picture(file: Path, features: Mapping[str, Mapping[str, Any]], wanted: str) -> str:
    pictures = [
        name
        for name, feature in features.items()
        if feature["dtype"] in ("image", "video") and name != schema.DEPTH and not _is_depth(feature)
    ]
    if wanted:
        if wanted not in pictures:
            raise InputError(f"{file}: expected a picture {wanted}, it has {', '.join(pictures) or 'none'}")
        return wanted
    observed = [name for name in pictures if name.startswith(_PICTURES)]
    # Depth that nobody marked is no picture, where there is another.
    observed = [name for name in observed if "depth" not in name.lower()] or observed
    if not observed:
        raise InputError(f"{file}: expected a feature {_PICTURES}* that is an image or a video, got none")
    return observed[0]


def _is_depth(feature: Mapping[str, Any]) -> bool:
    marks = feature.get("info") or {}
    return bool(marks.get("is_depth_map") or marks.get("video.is_depth_map"))
