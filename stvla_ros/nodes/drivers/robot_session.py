"""Node ``robot_session``: sends the instruction while the driver is ready, and records what the robot did.

After a cause stopped the arm for good, the instruction is sent again only when a person asks for it (``~/start``).

It writes ``motion.json`` into its folder: commands executed, clipped and refused, by limit; how far the setpoints
moved; and what held the arm, for how long.
"""

import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from stvla_ros.atomic_files import make_folder, why_not_written, write_json
from stvla_ros.errors import InputError
from stvla_ros.msg import CommandVerdict, DriverState
from stvla_ros.nodes.kit.base import RELIABLE_QOS, STATE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.nodes.server.driver_watch import stops
from stvla_ros.nodes.server.goal_client import EpisodeGoal
from stvla_ros.safe_files import check_instruction, read_json_file

_TEND_PERIOD_S = 0.1
_WRITE_PERIOD_S = 1.0
# Time without commands after which it asks whether the goal still runs.
_DOUBT_S = 3.0
# If this node stood still for so long, others may have taken it for dead and ended the goal; it cannot know whether the
# goal continues.
_STOOD_STILL_S = 5.0
# More joints than any driver has. Nonsense on a topic must not fill the memory.
_MOST_KINDS = 100
MOTION = "motion.json"
_PHASES = {value: name for name, value in vars(DriverState).items() if name in ("WAITING", "READY", "MOVING", "HELD")}


class RobotSessionNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("robot_session")
        self._output = Path(self.parameter("output", "out/robot/manual", "folder for motion.json"))
        self._instruction = self.parameter(
            "instruction", "", "what the robot shall do; empty: a goal is sent by others"
        )
        self._goal: EpisodeGoal | None = None
        self._tending: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ready = False
        # The reason why the instruction is not sent until a person asks for it; empty when it is sent.
        self._withheld = ""
        self._stopped = ""
        self._given, self._ended = False, False
        self._active_since = 0
        self._writing = threading.Lock()
        self._last_command = time.monotonic()
        self._executed = 0
        self._clipped: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._phase, self._phase_since = "WAITING", time.monotonic()
        self._phases: defaultdict[str, float] = defaultdict(float)
        self._held_by: Counter[str] = Counter()
        self._setpoints = _Way()

    def configure(self) -> None:
        check_instruction(self._instruction, "parameter instruction")
        make_folder(self._output, "parameter output")
        self._goal = EpisodeGoal(self, again_after_fault=False) if self._instruction else None
        self._given = self._ended = False
        if _was_interrupted(self._output / MOTION):
            self._withhold("this node was started anew")
        self.create_service(Trigger, "~/start", self._on_start)
        self.every(_WRITE_PERIOD_S, self._write)

    def activate(self) -> None:
        self._stopping.clear()
        self._ended, self._active_since = False, self.now_ns()
        self.subscribe(CommandVerdict, "command_verdict", self._on_verdict, watched=False)
        self.subscribe(DriverState, "driver_state", self._on_state, STATE_QOS, watched=False)
        self.subscribe(JointState, "setpoint", self._on_setpoint, RELIABLE_QOS, watched=False)
        if self._goal is not None:
            self._tending = threading.Thread(target=self._tend, name="goal", daemon=True)
            self._tending.start()
        self.on_stop_inputs(self._stop)

    def _stop(self) -> None:
        self._stopping.set()
        if self._tending is not None:
            self._tending.join()
            self._tending = None
        self._ended = True
        self._write()
        self._say()

    def cleanup(self) -> None:
        if self._goal is not None:
            self._goal.destroy()
            self._goal = None

    def _tend(self) -> None:
        """The goal runs while the driver takes commands. In a thread of its own: see EpisodeGoal."""
        before = time.monotonic()
        while not self._stopping.wait(_TEND_PERIOD_S):
            stood_s, before = time.monotonic() - before, time.monotonic()
            if self._given and stood_s > _STOOD_STILL_S:
                self._withhold(f"this node stood still for {stood_s:.1f} s")
            if not self._ready or self._withheld:
                self._goal.cancel()
                self._last_command = time.monotonic()
                continue
            if not self._given:
                # Written before it is sent: after a kill in between it must not be sent again.
                self._given = True
                self._write()
            if self._goal.tend(self._instruction) and time.monotonic() - self._last_command > _DOUBT_S:
                # A server that was killed and restarted knows nothing of the goal.
                self._goal.doubt()
                self._last_command = time.monotonic()
            if self._goal.fault:
                self._withhold(self._goal.fault)

    def _withhold(self, why: str) -> None:
        if self._goal is not None and not self._withheld:
            start = self.resolve_service_name("~/start")
            self.get_logger().warning(f"the instruction is not given any more: {why}; {start} gives it again")
            self._withheld = why

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """A person asks for the instruction."""
        if self._goal is None:
            response.message = "parameter instruction: expected what the robot shall do, got an empty text"
        elif self._stopped:
            response.message = f"the robot's driver is stopped: {self._stopped}"
        else:
            self._withheld, response.success = "", True
            response.message = f"given as soon as the driver is ready: {self._instruction}"
        return response

    def _on_verdict(self, verdict: CommandVerdict) -> None:
        self._last_command = time.monotonic()
        self._executed += verdict.executed
        for limit in verdict.clipped:
            _count(self._clipped, limit)
        if not verdict.executed:
            _count(self._refused, verdict.refused.partition(":")[0])

    def _on_state(self, state: DriverState) -> None:
        now = time.monotonic()
        self._phases[self._phase] += now - self._phase_since
        self._phase, self._phase_since = _PHASES.get(state.phase, "?"), now
        for reason in state.held_by:
            _count(self._held_by, reason)
        self._ready = state.phase in (DriverState.READY, DriverState.MOVING)
        self._stopped = stops(state)
        # Messages from before this node existed are history.
        if self._stopped and stamp_ns(state.header) >= self._active_since:
            self._withhold(self._stopped)

    def _on_setpoint(self, message: JointState) -> None:
        if not np.isfinite(message.position).all():
            self.reject("setpoint", f"topic setpoint: expected finite positions, got {list(message.position)}")
            return
        self._setpoints.add(dict(zip(message.name, message.position)))

    def _say(self) -> None:
        """Log the outcome in two lines for a person."""
        clipped, refused = (
            ", ".join(f"{count} {limit}" for limit, count in counts.items()) or "none"
            for counts in (self._clipped, self._refused)
        )
        print(f"commands: {self._executed} executed, clipped: {clipped}; refused: {refused}", flush=True)
        joints = self._setpoints.summary()["joints"]
        way = ", ".join(f"{name} {value['travel']:.2f}" for name, value in joints.items() if name != "gripper")
        held_by = ", ".join(sorted(self._held_by.keys() - {"not started"}))
        print(f"ways of the joints, rad: {way or 'none'}; held by: {held_by or 'nothing'}", flush=True)

    def _write(self) -> None:
        phases = self._phases.copy()
        phases[self._phase] += time.monotonic() - self._phase_since
        summary: dict[str, Any] = {
            "instruction": self._instruction,
            "given": self._given and not self._ended,
            "commands": {
                "executed": self._executed,
                "clipped": dict(self._clipped),
                "refused": dict(self._refused),
            },
            "setpoints": self._setpoints.summary(),
            "driver": {"phase": self._phase, "seconds": {key: round(value, 2) for key, value in phases.items()}},
            "held_by": sorted(self._held_by),
        }
        try:
            with self._writing:
                write_json(self._output / MOTION, summary)
        except OSError as error:
            # What is not on the disk cannot tell the next session that the instruction was given.
            file = self._output / MOTION
            problem = f"{file}: cannot be written ({why_not_written(error, file)})"
            self.reject("motion", problem)
            self._withhold(problem)


def _was_interrupted(file: Path) -> bool:
    """Whether the last writer was a session that sent its instruction and did not end properly."""
    try:
        return bool(read_json_file(file)["given"])
    except FileNotFoundError:
        return False
    except (OSError, InputError, LookupError, TypeError):
        return True  # it cannot be known


def _count(counts: Counter[str], kind: str) -> None:
    counts[kind if kind in counts or len(counts) < _MOST_KINDS else "other"] += 1


class _Way:
    """How far joints moved."""

    def __init__(self) -> None:
        self._count = 0
        self._travel: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._lowest: dict[str, float] = {}
        self._highest: dict[str, float] = {}

    def add(self, position: dict[str, float]) -> None:
        self._count += 1
        for name in [name for name in position if name not in self._travel][max(0, _MOST_KINDS - len(self._travel)) :]:
            del position[name]
        for name, value in position.items():
            self._travel[name] = self._travel.get(name, 0.0) + abs(value - self._last.get(name, value))
            self._lowest[name] = min(value, self._lowest.get(name, np.inf))
            self._highest[name] = max(value, self._highest.get(name, -np.inf))
        self._last = position

    def summary(self) -> dict[str, Any]:
        joints = {
            name: {
                "travel": round(self._travel.get(name, 0.0), 4),
                "lowest": round(self._lowest[name], 4),
                "highest": round(self._highest[name], 4),
            }
            for name in self._last
        }
        return {"count": self._count, "joints": joints}


def main() -> None:
    run(RobotSessionNode)


if __name__ == "__main__":
    main()
