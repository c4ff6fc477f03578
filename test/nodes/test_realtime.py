"""The priority of the thread that gives setpoints: in processes of its own, so that no test inherits it."""

import subprocess
import sys

import pytest

_TICKER = """
import os, threading
from stvla_ros.nodes.kit.threads import Ticker
of_thread, of_child, done = [], [], threading.Event()
def tick():
    of_thread.append(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK)
    child = threading.Thread(target=lambda: of_child.append(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK))
    child.start(); child.join()
    done.set()
ticker = Ticker(0.01, tick, print, PRIORITY)
done.wait(); ticker.stop()
print(of_thread[0], of_child[0], os.sched_getscheduler(0))
"""
_REFUSED = """
import os, resource
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.realtime import check_realtime
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
if os.getuid() == 0:
    os.setuid(65534)
try:
    check_realtime("realtime_priority", 5)
except InputError as error:
    print(error)
"""
USUAL, FIFO = 0, 1


def run(program: str) -> str:
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert not made.stderr, made.stderr
    return made.stdout


def test_the_tickers_thread_alone_has_the_priority() -> None:
    allowed = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))"
    if subprocess.run([sys.executable, "-c", allowed], capture_output=True, timeout=120).returncode:
        pytest.skip("this user may not have a realtime priority")
    assert run(_TICKER.replace("PRIORITY", "5")).split() == [str(FIFO), str(USUAL), str(USUAL)]


def test_without_one_nothing_is_changed() -> None:
    assert run(_TICKER.replace("PRIORITY", "0")).split() == [str(USUAL)] * 3


def test_what_the_machine_does_not_allow_is_refused_in_one_line_that_says_how_to_allow_it() -> None:
    line = run(_REFUSED)
    assert line.startswith("parameter realtime_priority: 5 is not allowed to this user (Operation not permitted; ")
    assert "docs/how-to/run-a-robot.md" in line and line.count("\n") == 1
