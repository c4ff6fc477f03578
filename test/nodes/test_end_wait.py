"""A waiting executor ends its wait when a signal comes, and not with whatever happens next."""

import threading
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor

from stvla_ros.nodes.kit.base import end_wait

# Longer than any machine needs.
LONGEST_S = 20.0


@pytest.fixture
def executor() -> Iterator[SingleThreadedExecutor]:
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(rclpy.create_node("idle", context=context))
    yield executor
    executor.shutdown(timeout_sec=0.0)
    rclpy.shutdown(context=context)


def test_an_executor_without_work_ends_its_wait(executor: SingleThreadedExecutor) -> None:
    waits = threading.Thread(target=executor.spin_once, daemon=True)
    waits.start()
    # Before it waits or after: both end the wait.
    end_wait(executor)
    waits.join(LONGEST_S)
    assert not waits.is_alive()
