"""ROS domains that nobody is in."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from stvla_ros.errors import InputError

# Safe on Linux whatever the ephemeral ports; people begin to number theirs at 0.
_DOMAINS = range(101, 0, -1)
# RTPS 2.5, section 9.6.2: the first port of a domain, and that of its first process.
_PORT, _PORTS_OF_DOMAIN, _FIRST_PROCESS, _PORTS_OF_PROCESS = 7400, 250, 10, 2
# As many as find each other under LOCALHOST.
_PROCESSES = 32
# Who set one of these reaches other computers, on which a domain that is free here may be taken.
_REACHES_OUT = ("ROS_DISCOVERY_SERVER", "ROS_STATIC_PEERS")


def takes_own_domain(environment: Mapping[str, str]) -> bool:
    """Whether nothing says which domain it is to be, or that other computers are to take part."""
    here = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "") in ("", "LOCALHOST")
    here &= environment.get("ROS_LOCALHOST_ONLY", "") in ("", "1")
    return here and not any(environment.get(name) for name in ("ROS_DOMAIN_ID", *_REACHES_OUT))


@contextmanager
def own_domain() -> Iterator[int]:
    """A domain that nobody on this machine is in, until the end of the block or of the process.

    :raises InputError: when all are taken.
    """
    with ExitStack() as stack:
        for domain in _DOMAINS:
            # Its name is what others are kept out by until the graph's own ports do so.
            mark = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            try:
                mark.bind(f"\0stvla_ros domain {domain}")
            except OSError:
                continue
            if _is_free(domain):
                break
        else:
            raise InputError("ROS_DOMAIN_ID: expected one to be free from 1 to 101, all have processes; set one")
        yield domain


def _is_free(domain: int) -> bool:
    """Whether no process of this machine is in it."""
    first = _PORT + _PORTS_OF_DOMAIN * domain + _FIRST_PROCESS
    try:
        for process in range(_PROCESSES):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
                port.bind(("", first + _PORTS_OF_PROCESS * process))
    except OSError:
        return False
    return True
