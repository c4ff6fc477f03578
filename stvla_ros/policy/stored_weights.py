"""Reads the weights of checkpoints: safetensors, in one file or in several with an index."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.checkpoints import INDEX, WEIGHTS, read_json
from stvla_ros.safe_files import check_limit, check_regular

if TYPE_CHECKING:
    import torch

# No file can have a longer name.
_WEIGHT_FILE = re.compile(r"[A-Za-z0-9_.-]{1,200}\.safetensors")
_MOST_LISTED = 12
# Largest part of a file, in bytes, that may be a hole (zeros that take no disk space).
_LARGEST_HOLE = 1 << 30
# Quantised weights mean nothing without their scales.
_STORED_TYPES = ("F64", "F32", "F16", "BF16")


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
