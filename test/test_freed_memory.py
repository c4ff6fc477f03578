"""What the kernel has to hand out again for blocks of the size of pictures. Each case in a process of its own: the C
library's settings hold for a whole process.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")

REPOSITORY = Path(__file__).parents[1]
ROUNDS = 50
# A node takes a 720p picture and depth, makes an array of each, and frees them with the next frame.
TAKE = f"""
import resource
import numpy as np

def take(megabytes=(2.8, 3.7, 2.8, 3.7)):
    return [np.ones(int(size * 1e6), np.uint8) for size in megabytes]

def page_faults():
    for _ in range(5):
        take()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        take()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / {ROUNDS}
"""


def run_python(code: str, **environment: str) -> str:
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", TAKE + code],
        cwd=REPOSITORY,
        env=usual | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def faults(given: str | None, **environment: str) -> float:
    keep = (
        "" if given is None else f"from stvla_ros.freed_memory import keep_freed_memory; keep_freed_memory({given})\n"
    )
    return float(run_python(keep + "print(page_faults())", **environment))


@pytest.fixture(scope="module")
def usual() -> float:
    """Without any of it."""
    return faults(None)


@pytest.mark.parametrize("given", ["", "whatever_its_size=True"])
def test_blocks_of_pictures_are_not_fetched_from_the_kernel_again(usual, given):
    # 13 MB have 3174 pages of 4 kB.
    assert usual > 1000 and faults(given) < 100


def test_what_is_larger_than_a_picture_goes_back():
    code = """
from stvla_ros.freed_memory import keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

keep_freed_memory()
before = resident()
weights = np.ones(400_000_000, np.uint8)
held = resident() - before
del weights
print(held, resident() - before)
"""
    held, kept = map(int, run_python(code).split())
    assert held > 390e6 and kept < 10e6


@pytest.mark.parametrize(
    "environment",
    [{"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}, {"MALLOC_TOP_PAD_": "131072"}],
    ids=lambda each: next(iter(each)),
)
def test_a_users_own_settings_stay(environment):
    assert faults("", **environment) > 1000


def test_every_nodes_process_keeps_them():
    code = """
import os
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import run

def node():
    raise InputError("no node is wanted")

def ended(code, end=os._exit):
    print(page_faults(), flush=True)
    end(code - 2)

os._exit = ended
run(node)
"""
    pytest.importorskip("rclpy")
    assert float(run_python(code)) < 100
