"""The cable between the robot's computer and the GPU's is pulled while the arm moves: how long it moves on.

On the robot's computer a camera, the real WidowX driver with its safety gate, and the stand-in of the arm. On the other
a node that answers every second observation with a command (5 a second). The cable is bench/cable.py's.
"""

import itertools
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from typing import Any

import numpy as np

from bench.cable import Quality, cable
from bench.two_computers import PATIENCE_S, RATE_HZ, TRANSPORTS, Camera, answer_observations, begin

_CAMERA = "bench.pulled_plug"
# A setpoint that moves a joint less is rest: radians a tick of 20 ms.
_REST = 1e-5
_MOVING_S, _AFTER_S = 3.0, 3.0


def robot(transport: str) -> None:
    """Camera and witness: says when the arm has moved for a while, and then when it moved last and was told last."""
    import rclpy
    from sensor_msgs.msg import JointState

    from stvla_ros.msg import CommandVerdict, DriverState, EndEffectorCommand
    from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, set_dds_defaults
    from stvla_ros.robots.embodiments import find_embodiment

    set_dds_defaults()
    rclpy.init()
    node = rclpy.create_node("camera")
    camera = Camera(node, transport)
    seen = {"first": 0.0, "moved": 0.0, "told": 0.0}
    last: list[np.ndarray] = []

    def told(_: EndEffectorCommand) -> None:
        seen["told"] = time.monotonic()

    def moved(setpoint: JointState) -> None:
        # The gripper is among them once it was told.
        joints = np.array([at for name, at in zip(setpoint.name, setpoint.position) if name in arm])
        if last and np.abs(joints - last[-1]).max() > _REST:
            seen["moved"] = time.monotonic()
            seen["first"] = seen["first"] or seen["moved"]
        last[:] = [joints]

    arm = find_embodiment("widowx").driver.arm.joints
    states: list[DriverState] = []
    verdicts: list[CommandVerdict] = []
    node.create_subscription(CommandVerdict, "command_verdict", verdicts.append, RELIABLE_QOS)
    node.create_subscription(DriverState, "driver_state", states.append, LATCHED_QOS)
    node.create_subscription(EndEffectorCommand, "command", told, RELIABLE_QOS)
    node.create_subscription(JointState, "setpoint", moved, RELIABLE_QOS)
    start, said, ends = time.monotonic(), False, 0.0
    for index in itertools.count():
        while (wait := start + index / RATE_HZ - time.monotonic()) > 0:
            rclpy.spin_once(node, timeout_sec=wait)
        now = time.monotonic()
        if seen["first"] and now - seen["first"] > _MOVING_S and not said:
            print("moves", flush=True)
            said, ends = True, now + _AFTER_S
        if (said and now > ends) or now - start > PATIENCE_S:
            break
        camera.send()
    if not said:
        state = f"{states[-1].phase} {states[-1].held_by} {states[-1].detail}" if states else "no driver_state"
        print(f"never moved: {state}; the last of {len(verdicts)} refusals: {verdicts[-1:]}", flush=True)
    print(json.dumps(seen), flush=True)


def gpu(transport: str) -> None:
    """Answers every second observation."""
    from stvla_ros.control.actions import EndEffectorAction
    from stvla_ros.control.command_identity import CommandIdentity
    from stvla_ros.nodes.kit.messages import action_to_command

    complete = itertools.count()
    goals: dict[int, int] = {}

    def answer(header: Any, seen: int) -> Any:
        if not next(complete) % 2:
            return None
        # The driver takes no goal from before it was ready: a new one with each turn of the motion.
        turn = seen // 20
        goal = CommandIdentity("widowx", uuid.UUID(int=turn + 1).bytes, goals.setdefault(turn, time.time_ns()))
        step = np.array([0.0, 0.006 if turn % 2 else -0.006, 0.0])
        header.frame_id = "base_link"
        return action_to_command(EndEffectorAction(step, np.zeros(3), 1.0), header, goal)

    answer_observations(transport, answer, decode=False)


def measure(transport: str) -> dict[str, Any]:
    parameters = ["--ros-args", "-p", "robot:=widowx", "-p"]
    with cable(Quality()) as relay, tempfile.TemporaryDirectory() as latches:
        folder = f"latch_folder:={latches}"
        processes = [
            begin("robot", "stvla_ros.nodes.drivers.fake_xs_arm", *parameters, "start:=home"),
            begin("robot", "stvla_ros.nodes.drivers.widowx_driver", *parameters, "late_ticks:=0", "-p", folder),
            begin("gpu", _CAMERA, "gpu", transport),
            witness := begin("robot", _CAMERA, "robot", transport),
        ]
        try:
            if (said := witness.stdout.readline().strip()) != "moves":
                return {"sent": transport, "missing": f"{transport}: {said}"}
            os.kill(relay.pid, signal.SIGSTOP)
            pulled = time.monotonic()
            seen = json.loads(witness.stdout.readline())
            os.kill(relay.pid, signal.SIGCONT)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return {
        "sent": transport,
        "last command after the pull, s": round(seen["told"] - pulled, 2),
        "arm moved on after its last command, s": round(seen["moved"] - seen["told"], 2),
        "arm rested after the pull, s": round(seen["moved"] - pulled, 2),
    }


def rows() -> list[dict[str, Any]]:
    try:
        return [measure(transport) for transport in TRANSPORTS]
    except OSError as error:
        return [{"missing": f"two network namespaces: {error}"}]


if __name__ == "__main__":
    {"robot": robot, "gpu": gpu}[sys.argv[1]](sys.argv[2])
