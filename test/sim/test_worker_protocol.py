"""What a worker and its client say to each other, as bytes."""

import socket

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from stvla_ros.sim.remote import protocol

NUMBERS = st_numpy.arrays(
    dtype=st.sampled_from([np.uint8, np.uint16, np.int64, np.float32, np.float64, np.bool_]),
    shape=st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
KEYS = st.text().filter(lambda key: key != "$array")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@examples(quick=100)
@given(st.dictionaries(st.sampled_from("abc"), VALUES))
def test_what_is_sent_is_what_is_received(message) -> None:
    one, other = socket.socketpair()
    with one, other:
        protocol.send(one, message)
        received = protocol.receive(other, timeout_s=1.0)
    _assert_equal(received, message)


def _assert_equal(one, other) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            _assert_equal(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            _assert_equal(*pair)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


def test_objects_are_not_sent() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(TypeError, match="object"):
        protocol.send(one, {"value": np.array([object()])})


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", b"\0\0\0\1x", b'\0\0\0\x1d{"a": {"$array": ["O", [1]]}}', b"\0\0\0\2[]"]
)
def test_bytes_that_are_no_message_are_refused(data) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(data)
        with pytest.raises(ValueError):
            protocol.receive(other, timeout_s=1.0)


def test_a_truncated_message_is_a_closed_connection() -> None:
    one, other = socket.socketpair()
    with other:
        one.sendall(b"\0\0\0\x10half")
        one.close()
        with pytest.raises(protocol.ConnectionClosed):
            protocol.receive(other, timeout_s=1.0)
