"""The state that a killed run continues from, and its log."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from stvla_ros.atomic_files import whole_file
from stvla_ros.errors import InputError

_STATE, _METRICS = "state.pt", "metrics.jsonl"


def save_state(run: Path, state: dict[str, Any]) -> None:
    """Write the state; the previous one stays until the new one is complete."""
    with whole_file(run / _STATE) as aside:
        torch.save(state, aside)


def load_state(run: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """
    :param settings: settings that must not have changed since.
    :returns: the state; None if there is no earlier run.
    :raises InputError: when the run was begun with other settings, or its state is damaged.
    """
    file = run / _STATE
    if not file.is_file():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the pickle runs into
        raise InputError(f"{file}: expected the state of a training run ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict) or not isinstance(state.get("settings"), dict):
        raise InputError(f"{file}: expected the state of a training run, got something else")
    for name, value in settings.items():
        if state["settings"].get(name) != value:
            raise InputError(
                f"output {run}: expected a run with the same {name}, it has {state['settings'].get(name)!r} instead of "
                f"{value!r}; give another output, or remove it"
            )
    return state


class MetricsLog:
    """A log with one JSON object on each line, and the same for TensorBoard.

    :param step: first step of the new entries. Entries from this step on come from a killed run and are removed.
    """

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        file = run / _METRICS
        lines = file.read_text().splitlines() if file.is_file() else []
        # What was said before the first step is of the run that is not gone on with, too.
        kept = [line for line in lines if step and _step_of(line) is not None and _step_of(line) < step]
        file.write_text("".join(f"{line}\n" for line in kept))
        self._file = file.open("a", buffering=1)
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=step or None)

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        self._writer.close()


def first_and_last(run: Path, names: Collection[str]) -> tuple[dict[str, float], dict[str, float]]:
    """A run's figures of these names in the first entry of its log that has one of them, and in the last."""
    entries = [json.loads(line) for line in (run / _METRICS).read_text().splitlines() if _step_of(line) is not None]
    found = [{name: entry[name] for name in names if name in entry} for entry in entries]
    told = [each for each in found if each]
    return (told[0], told[-1]) if told else ({}, {})


def _step_of(line: str) -> int | None:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return None  # the last line of a killed run
