"""The plan of episodes, their results, and the file that keeps them."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from typing_extensions import Self

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.atomic_files import make_folder, write_json
from stvla_ros.errors import InputError
from stvla_ros.safe_files import parse_json, read_bytes, read_json_file
from stvla_ros.settings import build

JOURNAL = "episodes.jsonl"
SETTINGS = "settings.json"


def official_episodes(
    policies: Sequence[str], tasks: Sequence[str], seeds: Sequence[int], episodes: Mapping[str, int]
) -> list[EpisodeKey]:
    """Every episode 0 .. ``episodes[task]`` - 1 of every task, for every policy and seed. The order is by task and
    within it by policy, because environments and policies take long to make.
    """
    return [
        EpisodeKey(task, policy, seed, episode)
        for task in tasks
        for policy in policies
        for seed in seeds
        for episode in range(episodes[task])
    ]


class Journal:
    """The results in a folder, one JSON line each, written at once. Use as a context manager.

    A line that was cut off when the process was killed is dropped, and its episode runs again.

    :param folder: folder; it is made if it does not exist.
    :param common: settings that influence every result (JSON-able).
    :param policies: settings that influence a policy's results, by label (JSON-able).
    :raises InputError: when the folder holds results of another evaluation, or lines that are no results.
    """

    def __init__(self, folder: Path, common: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> None:
        self.path = folder / JOURNAL
        make_folder(folder)
        self._agree(folder / SETTINGS, _plain({"common": common, "policies": policies}))
        self.results: dict[EpisodeKey, EpisodeResult] = {}
        self._read()
        self._file = self.path.open("a")

    def _agree(self, file: Path, settings: dict[str, Any]) -> None:
        if file.exists():
            before = self._read_settings(file)
            for name, value in settings["common"].items():
                if before["common"].get(name) != value:
                    raise InputError(
                        f"output {file.parent}: holds results with {name} {before['common'].get(name)!r}, asked for "
                        f"{value!r}; choose another folder"
                    )
            for label, policy in settings["policies"].items():
                known = before["policies"].get(label, policy)
                for name in policy:
                    if known.get(name) != policy[name]:
                        raise InputError(
                            f"output {file.parent}: holds results of policy {label} with {name} {known.get(name)!r}, "
                            f"asked for {policy[name]!r}; choose another folder or label"
                        )
            settings["policies"] = before["policies"] | settings["policies"]
        write_json(file, settings)

    @staticmethod
    def _read_settings(file: Path) -> dict[str, dict[str, Any]]:
        try:
            before = read_json_file(file)
            blocks = [before["common"], before["policies"], *before["policies"].values()]
            if all(isinstance(block, dict) for block in blocks):
                return before
        except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
            pass
        raise InputError(f"{file}: expected the settings of an evaluation (common, policies), got something else")

    def _read(self) -> None:
        if not self.path.exists():
            return
        data = read_bytes(self.path, "table_bytes")
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                result = build(EpisodeResult, parse_json(line, "it"))
            except (ValueError, RecursionError) as error:  # InputError is a ValueError
                reason = str(error)[:160]
                raise InputError(f"{self.path}: line {number}: expected an episode's result ({reason})") from None
            self.results[result.key] = result

    def missing(self, keys: Iterable[EpisodeKey]) -> list[EpisodeKey]:
        """The episodes without a result."""
        return [key for key in keys if key not in self.results]

    def add(self, result: EpisodeResult) -> None:
        """Add a result; it is on the disk when this returns."""
        self.results[result.key] = result
        self._file.write(json.dumps(asdict(result), sort_keys=True) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
