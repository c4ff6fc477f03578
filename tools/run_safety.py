"""`make test-safety`: runs many examples of each property of the gate and the latch, then a search for sequences of
commands that bring a robot past a limit.

    python tools/run_safety.py [--examples 10000] [--search 650] [--seed 0] [--processes 2]

The examples are drawn in shares, each with a seed of its own and in a process of its own. Results are kept in
out/test-safety under the code's digest, so the same command continues where it was stopped; changed code begins anew.
At the end there is a table with property, examples, seconds and verdict, and for each finding the command that repeats
it. Exit code 1 if there is a finding.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "test-safety"
TESTS = ("test/control/safety", "test/nodes/test_latch_properties.py")
# Files and folders that the verdicts depend on.
CODE = (
    "config/robots", "stvla_ros/control", "stvla_ros/robots", "stvla_ros/nodes/drivers", "stvla_ros/nodes/kit",
    "test/control/safety", "test/examples.py", "test/nodes", "tools/safety_search",
)  # fmt: skip
ROBOTS = ("widowx", "poses")
# Number of examples of each property in a share: some minutes.
SHARE = 500


@dataclass(frozen=True)
class Part:
    """A command whose result is a file.

    :param name: name of the file, also for people.
    :param changed: environment variables that are set.
    :param command: command line; its word ``RESULT`` stands for the file that it writes. Without this word, the printed
        text is the result.
    """

    name: str
    changed: dict[str, str]
    command: tuple[str, ...]

    @property
    def repeat(self) -> str:
        words = [word for word in self.command if not word.startswith(("--junitxml", "-o", "faulthandler"))]
        return " ".join([*(f"{key}={value}" for key, value in self.changed.items()), *words])

    def result(self, folder: Path) -> Path:
        return folder / f"{self.name}.{'xml' if 'junitxml' in ' '.join(self.command) else 'txt'}"


def digest() -> str:
    found = hashlib.sha256()
    for name in CODE:
        files = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]


def parts(examples: int, search: int, seed: int) -> list[Part]:
    found = []
    for number, first in enumerate(range(0, examples, SHARE)):
        changed = {"STVLA_FUZZ_EXAMPLES": str(min(SHARE, examples - first)), "STVLA_FUZZ_SEED": str(seed + number)}
        command = ("python", "-m", "pytest", "-m", "hypothesis", "-o", "faulthandler_timeout=0", "--junitxml=RESULT")
        found.append(Part(f"examples-{changed['STVLA_FUZZ_EXAMPLES']}-{seed + number}", changed, (*command, *TESTS)))
    for robot in ROBOTS:
        words = ("python", "-m", "tools.safety_search", "--robots", robot, "--count", str(search), "--seed", str(seed))
        found.append(Part(f"search-{robot}-{search}-{seed}", {}, words))
    return found


def run(part: Part, folder: Path) -> None:
    """Run a part, unless its result is there; existing results are complete."""
    result = part.result(folder)
    if result.is_file():
        return
    unfinished, printed = folder / f"{part.name}.unfinished", folder / f"{part.name}.log"
    words = [sys.executable, *(word.replace("RESULT", str(unfinished)) for word in part.command[1:])]
    began = time.monotonic()
    with open(printed, "w") as log:
        code = subprocess.run(
            words, cwd=ROOT, env={**os.environ, **part.changed}, stdout=log, stderr=subprocess.STDOUT
        ).returncode
    # Pytest: 0 all passed, 1 some did not. The search has the same codes. Any other code is no verdict.
    if code not in (0, 1):
        print(f"{part.name}: ended with {code}, no result; {printed}", flush=True)
        return
    if digest() != folder.name:
        print(f"{part.name}: the code was changed meanwhile, no result", flush=True)
        return
    if result.suffix == ".txt":
        unfinished.write_text(f"{printed.read_text()}exit code {code}\n")
    unfinished.rename(result)
    print(f"{part.name}: {'good' if code == 0 else 'a finding'}, {time.monotonic() - began:.0f} s", flush=True)


def table(done: list[Part], folder: Path) -> tuple[list[str], list[str]]:
    """The table's lines, and the findings."""
    seconds: dict[str, float] = defaultdict(float)
    examples: dict[str, int] = defaultdict(int)
    broken, findings, searches = set(), [], []
    for part in done:
        result = part.result(folder)
        if result.suffix == ".txt":
            searches.append(result.read_text())
            if not searches[-1].endswith("exit code 0\n"):
                findings.append(f"a limit was broken; {result}\n  {part.repeat}")
            continue
        for case in ET.parse(result).iter("testcase"):
            name = f"{case.get('classname', '').rpartition('.')[2]}: {case.get('name')}"
            seconds[name] += float(case.get("time", 0.0))
            examples[name] += int(part.changed["STVLA_FUZZ_EXAMPLES"])
            if case.find("failure") is not None or case.find("error") is not None:
                broken.add(name)
                findings.append(f"{name}; {result.with_suffix('.log')}\n  {part.repeat}")
    lines = [f"{'examples':>8} {'seconds':>8}  {'verdict':8} property"]
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        lines.append(f"{examples[name]:8} {seconds[name]:8.0f}  {'broken' if name in broken else 'holds':8} {name}")
    return [
        *lines,
        *(line for text in searches for line in text.splitlines() if "broken: nothing" not in line),
    ], findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--examples", type=int, default=10000, help="of each property")
    parser.add_argument("--search", type=int, default=650, help="sequences of each robot")
    parser.add_argument("--seed", type=int, default=0, help="of the first share, and of the search")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    wanted, folder = parts(arguments.examples, arguments.search, arguments.seed), OUT / digest()
    folder.mkdir(parents=True, exist_ok=True)
    before = sum(part.result(folder).is_file() for part in wanted)
    print(f"{folder}: {before} of {len(wanted)} parts are done", flush=True)
    with ThreadPoolExecutor(arguments.processes) as pool:
        list(pool.map(lambda part: run(part, folder), wanted))
    done = [part for part in wanted if part.result(folder).is_file()]
    lines, findings = table(done, folder)
    print("\n".join([*lines, f"{len(done)} of {len(wanted)} parts are done, {len(findings)} findings"]))
    for finding in findings:
        print(f"found: {finding}")
    return int(bool(findings) or len(done) < len(wanted))


if __name__ == "__main__":
    sys.exit(main())
