"""Messages of a type with any content that can come over the wire."""

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from rosidl_parser.definition import AbstractNestedType, AbstractString, Array, BasicType, NamespacedType
from sensor_msgs.msg import Image
from std_msgs.msg import Header

NOW_NS = 1_700_000_000_000_000_000

_INTEGERS = {f"{sign}int{bits}": (sign, bits) for sign in ("", "u") for bits in (8, 16, 32, 64)} | {"octet": ("u", 8)}

# rclpy replaces what is no UTF-8, so that is how such bytes arrive.
texts = st.sampled_from(["", "a", "base_link", "link_base", "camera", "é\n\t%s{}"]) | st.binary(max_size=12).map(
    lambda octets: octets.decode("utf-8", "replace")
)
doubles = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324]) | st.floats()


_EDGES = np.array([0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-30])


def numbers(length: int, seed: int) -> list[float]:
    """Usual ones, edges, or both. From a seed: hypothesis drawing each of them would take most of the time."""
    random = np.random.default_rng(seed)
    usual = random.normal(0.0, 10.0 ** random.integers(-3, 4), length)
    return np.where(random.random(length) < (0.0, 0.2, 1.0)[seed % 3], random.choice(_EDGES, length), usual).tolist()


def _integers(name: str) -> st.SearchStrategy[int]:
    sign, bits = _INTEGERS[name]
    low, high = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.sampled_from([0, 1, 2, 3, 7, low, high]) | st.integers(low, high)


def _of_type(kind: Any, name: str, known: dict[str, st.SearchStrategy]) -> st.SearchStrategy:
    if isinstance(kind, NamespacedType):
        module = __import__(".".join(kind.namespaces), fromlist=[kind.name])
        return messages(getattr(module, kind.name), **known)
    if isinstance(kind, AbstractString):
        return texts
    if isinstance(kind, BasicType):
        if kind.typename == "boolean":
            return st.booleans()
        if kind.typename == "float":
            return st.sampled_from([0.0, 1.0, np.nan, np.inf, -1.0]) | st.floats(width=32)
        return doubles if kind.typename == "double" else _integers(kind.typename)
    assert isinstance(kind, AbstractNestedType), kind
    if isinstance(kind.value_type, BasicType) and kind.value_type.typename in ("float", "double"):
        lengths = st.just(kind.size) if isinstance(kind, Array) else st.integers(0, 9)
        return st.builds(numbers, lengths, st.integers(0, 1023))
    element = _of_type(kind.value_type, name, known)
    if isinstance(kind, Array):
        return st.lists(element, min_size=kind.size, max_size=kind.size)
    return st.lists(element, max_size=7)


stamps = st.builds(
    Time,
    sec=st.just(NOW_NS // 10**9) | st.sampled_from([0, -1, 2**31 - 1, -(2**31)]) | _integers("int32"),
    nanosec=st.integers(0, 10**9 - 1) | st.sampled_from([0, 10**9, 2**32 - 1]),
)


def messages(kind: type, **known: st.SearchStrategy) -> st.SearchStrategy[Any]:
    """:param known: what fields of this name hold, at any depth, in place of anything."""
    fields = dict(zip(kind.get_fields_and_field_types(), kind.SLOT_TYPES))
    made = {name: known[name] if name in known else _of_type(fields[name], name, known) for name in fields}
    if "sec" in made and kind is Time:
        return stamps
    return st.builds(kind, **made)


def wire(message: Any) -> Any:
    """The message as a subscriber gets it."""
    return deserialize_message(serialize_message(message), type(message))


_SIDES = st.sampled_from([16, 17, 40, 64, 5, 3, 2, 1, 0])
_BYTES = {
    "1": 1, "mono8": 1, "mono16": 2, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "bayer_rggb8": 1, "yuv422": 2,
    "yuv422_yuy2": 2, "uyvy": 2, "16UC1": 2, "32FC1": 4, "64FC1": 8, "8UC3": 3, "32FC3": 12, "8UC99999": 1, "8UC0": 1,
    "16SC2": 4, "": 1, "nonsense": 3, "rgb16": 6,
}  # fmt: skip
_DEPTH_VALUES = np.array([0, np.nan, np.inf, -np.inf, -1, 1e-30, 0.5, 1, 3e38], np.float32)


@st.composite
def images(draw: st.DrawFn, usual: tuple[str, ...]) -> Image:
    """Mostly whole pictures of the usual encodings; else broken in one way or several.

    :param usual: encodings that the topic has.
    """
    encoding = draw(st.sampled_from(usual))
    height, width = draw(_SIDES), draw(_SIDES)
    damage = draw(st.sampled_from(["", "", "", "", "", "", "encoding", "size", "step", "data", "all"]))
    if damage in ("encoding", "all"):
        encoding = draw(st.sampled_from(sorted(_BYTES)) | texts)
    step = width * _BYTES.get(encoding, 1)
    message = Image(encoding=encoding, is_bigendian=draw(st.sampled_from([0, 0, 0, 1, 255])))
    message.header = Header(stamp=draw(stamps), frame_id=draw(texts))
    # A picture's content comes from a seed: hypothesis drawing each byte would take most of the time.
    random = np.random.default_rng(draw(st.integers(0, 63)))
    octets = random.integers(0, 256, step * height, np.uint8)
    if encoding == "32FC1" and octets.size:
        content = draw(st.sampled_from(["metres", "metres", "edges", "octets"]))
        if content == "metres":
            octets = random.uniform(0.0, 3.0, octets.size // 4).astype(np.float32).view(np.uint8)
        elif content == "edges":
            octets = random.choice(_DEPTH_VALUES, octets.size // 4).view(np.uint8)
    if damage in ("step", "all"):
        step = draw(st.sampled_from([0, 1, max(step - 1, 0), step + 1, step * 2, 2**31, 2**32 - 1]))
    if damage in ("data", "all"):
        octets = octets[: draw(st.integers(0, octets.size))] if draw(st.booleans()) else np.append(octets, octets[:9])
    if damage in ("size", "all"):
        height, width = draw(_integers("uint32")), draw(_integers("uint32"))
    message.height, message.width, message.step = height, width, step
    message.data = array("B", octets.tobytes())
    return message


def colour_images() -> st.SearchStrategy[Image]:
    return images(("rgb8", "rgb8", "bgr8", "mono8", "rgba8", "bayer_rggb8"))


def depth_images() -> st.SearchStrategy[Image]:
    return images(("32FC1", "32FC1", "32FC1", "16UC1", "mono16"))
