"""Where checkpoints are: in a folder, shipped with this package, or on the Hugging Face hub."""

import difflib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from stvla_ros import hub
from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import ADAPTER_CONFIG, INDEX, TRAINING_RECORD, is_adapter, read_json
from stvla_ros.policy.stored_weights import weight_files
from stvla_ros.shared_files import shipped_models

# Files that are downloaded of a hub repository. Everything else in it is code or for other programs.
_FILES = ["*.safetensors", "*config.json", "tokenizer.json", "special_tokens_map.json", INDEX, TRAINING_RECORD]
_FILES += ["dataset_statistics.json"]
# Number of a folder's entries that a misspelt name is compared with.
_MOST_BESIDE = 1000


def find_checkpoint(path_or_id: str) -> Path:
    """The folder of a checkpoint. A checkpoint that is named by its hub id is downloaded unless it is already here.

    :param path_or_id: a local folder, the name of a shipped model, or an id on the Hugging Face hub.
    :raises InputError: when there is none of these.
    """
    check_exists(path_or_id)
    if folder := _folder(path_or_id):
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path_or_id, allow_patterns=_FILES))
    except Exception as error:  # the hub client raises many unrelated types
        raise hub.not_had("checkpoint", path_or_id, error) from error


def check_exists(path_or_id: str) -> None:
    """Refuse at once what :func:`find_checkpoint` would refuse only after a long wait. Downloads nothing. If a hub id
    was not downloaded yet, the hub is asked whether it exists.

    :raises InputError: when there is no such folder, shipped model, or id.
    """
    if find_downloaded(path_or_id) is None:
        hub.check_id("checkpoint", path_or_id)


def find_downloaded(path_or_id: str) -> Path | None:
    """The folder of a checkpoint if it is on this machine. Asks no server.

    :param path_or_id: folder, name or id, as for :func:`find_checkpoint`.
    :returns: the folder; None for an id on the hub that was not downloaded.
    :raises InputError: when it is no folder, and cannot be a name or id either.
    """
    if folder := _folder(path_or_id):
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path_or_id, local_files_only=True))
    except Exception:  # the hub client raises many unrelated types
        return None


def is_shipped(name: str) -> bool:
    """Whether this is the name of a shipped model, such as ``small``."""
    return name in shipped_models()


def find_base_name(folder: Path) -> str:
    """The checkpoint that an adapter was trained on, a folder or a hub id; empty for a folder without an adapter.

    :raises InputError: when the adapter's file cannot be read.
    """
    if not is_adapter(folder):
        return ""
    name = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise InputError(
            f"{folder / ADAPTER_CONFIG}: expected base_model_name_or_path, the checkpoint trained on, got {name!r}"
        )
    return name


def find_base(path_or_id: str) -> Path:
    """The folder of a whole checkpoint: what can be trained, and what an adapter can be put on.

    :raises InputError: when there is none, or it is an adapter itself.
    """
    base = find_checkpoint(path_or_id)
    if is_adapter(base):
        raise InputError(
            f"checkpoint {base}: expected a whole checkpoint, got an adapter; make one of it: "
            f"stvla model merge --adapter {base} --output FOLDER"
        )
    return base


def check_files(folder: Path, files: Iterable[str] = ()) -> None:
    """Check that a checkpoint's files are there; for an adapter, its base's as well. Reads none of them.

    :param files: names of the files that there are beside the weights (``PolicyFamily.files``).
    :raises InputError: naming what is missing.
    """
    whole: Path | None = folder
    if is_adapter(folder):
        if not any(folder.glob("*.safetensors")):
            raise InputError(f"adapter {folder}: expected a file *.safetensors, there is none")
        base = find_base_name(folder)
        check_exists(base)
        whole = find_downloaded(base)
    if whole is None:
        return
    weight_files(whole)
    for name in files:
        if not (whole / name).is_file():
            raise InputError(f"checkpoint {whole}: expected a file {name}, there is none")


def _folder(path_or_id: str) -> Path | None:
    """The folder, None for a hub id. :raises InputError: for neither."""
    try:
        local = Path(path_or_id).expanduser()
        is_folder = bool(path_or_id) and local.is_dir()
        if shipped := shipped_models().get(path_or_id):
            if not is_folder or not ((local / "config.json").is_file() or is_adapter(local)):
                return shipped
            raise InputError(
                f"checkpoint {path_or_id}: expected one, there are two: the shipped model and a folder here; "
                f"give ./{path_or_id} for the folder, {shipped} for the model"
            )
        if is_folder:
            return local
    except (OSError, RuntimeError) as error:  # a name too long; no such user's home
        raise InputError(
            f"checkpoint: expected a folder or a hub id, got {path_or_id[:80]!r} ({error.args[-1]})"
        ) from error
    if not hub.is_id(path_or_id):
        known = [*shipped_models(), *map(str, _beside(local))]
        close = difflib.get_close_matches(path_or_id, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(
            f"checkpoint: expected a folder with config.json, a shipped model ({', '.join(shipped_models())}) "
            f"or a hub id, got {path_or_id!r}{hint}"
        )
    name = path_or_id.rpartition("/")[2]
    if path_or_id == f"models/{name}" and is_shipped(name):
        raise InputError(f"checkpoint {path_or_id}: no such folder here; the shipped model is called {name}")
    return None


def _beside(missing: Path) -> list[Path]:
    """Folders where this one was looked for."""
    try:
        return [each for each in islice(missing.parent.iterdir(), _MOST_BESIDE) if each.is_dir()]
    except OSError:
        return []
