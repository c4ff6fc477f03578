"""Runs tests in a scratch copy of the checkout, each in a forked process with the heavy libraries loaded."""

import contextlib
import importlib
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from sites import Mutation

_HEAVY = ("numpy", "scipy.spatial.transform", "cv2", "torch", "transformers", "hypothesis", "pytest", "rclpy", "ruckig")
_NO_PYTEST = 99
_LINKED = (".venv", ".ws")


class Scratch:
    """A copy of the files that git knows in a checkout; files are mutated and tests run in it.

    :param root: folder of the checkout.
    :param folder: folder of the copy; must not exist.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            if (root / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name)
        for name in _LINKED:
            if (root / name).exists():
                (folder / name).symlink_to((root / name).resolve())

    @contextlib.contextmanager
    def mutated(self, mutation: Mutation):
        """While the context lasts, the file is mutated."""
        path = self.root / mutation.path
        original = path.read_bytes()
        try:
            self._write(path, mutation.apply(original))
            yield
        finally:
            self._write(path, original)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        # Python tells a compiled file from a newer source by the second and the size, which may be the same.
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def run(self, tests: list[str], timeout_s: float) -> tuple[str, float, str]:
        """Run test files until the first failure.

        :returns: "passed", "failed" or "timeout"; seconds; and the printed text.
        """
        output = self.root / "mutate_output.txt"
        started = time.monotonic()
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._child(tests, output)
        while time.monotonic() - started < timeout_s:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            time.sleep(0.05)
        else:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout", time.monotonic() - started, output.read_text(errors="replace")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the tests left behind
        # 5: no test was collected, for example because all are marked slow.
        code = os.waitstatus_to_exitcode(status)
        if code == _NO_PYTEST:
            raise RuntimeError(f"the tests could not be started: {output.read_text(errors='replace')[-2000:]}")
        return (
            ("passed" if code in (0, 5) else "failed"),
            time.monotonic() - started,
            output.read_text(errors="replace"),
        )

    def _child(self, tests: list[str], output: Path) -> None:
        code = _NO_PYTEST
        try:
            os.setsid()
            os.chdir(self.root)
            # Node processes that the tests start take their code from here, too.
            others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
            os.environ["PYTHONPATH"] = os.pathsep.join([str(self.root), *others[1:]])
            sys.path[:] = [str(self.root), *sys.path[1:]]
            target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for descriptor in (1, 2):
                os.dup2(target, descriptor)
            sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb", buffering=0), write_through=True)
            sys.stderr = sys.stdout
            import pytest

            options = ["-x", "-m", "not slow", "--tb=line", "--hypothesis-seed=0", "-W", "ignore"]
            code = int(pytest.main([*options, *tests]))
        finally:
            os._exit(code)


def load_heavy_libraries() -> None:
    """Load them once, before the runs are forked."""
    for name in _HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
