"""Part of check 7: the stops that the robot's driver keeps until its reset."""

from pathlib import Path

from stvla_ros.control.safety.latch import LatchRecord, latch_file, read_latch, shown_moment
from stvla_ros.doctor.findings import Finding, Findings, note, ok, warning
from stvla_ros.errors import InputError


def check_latches(folder: Path, executable: str, namespace: str = "") -> Findings:
    """
    :param folder: folder in which drivers keep their latches.
    :param executable: name of the robot's driver; in each namespace it has a latch of its own.
    :param namespace: namespace of the robot, absolute; empty: the drivers of all namespaces are looked at.
    """
    files = [file for file in sorted(folder.glob("*.json")) if file.stem.rpartition(".")[2] == executable]
    if namespace:
        files = [file for file in files if file == latch_file(folder, f"{namespace}/{executable}")]
    for file in files:
        node = "/" + file.stem.replace(".", "/")
        try:
            yield _of_driver(node, read_latch(file))
        except InputError as problem:
            yield warning(f"latch of {node}: closed: {problem}", f"look at the robot, then call {node}/reset")
    if not files:
        yield ok(f"latch: open, {executable} has no latch file in {folder}")


def _of_driver(node: str, record: LatchRecord) -> Finding:
    if record.causes:
        causes = "; ".join(
            f"since {shown_moment(since)} because of {cause} ({detail})"
            for cause, (since, detail) in record.causes.items()
        )
        advice = (
            f"look at the robot, then, with its driver running: `ros2 service call {node}/reset std_srvs/srv/Trigger`"
        )
        return warning(f"latch of {node}: closed {causes}", advice)
    if record.running is not None:
        return note(
            f"latch of {node}: open; its driver is active since {shown_moment(record.running)}",
            "if no driver runs, it was killed: the next one will wait for a reset",
        )
    return ok(f"latch of {node}: open")
