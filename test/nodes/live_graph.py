"""Real nodes in processes of their own, and a probe that talks with them."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node_process import TIMEOUT_S, NodeProcess
from probe import Probe

from tools.robot_files import write_robot

END_TIMEOUT_S = 5.0
# The most that a robot file may say: on a busy machine a stand-in may be silent for longer than an arm itself.
PATIENCE_S = 1.0
# A best-effort reader that has not yet found its writer, or has no time, misses a frame for good, and a test that sends
# each frame once waits for its answer in vain. Robots' graphs read their cameras so; what they lose is the machine's.
_SEES_CAMERAS = {name: (name,) for name in ("tracker", "depth", "compositor", "vla_server")} | {
    "fused": ("perception", "vla_server")
}
"""Nodes that see a camera, by executable."""
# Characters of each process' output that a failed wait shows.
_LAST_WORDS = 1000


def patient_robot(robot: str, folder: Path) -> str:
    """A robot that comes along, whose driver waits longer for joint states. :returns: its file."""
    file = folder / "patient" / f"{robot}.yaml"
    file.parent.mkdir(exist_ok=True)
    return str(write_robot(file, robot, limits={"joint_state_timeout": PATIENCE_S}))


class LiveGraph(Probe):
    """The probe, and the processes that it started.

    :ivar patient: robots whose drivers wait longer for joint states than their files say.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.processes: dict[str, NodeProcess] = {}
        self.patient = {"widowx", "google_robot"}

    def start(
        self,
        executable: str,
        /,
        namespace: str = "",
        program: Path | None = None,
        package: Path | None = None,
        remappings: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> NodeProcess:
        if executable.endswith("_driver") and program is None:
            # The machine's business: tests of late setpoints make them late themselves.
            parameters = {"late_ticks": 0, **parameters}
            if parameters.get("robot") in self.patient:
                parameters["robot"] = patient_robot(parameters["robot"], self.folder)
        parameters = _reliable(_SEES_CAMERAS.get(executable, ()), parameters)
        rules = {**({"__ns": f"/{namespace}"} if namespace else {}), **(remappings or {})}
        arguments = tuple(part for old, new in rules.items() for part in ("-r", f"{old}:={new}"))
        process = NodeProcess(executable, self.folder, parameters, arguments, program, package)
        self.processes[executable] = process
        return process

    def until(self, condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = TIMEOUT_S) -> Any:
        """As the probe does it. If it does not come, the processes tell how they are, and what they said last."""
        try:
            return super().until(condition, what, timeout_s)
        except AssertionError as error:
            told = [
                f"{name}, {'running' if process.alive() else f'ended with {process.process.returncode}'}: "
                + process.output[-_LAST_WORDS:]
                for name, process in self.processes.items()
            ]
            raise AssertionError("\n".join([str(error), *told])) from None

    def stop(self) -> None:
        # Asked first: a killed process leaves 70 MB of shared memory behind for good.
        for process in self.processes.values():
            if process.alive():
                os.killpg(process.pid, signal.SIGINT)
        ends = time.monotonic() + END_TIMEOUT_S
        while any(process.alive() for process in self.processes.values()) and time.monotonic() < ends:
            time.sleep(0.02)
        for process in self.processes.values():
            process.kill()
        self.close()


def _reliable(nodes: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters, of one node or of several by name, with which those nodes read their cameras reliably."""
    reliable = {"sensor_reliability": "reliable"}
    if len(nodes) > 1 or any(isinstance(value, Mapping) for value in parameters.values()):
        return {**parameters, **{node: {**reliable, **parameters.get(node, {})} for node in nodes}}
    return {**reliable, **parameters} if nodes else dict(parameters)


@contextmanager
def live_graph(folder: Path) -> Iterator[LiveGraph]:
    graph = LiveGraph(folder)
    try:
        yield graph
    finally:
        graph.stop()
