"""Files that are damaged in every way, and what may come of reading them."""

import copy
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from stvla_ros.errors import InputError

MOST_SECONDS, MOST_BYTES = 5.0, 500_000_000
# Beyond this, an allocation fails: a finding must not take the machine's memory.
_LEEWAY_BYTES = 3_000_000_000


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, text: bool = False) -> bytes:
    """The bytes with a few of them flipped, cut, inserted, doubled or overwritten; or other bytes altogether.

    :param text: insert what means something in YAML, JSON, XML and CSV.
    """
    if draw(st.integers(0, 19)) == 19:
        return draw(st.binary(max_size=200))
    data = bytearray(whole)
    words = st.sampled_from(_WORDS) if text else st.binary(min_size=1, max_size=8)
    for _ in range(draw(st.integers(1, 4))):
        # Near the end and the beginning are the headers and tables of most formats.
        place = draw(st.integers(0, len(data)) | st.integers(0, min(64, len(data))))
        place = draw(st.sampled_from([place, len(data) - place]))
        count = draw(st.integers(1, 16))
        kind = draw(st.sampled_from(["flip", "flip", "insert", "overwrite", "cut out", "double", "cut off"]))
        if kind == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[place:place] = draw(words)
        elif kind == "overwrite":
            data[place : place + count] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f", b"9"])) * count
        elif kind == "cut out":
            del data[place : place + count]
        elif kind == "double":
            data[place:place] = data[place : place + 8 * count]
        elif kind == "cut off":
            del data[place:]
    return bytes(data)


_WORDS = [
    b"\n", b" ", b":", b"-", b"[", b"]", b"{", b"}", b'"', b",", b"<", b">", b"#", b"&a ", b"*a", b"!!int x", b"null",
    b"2020-13-45", b".nan", b"-.inf", b"NaN", b"Infinity", b"1e999", b"0x_", b"9" * 5000, b"[" * 3000, b'{"a":' * 3000,
    b"true", b"-1", b"0", b"\xff\xfe", b"\xed\xa0\x80", b"!!python/object:os.system", b"<<: ", b"? ", b"\\ud800", b"\r",
    b"&a [*a]", b"{<<: [*a, *a]}", b"1" + b":1" * 5000, b"{episode_index:2000000000}", b"../", b"/etc/",
    b"{a.__class__}", b'<!DOCTYPE a [<!ENTITY b "c">]>', b"&b;", b'{"Regex": "(a+)+$"}',
]  # fmt: skip

_DEEP: list = []
for _ in range(200):
    _DEEP = [_DEEP]
scalars = st.sampled_from(
    [None, True, False, 0, 1, -1, 3, 7, 2**31, 2**63, -(2**63), 10**400, 0.0, -0.0, 1e-300, 1e308, float("nan")]
    + [float("inf"), -float("inf"), 0.5, "", " ", "a", "\n", "é", "1", "nan", "1e5", "/", "..", "x" * 300]
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "x"]), inner, max_size=3),
    max_leaves=6,
) | st.sampled_from([_DEEP, [[0.0] * 3] * 3, [1, 2, 3, 4, 5, 6, 7]])


@st.composite
def changed_tree(draw: st.DrawFn, document: Any) -> Any:
    """A document as of JSON or YAML, of which a few values are others, are missing, or stand in other places."""
    if draw(st.integers(0, 29)) == 29:
        return draw(trees)
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        parent, key = None, None
        node = document
        # Down to a random place; short ways are as likely as long ones.
        for _ in range(draw(st.integers(1, 6))):
            if not isinstance(node, dict | list) or not node:
                break
            keys = sorted(node, key=str) if isinstance(node, dict) else range(len(node))
            parent, key = node, keys[draw(st.integers(0, len(keys) - 1))]
            node = parent[key]
        if parent is None:
            continue
        kind = draw(st.sampled_from(["other", "other", "other", "missing", "new", "moved"]))
        if kind == "other":
            parent[key] = copy.deepcopy(draw(trees))  # what is sampled is one object for all examples
        elif kind == "missing":
            del parent[key]
        elif kind == "new" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["new", "", "new\nline", "a.b", "__class__"]))] = copy.deepcopy(draw(trees))
        elif kind == "moved":
            parent[key] = [copy.deepcopy(parent[key])] * draw(st.integers(0, 3))
    return document


def _resident(field: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def _too_long(*_: object) -> None:
    raise AssertionError(f"it takes more than {MOST_SECONDS:g} s")


@contextmanager
def only_bad_input(*named: str) -> Iterator[None]:
    """Nothing may come out of this but an ``InputError`` of one line, soon, and without much memory.

    :param named: what the line must contain, one of them.
    """
    before = _resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_resident("VmSize") + _LEEWAY_BYTES, limits[1]))
    # The processor's time, not the wall's: the machine may be busy with other things.
    handler = signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    started = time.process_time()
    try:
        yield
    except InputError as error:
        text = str(error)
        assert len(text.splitlines()) == 1, repr(text)
        assert any(name in text for name in named), f"none of {', '.join(named)} in: {text}"
        assert len(text) < 2100
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert time.process_time() - started < MOST_SECONDS
    taken = _resident("VmHWM") - before
    assert taken < MOST_BYTES, f"it takes {taken / 1e6:.0f} MB"
