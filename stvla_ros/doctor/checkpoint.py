"""Check 8: the policy's checkpoint. Headers and small files are read, no weights."""

from pathlib import Path

from stvla_ros.doctor.findings import Findings, error, note, ok, warning
from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import find_downloaded
from stvla_ros.policy.training_record import resolve_execution
from stvla_ros.shared_files import default_checkpoint

_DOWNLOAD = "copy it again, or: hf download ID --local-dir FOLDER, then give FOLDER"


def check_checkpoint(path_or_id: str, unnorm_key: str, fallback_unnorm_key: str) -> Findings:
    """
    :param path_or_id: folder or hub id; empty for the checkpoint that comes along.
    :param unnorm_key: data set asked for; empty for the robot's own.
    :param fallback_unnorm_key: the robot's own data set in the published checkpoints.
    """
    from stvla_ros.policy.spatialvla.adapters import is_adapter, read_adapter

    try:
        directory = find_downloaded(path_or_id or str(default_checkpoint()))
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
    yield from _check_processor(directory, unnorm_key, fallback_unnorm_key)
    yield from _check_record(directory)


def _check_weights(base: Path) -> Findings:
    from stvla_ros.policy.spatialvla.checkpoint import check_weights
    from stvla_ros.policy.spatialvla.prompt import PromptTokenizer

    try:
        model, files = check_weights(base)
        config = model.config
        PromptTokenizer.load(base, config.image_token_id, config.text.vocab_size, config.num_image_tokens)
    except InputError as problem:
        yield error(str(problem), _DOWNLOAD)
        return
    parameters = sum(tensor.numel() for tensor in model.state_dict().values())
    gigabytes = sum(file.stat().st_size for file in files) / 1e9
    yield ok(f"checkpoint {base}: {parameters / 1e6:.0f} million parameters, {gigabytes:.2f} GB, complete")


def _check_processor(directory: Path, unnorm_key: str, fallback_unnorm_key: str) -> Findings:
    from stvla_ros.policy.action_statistics import read_statistics, select_statistics
    from stvla_ros.policy.checkpoints import read_json
    from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
    from stvla_ros.policy.spatialvla.predictor import PROCESSOR_CONFIG

    try:
        processor = read_json(directory / PROCESSOR_CONFIG)
        ActionTokenizer.from_config(processor)
        statistics = read_statistics(processor)
    except InputError as problem:
        yield error(f"checkpoint {directory}: {problem}", _DOWNLOAD)
        return
    try:
        key, _ = select_statistics(statistics, unnorm_key, fallback_unnorm_key)
    except InputError as problem:
        yield error(
            f"checkpoint {directory}: {problem}",
            "give --unnorm-key the data set that was recorded on this kind of robot, or train on some",
        )
        return
    if key == fallback_unnorm_key or key == unnorm_key:
        yield ok(f"action statistics {key!r} ({'asked for' if key == unnorm_key else 'the robot has them'})")
    else:
        yield note(
            f"action statistics {key!r}: the checkpoint's only ones"
            + (f", {fallback_unnorm_key!r} would be the robot's" if fallback_unnorm_key else ""),
            "make sure that the checkpoint was trained on this kind of robot: sizes of motions follow from them",
        )


def _check_record(directory: Path) -> Findings:
    try:
        execution = resolve_execution("auto", str(directory))
    except InputError as problem:
        yield error(str(problem), "repair training.json, or remove it")
        return
    yield ok(f"chunks will be executed as {execution}")
