"""Finds the tests that are nearest to a file, by their imports."""

import ast
from functools import cache
from pathlib import Path

# Test helpers that start node processes, and their parts: slow, and they may fail on a busy machine.
_GRAPHS = {"live_graph", "node_process", "probe", "started_graph", "start_graph"}
# Runs a node's own callbacks in the test's process, with functions of some of these helpers.
_IN_PROCESS = {"node_bench"}
_FARTHEST = 2


class NearestTests:
    """:param root: folder of the checkout."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._helpers = {path.stem: path for path in sorted((root / "test").rglob("*.py")) if path.stem != "__init__"}
        self._tests = sorted((root / "test").rglob("test_*.py"))

    def of(self, path: str) -> list[str]:
        """Test files, nearest first: those with the file's name, those that import it, and of its package those that
        name it or import a module that imports it. Tests that start node processes are taken only if there are no
        others.
        """
        module = _module(path)
        package = path.split("/")[1]
        ranked = []
        for test in self._tests:
            imported, helpers = self._imports(test)
            graph = bool(helpers & _GRAPHS) and not helpers & _IN_PROCESS
            distance = self._distance(imported, module) or (_FARTHEST if self._names(test, helpers, module) else None)
            named = test.stem == f"test_{Path(path).stem}"
            at_home = test.relative_to(self._root / "test").parts[0] == package
            if distance == 1 or (at_home and distance is not None):
                ranked.append(
                    (graph, not named, distance, not at_home, len(imported), str(test.relative_to(self._root)))
                )
        ranked.sort()
        return [name for graph, *_, name in ranked if graph == ranked[0][0]]

    def _imports(self, test: Path) -> tuple[frozenset[str], frozenset[str]]:
        """Modules of the package that a test file or a helper of it imports, and those helpers."""
        modules: set[str] = set()
        helpers: set[str] = set()
        waiting = [test, *(parent / "conftest.py" for parent in test.parents if (parent / "conftest.py").is_file())]
        while waiting:
            names = _imported(waiting.pop())
            modules |= {name for name in names if name.startswith("stvla_ros")}
            for name in names:
                first = name.split(".")[0]
                if first in self._helpers and first not in helpers:
                    helpers.add(first)
                    waiting.append(self._helpers[first])
        return frozenset(modules), frozenset(helpers)

    def _names(self, test: Path, helpers: frozenset[str], module: str) -> bool:
        """Whether a text in them names the module: registries import by name, and executables have names."""
        word = f'"{module.rsplit(".", 1)[-1]}"'
        return any(word in path.read_text() for path in (test, *(self._helpers[name] for name in helpers - _GRAPHS)))

    def _distance(self, modules: frozenset[str], wanted: str) -> int | None:
        for distance in range(1, _FARTHEST + 1):
            if wanted in modules:
                return distance
            modules = frozenset().union(*(self._imported_by(module) for module in modules))
        return None

    def _imported_by(self, module: str) -> frozenset[str]:
        path = self._root / module.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return _imported(file)
        return frozenset()


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _imported(path: Path) -> frozenset[str]:
    """Names of modules. Of `from a import b` both a and a.b, because b may be a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)
