"""The protocol between an environment's worker process and its client, over a stream socket.

A message consists of the length of a JSON header (4 bytes, big-endian), the header, and the raw bytes of the arrays
that the header mentions, in order. Nothing is pickled: reading a message never runs code from the other side.
"""

import json
import math
import re
import socket
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.sim.environment import EnvironmentInfo, Observation, StepResult

_LENGTH = struct.Struct("!I")
_MAX_HEADER = 16 << 20
_MAX_ARRAYS = 1 << 30
_ARRAY = "$array"
# Booleans, whole numbers, floating-point numbers, as NumPy writes them.
_NUMBERS = re.compile(r"[<>|][biuf][1248]")


class ConnectionClosed(Exception):
    """The peer closed the connection, or died."""


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message: JSON values and numpy arrays of numbers, in dicts (string keys), lists and tuples.

    :raises TypeError: for anything else.
    :raises ConnectionClosed: when the other side is gone.
    """
    arrays: list[np.ndarray] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biuf":
                raise TypeError(f"arrays of {value.dtype} cannot be sent")
            arrays.append(np.ascontiguousarray(value))
            return {_ARRAY: [value.dtype.str, list(value.shape)]}
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value.item() if isinstance(value, np.generic) else value

    header = json.dumps(plain(message)).encode()
    try:
        connection.sendall(_LENGTH.pack(len(header)) + header)
        for array in arrays:
            connection.sendall(array.reshape(-1).view(np.uint8).data)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ConnectionClosed from error


def receive(connection: socket.socket, timeout_s: float | None = None) -> dict[str, Any]:
    """The next message, with the arrays in place.

    :param timeout_s: time for the whole message; None waits for ever.
    :raises ConnectionClosed: when the other side is gone.
    :raises TimeoutError: when the message is not complete in time.
    :raises ValueError: for bytes that are not a message.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size, deadline))
    if length > _MAX_HEADER:
        raise ValueError(f"message header of {length} bytes")

    left = _MAX_ARRAYS

    def filled(value: Any) -> Any:
        nonlocal left
        if isinstance(value, dict):
            if _ARRAY in value:
                array = _array(connection, value[_ARRAY], deadline, left)
                left -= array.nbytes
                return array
            return {key: filled(item) for key, item in value.items()}
        return [filled(item) for item in value] if isinstance(value, list) else value

    try:
        message = filled(json.loads(_read(connection, length, deadline)))
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"message header: {error}") from error
    if not isinstance(message, dict):
        raise ValueError(f"expected a message, got {type(message).__name__}")
    return message


def _array(connection: socket.socket, description: Any, deadline: float, most: int) -> np.ndarray:
    name, shape = description
    # Read strictly: NumPy accepts much more in a text, even parts of Python's syntax.
    if not re.fullmatch(_NUMBERS, name) or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"array of {name} with shape {shape}")
    dtype = np.dtype(name)
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(f"array of {dtype} with shape {shape}")
    return np.frombuffer(_read(connection, size, deadline), dtype).reshape(shape)


def _read(connection: socket.socket, size: int, deadline: float) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(None if left == math.inf else left)
        try:
            count = connection.recv_into(view)
        except ConnectionResetError as error:
            raise ConnectionClosed from error
        if count == 0:
            raise ConnectionClosed
        view = view[count:]
    connection.settimeout(None)
    return data


def info_to_message(info: EnvironmentInfo) -> dict[str, Any]:
    return {**vars(info), "urdf": None if info.urdf is None else str(info.urdf)}


def info_from_message(message: dict[str, Any]) -> EnvironmentInfo:
    return EnvironmentInfo(**{**message, "urdf": None if message["urdf"] is None else Path(message["urdf"])})


def observation_to_message(observation: Observation) -> dict[str, Any]:
    return {**vars(observation), "base_from_link": dict(observation.base_from_link)}


def observation_from_message(message: dict[str, Any]) -> Observation:
    return Observation(**{**message, "joint_names": tuple(message["joint_names"])})


def step_to_message(result: StepResult) -> dict[str, Any]:
    return {"observation": observation_to_message(result.observation), "success": bool(result.success)}


def step_from_message(message: dict[str, Any]) -> StepResult:
    return StepResult(observation_from_message(message["observation"]), message["success"])


def action_to_message(action: EndEffectorAction) -> dict[str, Any]:
    return dict(vars(action))


def action_from_message(message: dict[str, Any]) -> EndEffectorAction:
    return EndEffectorAction(**message)
