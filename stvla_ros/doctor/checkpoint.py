"""Check 8: the policy's checkpoint. Reads headers and small files, no weights."""

from pathlib import Path

from stvla_ros.doctor.findings import Finding, Findings, error, note, ok, warning
from stvla_ros.errors import InputError
from stvla_ros.policy.training_record import find_record, resolve
from stvla_ros.shared_files import default_checkpoint

_DOWNLOAD = "copy it again, or: hf download ID --local-dir FOLDER, then give FOLDER"


def check_checkpoint(path_or_id: str, unnorm_key: str, fallback_unnorm_key: str, depth_topic: str) -> Findings:
    """
    :param path_or_id: folder or hub id; empty for the shipped checkpoint.
    :param unnorm_key: data set asked for; empty for the robot's own.
    :param fallback_unnorm_key: the robot's own data set in the published checkpoints.
    :param depth_topic: topic of the camera's depth; empty if it has no depth.
    """
    from stvla_ros.policy.checkpoint_places import find_downloaded
    from stvla_ros.policy.families import family_of

    try:
        folder = find_downloaded(path_or_id or str(default_checkpoint()))
    except InputError as problem:
        yield error(str(problem), "give a folder with config.json; without --checkpoint the small one is used")
        return
    if folder is None:
        yield warning(
            f"checkpoint {path_or_id} is not on this machine; the first start downloads it (the 4B model: 8 GB)",
            f"download it before: hf download {path_or_id}",
        )
        return
    try:
        family = family_of(folder)
    except InputError as problem:
        yield error(str(problem), _DOWNLOAD)
        return
    for remark in family.check(folder, unnorm_key, fallback_unnorm_key):
        yield Finding(remark.level, remark.text, remark.advice)
    yield from _check_record(folder, depth_topic)


def _check_record(folder: Path, depth_topic: str) -> Findings:
    try:
        trained = resolve(str(folder), {})
        recorded = find_record(str(folder)) is not None
    except InputError as problem:
        yield error(str(problem), "install the plug-in that it names, or repair training.json or remove it")
        return
    inputs = trained.inputs
    if recorded:
        yield ok(f"trained with, and will be shown: {inputs.summary}")
    else:
        yield note(
            f"there is no training.json with the inputs of its training; it will be shown: {inputs.summary}",
            "give stvla robot the inputs of its training: --traces, --depth, --resize, …",
        )
    if inputs.depth == "sensor" and not depth_topic:
        yield warning(
            "it needs the depth sensor's depth, but the camera has none (depth_topic is empty)",
            "give --depth-topic; or stvla robot --depth with a network, or train with another depth",
        )
    yield ok(f"chunks will be executed as {trained.execution}")
