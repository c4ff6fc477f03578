"""Makes service calls one after the other, without blocking the executor that brings their answers."""

import time
from collections.abc import Generator
from typing import Any

from rclpy.client import Client

from stvla_ros.errors import InputError

# A generator that yields a client and a request, and is sent the response.
Steps = Generator[tuple[Client, Any], Any, None]


class ServiceSequence:
    """
    :param steps: generator of the calls.
    :param timeout_s: time limit of each call.
    """

    def __init__(self, steps: Steps, timeout_s: float) -> None:
        self._steps, self._timeout_s = steps, timeout_s
        self._future: Any = None
        self._begun = False
        self.done = False

    def poll(self) -> None:
        """Continue as far as there are answers; call it repeatedly from the executor's thread until ``done``.

        :raises InputError: when a service does not answer in time, or the steps refuse an answer.
        """
        while not self.done:
            if not self._begun:
                self._begun = True
                self._next(None)
            elif self._future is None:
                # The service did not exist yet.
                if self._client.service_is_ready():
                    self._future = self._client.call_async(self._request)
                else:
                    self._check_time()
                    return
            elif self._future.done():
                self._next(self._future.result())
            else:
                self._check_time()
                return

    def _next(self, response: Any) -> None:
        try:
            self._client, self._request = self._steps.send(response)
        except StopIteration:
            self.done = True
            return
        self._future, self._deadline = None, time.monotonic() + self._timeout_s

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            if self._future is not None:
                self._client.remove_pending_request(self._future)
            raise InputError(
                f"service {self._client.srv_name}: expected an answer within {self._timeout_s:g} s, got none"
            )
