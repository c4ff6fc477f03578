"""Check 8: the policy's checkpoint. Headers and small files are read, no weights."""

from stvla_ros.doctor.findings import Finding, Findings, error, ok, warning
from stvla_ros.errors import InputError
from stvla_ros.policy.training_record import resolve_execution
from stvla_ros.shared_files import default_checkpoint

_DOWNLOAD = "copy it again, or: hf download ID --local-dir FOLDER, then give FOLDER"


def check_checkpoint(path_or_id: str, unnorm_key: str, fallback_unnorm_key: str) -> Findings:
    """
    :param path_or_id: folder or hub id; empty for the checkpoint that comes along.
    :param unnorm_key: data set asked for; empty for the robot's own.
    :param fallback_unnorm_key: the robot's own data set in the published checkpoints.
    """
    from stvla_ros.policy.checkpoints import find_downloaded
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
    try:
        execution = resolve_execution("auto", str(folder))
    except InputError as problem:
        yield error(str(problem), "repair training.json, or remove it")
        return
    yield ok(f"chunks will be executed as {execution}")
