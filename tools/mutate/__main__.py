"""Mutation score: the share of small changes in the code that their nearest tests notice.

    python tools/mutate [--count 25] [--seed 0] [--survivors] [--results out/mutations.json] FILE_OR_FOLDER…

Of each argument (default: control, nodes, perception, learning), `count` mutations are drawn by the seed. They are made
one at a time in a scratch copy, and the nearest tests run until one fails. Results are kept at once: the same command
continues where it was stopped, and `--survivors` tries again those that no test noticed.
"""

import argparse
import hashlib
import itertools
import json
import sys
import tempfile
from pathlib import Path

from nearest import NearestTests
from runs import Scratch, load_heavy_libraries
from sites import Mutation, mutations_of

ROOT = Path(__file__).resolve().parents[2]
_NOT_SEEN = ("survived", "no test")
PACKAGES = [f"stvla_ros/{name}" for name in ("control", "nodes", "perception", "learning")]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__.split("\n", 1)[0])
    parser.add_argument("paths", nargs="*", default=PACKAGES, help="files or folders, a sample of each")
    parser.add_argument("--count", type=int, default=25, help="mutations of each argument")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests, unmutated, for one mutation")
    parser.add_argument("--survivors", action="store_true", help="run those again that no test saw")
    parser.add_argument("--list", action="store_true", help="only list the sample and its tests")
    parser.add_argument("--results", type=Path, help="file that keeps them (default: out/mutations.json)")
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout (default: this one)")
    arguments = parser.parse_args()
    arguments.root = arguments.root.resolve()
    arguments.results = arguments.results or arguments.root / "out" / "mutations.json"
    return arguments


def sample(root: Path, path: str, count: int, seed: int) -> list[Mutation]:
    """A sample of one file's or folder's mutations. A mutation's place in the order depends on itself and the seed
    alone, so that a change elsewhere changes no other draw.
    """
    if not (root / path).exists():
        raise SystemExit(f"{path}: expected a file or folder in {root}")
    files = sorted((root / path).rglob("*.py")) if (root / path).is_dir() else [root / path]
    every = [mutation for file in files for mutation in mutations_of(root, str(file.relative_to(root)))]
    every.sort(key=lambda mutation: hashlib.sha256(f"{seed} {mutation.key}".encode()).digest())
    valid = (mutation for mutation in every if mutation.is_python((root / mutation.path).read_bytes()))
    return sorted(itertools.islice(valid, count), key=lambda mutation: (mutation.path, mutation.line))


class Session:
    """The runs of one call, and the results of this and earlier calls."""

    def __init__(self, arguments: argparse.Namespace, scratch: Scratch) -> None:
        self._arguments, self._scratch = arguments, scratch
        self._nearest = NearestTests(arguments.root)
        self._times: dict[str, float | None] = {}
        kept = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
        self.results: dict[str, dict] = kept

    def judge(self, mutation: Mutation) -> dict:
        """Run a mutation, unless its result is known."""
        known = self.results.get(mutation.key)
        if known and not (self._arguments.survivors and known["outcome"] in _NOT_SEEN):
            return known
        tests = self._tests(mutation.path)
        outcome, shown, seconds = "survived", "", 0.0
        if not tests:
            outcome = "no test"
        else:
            with self._scratch.mutated(mutation):
                # A mutation does not count as noticed only because the machine was busy.
                ended, seconds, output = self._scratch.run(
                    tests, 60.0 + 10.0 * sum(self._times[test] for test in tests)
                )
            if ended != "passed":
                outcome = "killed" if ended == "failed" else "timeout"
                shown = next((line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))), "")[:200]
        result = {
            "mutation": str(mutation),
            "outcome": outcome,
            "by": shown,
            "seconds": round(seconds, 1),
            "tests": tests,
        }
        self.results[mutation.key] = result
        self._arguments.results.parent.mkdir(parents=True, exist_ok=True)
        self._arguments.results.write_text(json.dumps(self.results, indent=1, ensure_ascii=False))
        return result

    def _tests(self, path: str) -> list[str]:
        """The nearest tests that pass without a mutation, for as many seconds as given; the first one however long it
        takes.
        """
        chosen, left = [], self._arguments.seconds
        for test in self._nearest.of(path):
            if test not in self._times:
                ended, seconds, output = self._scratch.run([test], 5.0 * self._arguments.seconds)
                self._times[test] = seconds if ended == "passed" else None
                if ended == "failed":
                    print(f"left out, fails unmutated: {test}\n{output[-600:]}", file=sys.stderr)
            seconds = self._times[test]
            if seconds is not None and (seconds <= left or not chosen):
                chosen.append(test)
                left -= seconds
            if left < 1.0:
                break
        return chosen


def main() -> None:
    arguments = parse_arguments()
    samples = {
        path: sample(arguments.root, path.rstrip("/"), arguments.count, arguments.seed) for path in arguments.paths
    }
    if arguments.list:
        nearest = NearestTests(arguments.root)
        for mutation in (mutation for drawn in samples.values() for mutation in drawn):
            print(mutation, *nearest.of(mutation.path), sep="\n    ")
        return
    load_heavy_libraries()
    with tempfile.TemporaryDirectory(prefix="mutate_", ignore_cleanup_errors=True) as folder:
        session = Session(arguments, Scratch(arguments.root, Path(folder) / "checkout"))
        rows = []
        for path, drawn in samples.items():
            outcomes = []
            for mutation in drawn:
                outcomes.append(session.judge(mutation)["outcome"])
                if outcomes[-1] in _NOT_SEEN:
                    print(f"{outcomes[-1]}: {mutation}", flush=True)
            seen = sum(outcome in ("killed", "timeout") for outcome in outcomes)
            rows.append(f"{path}: {len(drawn)} mutations, {seen} seen, {len(drawn) - seen} not")
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
