"""Two machines on one cable: network namespaces of the kernel, and between them a cable that loses, delays and limits.

The cable is a pair of TUN devices, and a process that carries the packets from one to the other, as `tc qdisc … netem`
would: netem is a module of the kernel that containers often lack.
"""

import ctypes
import fcntl
import os
import random
import selectors
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

ADDRESSES = {"robot": "10.78.0.1", "gpu": "10.78.0.2"}
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI, _NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
_MTU = 1500
# Packets that wait: 6 MB, as in a switch; a picture with its depth is 1100 at once. The devices' own queues must hold
# no fewer.
_MOST_WAITING = 4000
# Frame, preamble and gap of Ethernet around an IP packet, bytes.
_AROUND = 38


@dataclass(frozen=True)
class Quality:
    """
    :param loss: share of packets that are lost, each way.
    :param delay_ms: delay of each packet, each way.
    :param mbit_s: bits that pass in a second, each way, in millions; 0 for no limit.
    """

    loss: float = 0.0
    delay_ms: float = 0.0
    mbit_s: float = 0.0


def namespace(place: str) -> str:
    return f"stvla{os.getpid()}{place}"


@contextmanager
def cable(quality: Quality) -> Iterator[subprocess.Popen]:
    """Two namespaces that are joined while the block runs. The process carries the packets; who ends it pulls the plug.

    :raises OSError: where the machine gives no namespaces.
    """
    names = [namespace(place) for place in ADDRESSES]
    relay = None
    try:
        for name in names:
            _ip(f"netns add {name}")
        words = [str(value) for value in astuple(quality)]
        relay = subprocess.Popen([sys.executable, "-m", "bench.cable", *names, *words], stdout=subprocess.PIPE)
        relay.stdout.readline()
        for name, address in zip(names, ADDRESSES.values(), strict=True):
            _ip(f"-n {name} link set lo up")
            _ip(f"-n {name} addr add {address}/24 dev cable")
            _ip(f"-n {name} link set cable mtu {_MTU} txqueuelen {_MOST_WAITING} up")
        yield relay
    finally:
        if relay is not None:
            relay.kill()
            relay.wait()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
            shutil.rmtree(f"/dev/shm/{name}", ignore_errors=True)


def _ip(words: str) -> None:
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {words}: {done.stderr.strip()}")


def _device(name: str) -> int:
    """A TUN device in a namespace, as a file of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as here, open(f"/run/netns/{name}") as there:
        if libc.setns(there.fileno(), _NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"cable", _IFF_TUN | _IFF_NO_PI))
        libc.setns(here.fileno(), _NEWNET)
    return device


class _Way:
    """One direction."""

    def __init__(self, into: int, quality: Quality, seed: int) -> None:
        self._into, self._quality, self._random = into, quality, random.Random(seed)
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0

    def take(self, packet: bytes) -> None:
        quality, now = self._quality, time.monotonic()
        if self._random.random() < quality.loss or len(self._waiting) >= _MOST_WAITING:
            return
        if quality.mbit_s:
            self._free_at = max(self._free_at, now) + 8e-6 * (len(packet) + _AROUND) / quality.mbit_s
        self._waiting.append((max(self._free_at, now) + quality.delay_ms * 1e-3, packet))

    def give(self) -> float | None:
        """Send what is due. :returns: seconds until the next is; None when none waits."""
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            try:
                os.write(self._into, self._waiting.popleft()[1])
            except OSError:
                continue  # the device is not up yet
        return max(0.0, self._waiting[0][0] - now) if self._waiting else None


def carry(names: list[str], quality: Quality) -> None:
    """The process: carries packets until it is killed."""
    devices = [_device(name) for name in names]
    ways = [_Way(devices[1], quality, 0), _Way(devices[0], quality, 1)]
    chosen = selectors.DefaultSelector()
    for device, way in zip(devices, ways, strict=True):
        chosen.register(device, selectors.EVENT_READ, way)
    print("ready", flush=True)
    while True:
        waits = [wait for way in ways if (wait := way.give()) is not None]
        for key, _ in chosen.select(min(waits, default=1.0)):
            try:
                for _ in range(64):
                    key.data.take(os.read(key.fd, 2048))
            except OSError:  # all is read
                pass


if __name__ == "__main__":
    carry(sys.argv[1:3], Quality(*map(float, sys.argv[3:])))
