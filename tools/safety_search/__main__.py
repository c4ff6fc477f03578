"""Searches for sequences of commands and events that bring a robot behind the safety gate past a limit.

    python -m tools.safety_search [--robots widowx poses] [--count 650] [--seed 0]

Prints the number of tried sequences, commands and ticks, and the worst case of each measure. Exit code 1 when a limit
was broken; then the sequence is printed, and `Player.play` repeats it.
"""

import argparse
import sys
import time

from tools.safety_search.robots import ROBOTS
from tools.safety_search.search import Report, search

_TELL_S = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="safety_search", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--robots", nargs="+", choices=list(ROBOTS), default=list(ROBOTS))
    parser.add_argument("--count", type=int, default=650, help="sequences of each robot")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failed = False
    for name in arguments.robots:
        robot = ROBOTS[name]()
        print(f"{name}: {arguments.count} sequences from seed {arguments.seed}; forms of its parts: {robot.forms}")
        report = search(robot, arguments.count, arguments.seed, tell=_Teller(arguments.count))
        print(summary(report))
        for measure in report.broken:
            print(f"broken: {measure}: {report.worst[measure][1]}")
        failed = failed or bool(report.broken)
    return int(failed)


class _Teller:
    def __init__(self, count: int) -> None:
        self._count, self._next = count, time.monotonic() + _TELL_S

    def __call__(self, report: Report) -> None:
        if time.monotonic() > self._next:
            self._next = time.monotonic() + _TELL_S
            print(f"  {report.sequences} of {self._count}; broken: {', '.join(report.broken) or 'nothing'}", flush=True)


def summary(report: Report) -> str:
    lines = [
        f"{report.sequences} sequences, {report.commands} commands, {report.ticks} ticks",
        ", ".join(f"{count} {verdict}" for verdict, count in report.verdicts.most_common()),
        f"{'worst of':24} {'share':>8} {'value':>12} {'allowed':>12}",
    ]
    for measure, (found, _) in report.worst.items():
        lines.append(f"{measure:24} {found.share:8.4f} {found.value:12.6g} {found.allowed:12.6g} {found.unit}")
    speeds = ", ".join(f"{part} {speed:.3f}" for part, speed in report.speeds.items())
    return "\n".join([*lines, f"greatest speed of each part, m/s: {speeds}"])


if __name__ == "__main__":
    sys.exit(main())
