"""The lines at the end of a training: its errors on the held-out episodes, and the next commands."""

from collections.abc import Collection, Iterator
from pathlib import Path

from stvla_ros.learning.training.state import first_and_last
from stvla_ros.sim.simulators import SIMULATORS

_ERROR, _GRIPPER, _LOSS = (f"validation/{name}" for name in ("translation_error_mm", "gripper_accuracy", "loss"))


def ending(run: Path, result: Path, robots: Collection[str], acts: bool = True) -> Iterator[str]:
    """
    :param run: folder of the run, with its log.
    :param result: folder of the checkpoint or adapter.
    :param robots: names of the data sets' robots.
    :param acts: whether actions were learnt.
    """
    if told := _held_out(run):
        yield told
    shown = result.relative_to(Path.cwd()) if result.is_relative_to(Path.cwd()) else result
    if not acts:
        yield f"next: stvla latent plot SOURCE --checkpoint {shown}     what it tells of a video, bag or data set"
        return
    task = next(filter(None, map(_task_of, sorted(robots))), "")
    if task:
        yield f"next: stvla sim --checkpoint {shown} --task {task}           watch it act"
        yield f"      stvla eval --policies {shown} --tasks {task}     count its successes"
    else:
        yield f"next: stvla robot --robot YOUR_ROBOT.yaml --checkpoint {shown} --dry-run     what it would do"


def _held_out(run: Path) -> str:
    """Errors before the first step and with the saved weights; empty if no episode was held out."""
    first, last = first_and_last(run, (_ERROR, _GRIPPER, _LOSS))
    if _ERROR in first and _ERROR in last:
        said = f"held-out error {first[_ERROR]:.1f} → {last[_ERROR]:.1f} mm a step"
        if _GRIPPER in first and _GRIPPER in last:
            said += f", gripper right in {first[_GRIPPER]:.0%} → {last[_GRIPPER]:.0%}"
        return said
    return f"held-out loss {first[_LOSS]:.3f} → {last[_LOSS]:.3f}" if _LOSS in first and _LOSS in last else ""


def _task_of(robot: str) -> str:
    """A simulated task of a robot; empty for a robot that is not simulated here."""
    tasks = [task for name in SIMULATORS.built_in() for task in SIMULATORS.find(name)().tasks().values()]
    return next((task.name for task in tasks if task.robot == robot), "")
