"""The node of a person's command: it asks or listens, and is spun while the command waits."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import set_dds_defaults


class CommandNode:
    """Made by :func:`command_node`."""

    def __init__(self, name: str, namespace: str) -> None:
        self.context = rclpy.Context()
        # Python keeps Ctrl-C: it ends the waiting, and messages to a server after that must still be sent.
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(
            name, namespace=namespace, context=self.context, enable_rosout=False, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def wait(self, done: Callable[[], Any], seconds: float | None) -> bool:
        """Spin until ``done()``; False when it does not come in time.

        :param seconds: largest time; None for as long as it takes.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        while not done():
            if ends is not None and time.monotonic() > ends:
                return False
            self._executor.spin_once(timeout_sec=0.1)
        return True

    def pause(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@contextmanager
def command_node(namespace: str, name: str = "operator") -> Iterator[CommandNode]:
    """
    :param namespace: namespace of the node, such as /left; empty for none.
    :raises InputError: for a namespace without its slash.
    """
    if namespace and not namespace.startswith("/"):
        raise InputError(f"namespace: expected one like /left, got {namespace!r}")
    set_dds_defaults()
    made = CommandNode(name, namespace)
    try:
        yield made
    finally:
        made.close()
