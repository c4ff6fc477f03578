"""Calls other nodes' ``reset`` services from a thread that is not the executor's."""

import threading
import time
from collections.abc import Sequence

from std_srvs.srv import Trigger

from stvla_ros.nodes.kit.base import StvlaNode

CALL_TIMEOUT_S = 10.0


def wait_for(done: threading.Event, stopping: threading.Event, timeout_s: float) -> bool:
    """Wait for an event from the executor's thread. :returns: whether it came before the time limit and before the
    stop.
    """
    ends = time.monotonic() + timeout_s
    while not done.wait(0.05):
        if stopping.is_set() or time.monotonic() > ends:
            return False
    return True


class ResetServices:
    """Make it in the node's ``configure``.

    :param names: names of the services.
    :param stopping: event that ends all waiting.
    """

    def __init__(self, node: StvlaNode, names: Sequence[str], stopping: threading.Event) -> None:
        self._node, self._stopping = node, stopping
        self._clients = [node.create_client(Trigger, name) for name in names]

    def reset(self, give_up_at: float) -> None:
        """Call one after the other; a service that does not answer is named in the log.

        :param give_up_at: time until which a service is waited for, ``time.monotonic()``.
        """
        for client in self._clients:
            while not client.wait_for_service(timeout_sec=0.5):
                if self._stopping.is_set() or time.monotonic() > give_up_at:
                    return
                self._node.get_logger().info(f"waiting for service {client.srv_name}", throttle_duration_sec=10.0)
            future, done = client.call_async(Trigger.Request()), threading.Event()
            future.add_done_callback(lambda _, done=done: done.set())
            if not wait_for(done, self._stopping, CALL_TIMEOUT_S):
                client.remove_pending_request(future)
                if not self._stopping.is_set():
                    self._node.get_logger().warning(f"service {client.srv_name}: no answer in {CALL_TIMEOUT_S:g} s")
