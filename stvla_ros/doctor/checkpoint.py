"""Check 8: the policy's checkpoint. Headers and small files are read, no weights."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from stvla_ros.config import default_checkpoint
from stvla_ros.doctor.findings import Findings, error, note, ok, warning
from stvla_ros.errors import InputError
from stvla_ros.policy.training_record import resolve_execution

if TYPE_CHECKING:
    from stvla_ros.policy.spatialvla.config import SpatialVlaConfig

_DOWNLOAD = "copy it again, or: hf download ID --local-dir FOLDER, then give FOLDER"
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_MOST_LISTED = 3


def check_checkpoint(path_or_id: str, unnorm_key: str, robot_key: str) -> Findings:
    """
    :param path_or_id: folder or hub id; empty for the checkpoint that comes along.
    :param unnorm_key: data set asked for; empty for the robot's own.
    :param robot_key: the robot's own data set in the published checkpoints.
    """
    from stvla_ros.policy.spatialvla.adapters import is_adapter, read_adapter

    try:
        directory = _find(path_or_id or str(default_checkpoint()))
    except InputError as problem:
        yield error(str(problem), "give a folder with config.json; without --checkpoint the small one is used")
        return
    if directory is None:
        yield warning(
            f"checkpoint {path_or_id} is not on this machine; the first start downloads it (the 4B model: 8 GB)",
            f"download it before: hf download {path_or_id}",
        )
        return
    base = directory
    if is_adapter(directory):
        try:
            base = read_adapter(directory).base
        except InputError as problem:
            yield error(str(problem), "give the folder of the checkpoint that the adapter was trained on its old place")
            return
        yield ok(f"adapter {directory}, on {base}")
    yield from _check_weights(base)
    yield from _check_processor(directory, unnorm_key, robot_key)
    yield from _check_record(directory)


def _find(path_or_id: str) -> Path | None:
    """The folder; None for a hub id that was not downloaded. :raises InputError: for neither."""
    from huggingface_hub import snapshot_download

    local = Path(path_or_id).expanduser()
    if local.is_dir():
        return local
    if path_or_id.count("/") != 1 or path_or_id.startswith((".", "/", "~")):
        raise InputError(f"checkpoint: expected a folder, there is no {path_or_id}")
    try:
        return Path(snapshot_download(path_or_id, local_files_only=True))
    except Exception:  # the hub client raises many unrelated types
        return None


def _check_weights(base: Path) -> Findings:
    from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
    from stvla_ros.policy.spatialvla.prompt import PromptTokenizer

    try:
        config = SpatialVlaConfig.read(base)
        stored, gigabytes = _read_headers(base)
        differing = _differing(config, base, stored)
        PromptTokenizer.load(base, config.image_token_id, config.text.vocab_size, config.num_image_tokens)
    except InputError as problem:
        yield error(str(problem), _DOWNLOAD)
        return
    if differing:
        more = f" and {len(differing) - _MOST_LISTED} more" if len(differing) > _MOST_LISTED else ""
        yield error(
            f"checkpoint {base}: {len(differing)} tensors do not fit config.json: "
            f"{', '.join(differing[:_MOST_LISTED])}{more}",
            "config.json and weights are of different checkpoints; " + _DOWNLOAD,
        )
        return
    parameters = sum(math.prod(shape) for shape in stored.values())
    yield ok(f"checkpoint {base}: {parameters / 1e6:.0f} million parameters, {gigabytes:.2f} GB, complete")


def _read_headers(base: Path) -> tuple[dict[str, tuple[int, ...]], float]:
    """Shapes of the stored tensors by name, and their size in 1e9 bytes.

    :raises InputError: when a file is missing or damaged, or holds numbers of another type.
    """
    from stvla_ros.policy.spatialvla.checkpoint import INDEX, WEIGHTS, fingerprint, open_tensors
    from stvla_ros.policy.spatialvla.config import read_json

    fingerprint(base)  # reads a row of each tensor: the index, the files and their lengths are right after that
    indexed = (base / INDEX).is_file()
    files = sorted(set(read_json(base / INDEX)["weight_map"].values())) if indexed else [WEIGHTS]
    shapes: dict[str, tuple[int, ...]] = {}
    size = 0
    for file in files:
        with open_tensors(base / file) as tensors:
            for name in tensors.keys():
                stored = tensors.get_slice(name)
                shapes[name], kind = tuple(stored.get_shape()), stored.get_dtype()
                if kind not in _BYTES:
                    raise InputError(f"{base / file}: expected {name} as one of {', '.join(_BYTES)}, got {kind}")
                size += math.prod(shapes[name]) * _BYTES[kind]
    return shapes, size / 1e9


def _differing(config: "SpatialVlaConfig", base: Path, stored: dict[str, tuple[int, ...]]) -> list[str]:
    """Names of tensors that are missing, left over, or of another shape than the network's."""
    from stvla_ros.policy.spatialvla.checkpoint import empty_model, published_name

    model = empty_model(config, str(base / "config.json"))
    expected = {published_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return sorted(name for name in expected.keys() | stored.keys() if expected.get(name) != stored.get(name))


def _check_processor(directory: Path, unnorm_key: str, robot_key: str) -> Findings:
    from stvla_ros.policy.spatialvla.action_tokenizer import ActionTokenizer
    from stvla_ros.policy.spatialvla.config import read_json
    from stvla_ros.policy.spatialvla.inference import PROCESSOR_CONFIG
    from stvla_ros.policy.spatialvla.statistics import read_statistics, select_statistics

    try:
        processor = read_json(directory / PROCESSOR_CONFIG)
        ActionTokenizer.from_config(processor)
        statistics = read_statistics(processor)
    except InputError as problem:
        yield error(f"checkpoint {directory}: {problem}", _DOWNLOAD)
        return
    try:
        key, _ = select_statistics(statistics, unnorm_key, robot_key)
    except InputError as problem:
        yield error(
            f"checkpoint {directory}: {problem}",
            "give --unnorm-key the data set that was recorded on this kind of robot, or train on some",
        )
        return
    if key == robot_key or key == unnorm_key:
        yield ok(f"action statistics {key!r} ({'asked for' if key == unnorm_key else 'the robot has them'})")
    else:
        yield note(
            f"action statistics {key!r}: the checkpoint's only ones"
            + (f", {robot_key!r} would be the robot's" if robot_key else ""),
            "make sure that the checkpoint was trained on this kind of robot: sizes of motions follow from them",
        )


def _check_record(directory: Path) -> Findings:
    try:
        execution = resolve_execution("auto", str(directory))
    except InputError as problem:
        yield error(str(problem), "repair training.json, or remove it")
        return
    yield ok(f"chunks will be executed as {execution}")
