"""Runs the numeric tests as other processors would compute them, and prints a table: ``make test-kernels``.

torch, oneDNN, MKL, OpenBLAS, OpenCV and NumPy choose their kernels by the processor; each has a variable that restricts
it to those of older ones. A number that a test expects must not depend on that choice.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# Tests that compare numbers. Tests with a graph of nodes or a simulator take long, and show nothing more.
FOLDERS = (
    "test/test_tolerance.py", "test/policy", "test/perception", "test/control", "test/robots", "test/learning",
    "test/evaluation", "test/nodes",
)  # fmt: skip
CHOSEN = "not slow and not live"


def processor_flags() -> frozenset[str]:
    """Instruction sets of this processor, by their names in Linux; empty if they are not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), []))


def settings() -> dict[str, dict[str, str]]:
    """Variables by the setting's name. Settings that force instructions are left out if the processor lacks these: it
    would crash.
    """
    flags, one = processor_flags(), {"OMP_NUM_THREADS": "1"}
    table = {"as it is": one, "two threads": {"OMP_NUM_THREADS": "2"}}
    if "avx2" not in flags:
        return table
    oldest = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX",
        "NPY_DISABLE_CPU_FEATURES": " ".join(np._core._multiarray_umath.__cpu_dispatch__),
    }
    for name, value in oldest.items():
        table[f"{name}={value}"] = {name: value}
    table["all of these"] = oldest
    table["all of these, two threads"] = {**oldest, "OMP_NUM_THREADS": "2"}
    table["ATEN_CPU_CAPABILITY=avx2"] = {"ATEN_CPU_CAPABILITY": "avx2"}
    table["ONEDNN_MAX_CPU_ISA=AVX2"] = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    table["OPENBLAS_CORETYPE=Haswell"] = {"OPENBLAS_CORETYPE": "Haswell"}
    table["MKL_CBWR=COMPATIBLE"] = {"MKL_CBWR": "COMPATIBLE"}
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        table["ATEN_CPU_CAPABILITY=avx512"] = {"ATEN_CPU_CAPABILITY": "avx512"}
        table["ONEDNN_MAX_CPU_ISA=AVX512_CORE"] = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
        table["OPENBLAS_CORETYPE=SkylakeX"] = {"OPENBLAS_CORETYPE": "SkylakeX"}
    return {name: {**one, **variables} for name, variables in table.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="tests to run; without any, all that compare numbers")
    parser.add_argument("--only", metavar="TEXT", help="settings whose name contains this")
    arguments = parser.parse_args()
    chosen = {name: each for name, each in settings().items() if (arguments.only or "") in name}
    if not chosen:
        parser.error(f"--only: expected part of one of {', '.join(settings())}, got {arguments.only!r}")
    command = [sys.executable, "-m", "pytest", "-m", CHOSEN, *(arguments.paths or FOLDERS)]
    failed: list[str] = []
    width = max(map(len, chosen))
    for name, variables in chosen.items():
        begun = time.monotonic()
        run = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
        lines = run.stdout.splitlines() or run.stderr.splitlines() or ["no output"]
        counts = re.sub(r" in [\d.]+s.*", "", lines[-1]).strip("= ")
        print(f"{name:{width}}  {counts}  ({time.monotonic() - begun:.0f} s)", flush=True)
        if run.returncode:
            failed.append(name)
            told = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
            print(*(told or [*lines[-10:], run.stderr[-2000:]]), sep="\n", flush=True)
    print(f"{len(chosen) - len(failed)} of {len(chosen)} settings pass")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
