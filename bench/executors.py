"""rclpy's two executors with nodes like ours: the single-threaded one, which all nodes use, and the experimental events
executor of newer distributions.

Cost: processor time of a callback in a process with ten subscriptions, to which another one publishes small messages in
turn. Survival: publishers and subscriptions made and destroyed a hundred times, as nodes do from ``configure`` to
``cleanup``, while another process offers and asks for the same topics with other qualities of service.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

TOPICS, RUNS = 10, 4
RATES_HZ = (200.0, 30.0)
SECONDS, TIMES = 5.0, 100
KINDS = ("single-threaded", "events")


def executor_of(kind: str) -> Any:
    """:raises ImportError: if the distribution has no such executor."""
    import rclpy

    if kind == "events":
        from rclpy.experimental import EventsExecutor

        return EventsExecutor(context=rclpy.get_default_context())
    return rclpy.executors.SingleThreadedExecutor()


def receive(kind: str) -> None:
    """Print milliseconds of processor time per callback, of the whole process and of the executor's thread."""
    from std_msgs.msg import String

    from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode

    executor, node, count = executor_of(kind), StvlaNode("bench_receiver"), 0

    def received(_: String) -> None:
        nonlocal count
        count += 1

    for index in range(TOPICS):
        node.create_subscription(String, f"bench_{index}", received, RELIABLE_QOS)
    executor.add_node(node)
    while count < 5 * TOPICS:
        executor.spin_once(timeout_sec=0.5)
    before, ends = (time.process_time(), time.thread_time(), count), time.monotonic() + SECONDS
    while time.monotonic() < ends:
        executor.spin_once(timeout_sec=0.5)
    callbacks = (count - before[2]) * 1e-3
    print(json.dumps([(time.process_time() - before[0]) / callbacks, (time.thread_time() - before[1]) / callbacks]))


def send(rate_hz: str) -> None:
    """Publish until the process is ended."""
    import rclpy
    from std_msgs.msg import String

    from stvla_ros.nodes.kit.base import RELIABLE_QOS

    node = rclpy.create_node("bench_sender")
    publishers = [node.create_publisher(String, f"bench_{index}", RELIABLE_QOS) for index in range(TOPICS)]
    start, sent = time.monotonic(), 0
    while True:
        publishers[sent % TOPICS].publish(String(data="x" * 100))
        sent += 1
        time.sleep(max(0.0, start + sent / float(rate_hz) - time.monotonic()))


def disturb() -> None:
    """Publish and subscribe with other qualities of service, again and again, until the process is ended."""
    import rclpy
    from std_msgs.msg import String

    from stvla_ros.nodes.kit.base import RELIABLE_QOS, SENSOR_QOS

    node = rclpy.create_node("bench_other")
    while True:
        asked = [node.create_subscription(String, f"out_{n}", lambda _: None, RELIABLE_QOS) for n in range(TOPICS)]
        offered = [node.create_publisher(String, f"in_{n}", SENSOR_QOS) for n in range(TOPICS)]
        time.sleep(0.02)
        for subscription in asked:
            node.destroy_subscription(subscription)
        for publisher in offered:
            node.destroy_publisher(publisher)


def survive(kind: str, listeners: str) -> None:
    """Print the number of errors. Nothing is printed if the process crashes.

    :param listeners: whether publishers and subscriptions have rclpy's usual listeners, which report incompatible
        qualities of service; the text ``True`` or ``False``.
    """
    import rclpy
    from rclpy._rclpy_pybind11 import InvalidHandle
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
    from std_msgs.msg import String

    from stvla_ros.nodes.kit.base import RELIABLE_QOS

    executor, node, errors = executor_of(kind), rclpy.create_node("bench_node"), 0
    executor.add_node(node)
    outer = PublisherEventCallbacks(use_default_callbacks=listeners == "True")
    inner = SubscriptionEventCallbacks(use_default_callbacks=listeners == "True")

    def subscribe(topic: str) -> Any:
        return node.create_subscription(String, topic, lambda _: None, RELIABLE_QOS, event_callbacks=inner)

    for _ in range(TIMES):
        offered = [
            node.create_publisher(String, f"out_{n}", RELIABLE_QOS, event_callbacks=outer) for n in range(TOPICS)
        ]
        asked = [subscribe(f"in_{n}") for n in range(TOPICS)]
        ends = time.monotonic() + 0.05
        while time.monotonic() < ends:
            try:
                executor.spin_once(timeout_sec=0.01)
            except InvalidHandle:
                errors += 1
        for publisher in offered:
            node.destroy_publisher(publisher)
        for subscription in asked:
            node.destroy_subscription(subscription)
    print(json.dumps(errors))


def _beside(other: list[str], this: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.executors"]
    beside = subprocess.Popen([*command, *other], stderr=subprocess.DEVNULL)
    try:
        return subprocess.run(
            [*command, *this], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60
        )
    finally:
        beside.kill()
        beside.wait()


def rows() -> list[dict[str, Any]]:
    """One row per executor and rate, then one per executor."""
    try:
        import rclpy.experimental  # noqa: F401
    except ImportError:
        return [{"missing": "executors: this distribution's rclpy has no events executor"}]
    result: list[dict[str, Any]] = []
    for rate in RATES_HZ:
        costs: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
        for run in range(RUNS):
            for kind in KINDS[:: 1 if run % 2 else -1]:
                costs[kind].append(json.loads(_beside(["send", str(rate)], ["receive", kind]).stdout))
        for kind, figures in costs.items():
            process, thread = np.transpose(figures)
            cost = {"what": f"{kind}, {TOPICS} subscriptions, {rate:g} messages/s"}
            result.append(cost | {"process_ms": _spread(process), "executors_thread_ms": _spread(thread)})
    return [*result, *survival_rows()]


def survival_rows() -> list[dict[str, Any]]:
    """One row per executor, and one for the events executor without rclpy's usual listeners."""
    result = []
    for kind, listeners in (*((kind, True) for kind in KINDS), ("events", False)):
        ended = [_beside(["disturb"], ["survive", kind, str(listeners)]) for _ in range(RUNS)]
        what = f"{kind}, {2 * TOPICS} publishers and subscriptions made and destroyed {TIMES} times"
        result.append({
            "what": what + ("" if listeners else ", that listen for no incompatible quality of service"),
            "runs_that_ended_well": f"{sum(each.returncode == 0 for each in ended)} of {RUNS}",
            "exit_codes": sorted({each.returncode for each in ended}),
            "errors": sum(json.loads(each.stdout) for each in ended if each.returncode == 0),
        })  # fmt: skip
    return result


def _spread(values: np.ndarray) -> str:
    return f"{np.median(values):.3f} ({values.min():.3f} to {values.max():.3f})"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        for each in rows():
            print(each)
    else:
        from bench.ros_context import ros_context

        parts: dict[str, Callable[..., None]] = {each.__name__: each for each in (send, receive, disturb, survive)}
        with ros_context():
            parts[sys.argv[1]](*sys.argv[2:])
