"""Control steps per second of the simulator bridge beside the bare environment loop, on the same episode in the same
run.

The bridge adds per step: 0.92 MB image, 0.61 MB depth and four small messages published, one command received. This
process answers at once with commands, so the measurement covers the bridge and two hops of small messages, not the
perception.
"""

import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import yaml

from bench.ros_context import ros_context

TASK = "stack_cube"
EPISODES = 3


def bare_steps_per_s() -> float:
    """The expert's episodes, run by plain calls with rendered images."""
    from stvla_ros.sim.tasks import make_environment

    environment = make_environment(TASK)
    steps, seconds = 0, 0.0
    try:
        for episode in range(EPISODES):
            environment.reset(episode)
            started = time.monotonic()
            for _ in range(environment.info.max_steps):
                steps += 1
                if environment.step(environment.expert_action()).success:
                    break
            seconds += time.monotonic() - started
    finally:
        environment.close()
    return steps / seconds


def bridge_steps_per_s() -> float:
    """The same episodes through the bridge node; every expert chunk comes straight back as a command."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from stvla_ros.msg import ActionChunk, EndEffectorCommand, EpisodeState
    from stvla_ros.nodes.kit.base import RELIABLE_QOS, STATE_QOS
    from stvla_ros.nodes.kit.messages import make_uuid, stamp_ns

    node = rclpy.create_node("bench")
    goal_id, goal_stamp = make_uuid(uuid.uuid4().bytes), node.get_clock().now().to_msg()
    commands = node.create_publisher(EndEffectorCommand, "command", RELIABLE_QOS)

    def answer(chunk: ActionChunk) -> None:
        command = chunk.actions[0]
        command.goal_id, command.goal_stamp = goal_id, goal_stamp
        commands.publish(command)

    node.create_subscription(ActionChunk, "expert_chunk", answer, RELIABLE_QOS)
    states: list[EpisodeState] = []
    node.create_subscription(EpisodeState, "episode_state", states.append, STATE_QOS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    parameters = {"task": TASK, "episodes": EPISODES, "send_goals": False, "reset_services": [""]}
    file = Path(tempfile.mkdtemp()) / "parameters.yaml"
    file.write_text(yaml.safe_dump({"/sim_bridge": {"ros__parameters": parameters}}))
    process = subprocess.Popen(
        [sys.executable, "-m", "stvla_ros.nodes.simulation.sim_bridge", "--ros-args", "--params-file", str(file)],
        stderr=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + 120
        while not (states and states[-1].phase == EpisodeState.FINISHED) and time.monotonic() < ends:
            executor.spin_once(timeout_sec=0.1)
    finally:
        process.terminate()
        process.wait(20)
        executor.shutdown()
        node.destroy_node()
    steps, seconds = 0, 0.0
    for index in range(EPISODES):
        # Measured from the first answered observation to the end: the reset and the wait for discovery are not steps.
        stamps = [
            stamp_ns(s.header) for s in states if s.index == index and s.phase != EpisodeState.RESETTING and s.step > 0
        ]
        steps += len(stamps) - 1
        seconds += (stamps[-1] - stamps[0]) * 1e-9
    return steps / seconds


def rows() -> list[dict[str, Any]]:
    with ros_context():
        bare = bare_steps_per_s()
        bridge = bridge_steps_per_s()
    return [
        {"what": "bare environment loop", "steps_per_s": round(bare, 1)},
        {
            "what": "sim_bridge",
            "steps_per_s": round(bridge, 1),
            "ratio": round(bridge / bare, 3),
            "target": "ratio >= 0.9",
        },
    ]


if __name__ == "__main__":
    for row in rows():
        print(row)
