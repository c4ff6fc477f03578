"""Checkpoint folders: how they are found, what they contain, and how new ones are made."""

import difflib
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros import hub
from stvla_ros.atomic_files import whole_folder
from stvla_ros.errors import InputError, reason_of
from stvla_ros.safe_files import check_limit, check_regular, read_json_file
from stvla_ros.shared_files import shipped_models

if TYPE_CHECKING:
    import torch


def read_json(file: Path) -> dict[str, Any]:
    """:raises InputError: when the file is missing, unreadable or holds no JSON object."""
    try:
        content = read_json_file(file)
    except FileNotFoundError:
        raise InputError(f"checkpoint {file.parent}: expected a file {file.name}, there is none") from None
    except OSError as error:
        raise InputError(f"{file}: expected JSON ({reason_of(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected a JSON object, got {type(content).__name__}")
    return content


def check_free(directory: Path) -> None:
    """:raises InputError: unless this is a new or empty folder, for something that is to be written."""
    try:
        taken = directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))
    except OSError as error:
        raise InputError(f"output {directory}: cannot be written ({error})") from error
    if taken:
        raise InputError(f"output {directory}: expected a new or empty folder, it is there already")


@contextmanager
def new_folder(directory: Path, needed: int) -> Iterator[Path]:
    """A folder that becomes ``directory`` when the block ends without an error, and is removed otherwise.

    :param needed: approximate number of bytes that will be written.
    :raises InputError: when ``directory`` is not free, or when the disk refuses something in the block.
    """
    from safetensors import SafetensorError

    directory = directory.expanduser().absolute()
    check_free(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory.parent).free
        if free < needed:
            raise InputError(
                f"output {directory}: expected {needed / 1e9:.2f} GB of free disk, there are {free / 1e9:.2f} GB"
            )
        with whole_folder(directory) as aside:
            yield aside
    except (OSError, SafetensorError) as error:
        raise InputError(f"output {directory}: cannot be written ({error})") from error


WEIGHTS = "model.safetensors"


INDEX = "model.safetensors.index.json"


TRAINING_RECORD = "training.json"
"""Name of the file with the training's record, see ``training_record.py``."""


ADAPTER_CONFIG = "adapter_config.json"


# Files that are downloaded of a hub repository. Everything else in it is code or for other programs.
_FILES = ["*.safetensors", "*config.json", "tokenizer.json", "special_tokens_map.json", INDEX, TRAINING_RECORD]
_FILES += ["dataset_statistics.json"]


# No file can have a longer name.
_WEIGHT_FILE = re.compile(r"[A-Za-z0-9_.-]{1,200}\.safetensors")


_MOST_LISTED = 12
# Number of a folder's entries that a misspelt name is compared with.
_MOST_BESIDE = 1000


# Largest part of a file, in bytes, that may be a hole (zeros that take no disk space).
_LARGEST_HOLE = 1 << 30


# Quantised weights mean nothing without their scales.
_STORED_TYPES = ("F64", "F32", "F16", "BF16")


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


@contextmanager
def open_tensors(file: Path, device: "torch.device | str" = "cpu") -> Iterator[Any]:
    """A safetensors file, see ``safetensors.safe_open``.

    :raises InputError: when it turns out to be missing or damaged, also while it is read.
    """
    # Where weights are read: a graph's start and the checks of a machine read the small files alone.
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(file)
        with safe_open(file, framework="pt", device=str(device)) as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: expected a complete safetensors file ({reason_of(error)})") from error


def _check_header(file: Path) -> None:
    """Check what the library does not. It compares a header's offsets, shapes and types with each other and with the
    file. But it accepts a header of any length up to 100 MB, and weights that take no space on the disk.

    :raises InputError: for a header that is too long, and for weights that are a hole in the file.
    """
    check_regular(file)
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    stored, size = 512 * file.stat().st_blocks, file.stat().st_size
    if length <= size:  # else the library says that the file is none
        check_limit("tensor_header_bytes", length, str(file), "bytes of header")
    check_limit("weight_bytes", size, str(file), "bytes")
    if stored and size > _LARGEST_HOLE + 100 * stored:  # some file systems do not tell
        raise InputError(f"{file}: expected {size} bytes of weights, {stored} are on the disk: the rest is a hole")


def read_rows(directory: Path, name: str, first: int, end: int) -> "torch.Tensor":
    """Rows first … end - 1 of a checkpoint's tensor, by its published name; nothing else of it is read.

    :raises InputError: when files are missing or damaged, or there is no such tensor.
    """
    for file in weight_files(directory):
        with open_tensors(file) as tensors:
            if name in tensors.keys():
                return tensors.get_slice(name)[first:end]
    raise InputError(f"checkpoint {directory}: expected a tensor {name}, there is none")


def fingerprint(directory: Path) -> str:
    """A hash that tells a checkpoint's weights from others of the same shape. It covers every tensor's name, shape,
    type and first row. Reading all numbers would take long, and training changes every matrix everywhere.

    :raises InputError: when files are missing or damaged.
    """
    import torch  # not at the top: what only looks for a checkpoint need not wait for it

    rows: dict[str, bytes] = {}
    for file in weight_files(directory):
        with open_tensors(file) as tensors:
            for name in tensors.keys():
                stored = tensors.get_slice(name)
                row = stored[:1] if stored.get_shape() else tensors.get_tensor(name)
                described = f"{stored.get_shape()} {stored.get_dtype()}".encode()
                rows[name] = described + row.reshape(-1).view(torch.uint8).numpy().tobytes()
    digest = hashlib.sha256()
    for name in sorted(rows):
        digest.update(name.encode() + rows[name])
    return digest.hexdigest()


def weight_files(directory: Path) -> list[Path]:
    """Paths of a whole checkpoint's weight files. :raises InputError: when one is missing, or the index names
    others.
    """
    if (directory / INDEX).is_file():
        weight_map = read_json(directory / INDEX).get("weight_map")
        # Plain names only: an index must not name files elsewhere on the disk, or of other kinds.
        if not (
            isinstance(weight_map, dict)
            and weight_map
            and all(isinstance(name, str) and re.fullmatch(_WEIGHT_FILE, name) for name in weight_map.values())
        ):
            raise InputError(
                f"{directory / INDEX}: expected a weight_map from tensors to *.safetensors files beside it"
            )
        names = sorted(set(weight_map.values()))
        lacking = [name for name in names if not (directory / name).is_file()]
        if lacking:
            raise InputError(
                f"checkpoint {directory}: expected the weight files that {INDEX} names, missing: {', '.join(lacking)}"
            )
        return [directory / name for name in names]
    if not (directory / WEIGHTS).is_file():
        raise InputError(f"checkpoint {directory}: expected {WEIGHTS} or {INDEX}, there is neither")
    return [directory / WEIGHTS]


def stored_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors by name, as headers tell. :raises InputError: for damaged files, or quantised weights."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with open_tensors(file) as tensors:
            for name in tensors.keys():
                stored = tensors.get_slice(name)
                if stored.get_dtype() not in _STORED_TYPES:
                    raise InputError(
                        f"{file}: expected {name} as one of {', '.join(_STORED_TYPES)}, got {stored.get_dtype()}"
                    )
                shapes[name] = tuple(stored.get_shape())
    return shapes


def check_tensors(
    directory: Path, expected: Mapping[str, tuple[int, ...]], stored: Mapping[str, tuple[int, ...]]
) -> None:
    """:raises InputError: unless the stored shapes are the expected ones, naming those that are not."""
    problems = {
        "missing": sorted(expected.keys() - stored.keys()),
        "not part of the model": sorted(stored.keys() - expected.keys()),
        "of another shape": [
            f"{name} (expected {expected[name]}, got {stored[name]})"
            for name in sorted(expected.keys() & stored.keys())
            if expected[name] != stored[name]
        ],
    }
    lines = []
    for kind, names in problems.items():
        if names:
            more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
            lines.append(f"{len(names)} {kind}: {', '.join(names[:_MOST_LISTED])}{more}")
    if lines:
        raise InputError(f"checkpoint {directory}: its tensors do not fit its config.json; {'; '.join(lines)}")


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


def is_adapter(directory: Path) -> bool:
    return (directory / ADAPTER_CONFIG).is_file()


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
