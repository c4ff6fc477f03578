"""Who may import whom (.importlinter, docs/design.md), on the imports of the whole package."""

import re
import subprocess
import sys

import grimp
from importlinter.cli import lint_imports

from stvla_ros.cli import COMMANDS
from stvla_ros.nodes.executables import executables, module_of
from tools import layers

# It trains.
_WITH_TORCH = {"train"}


def test_imports_keep_to_the_contracts() -> None:
    assert lint_imports(config_filename=str(layers.ROOT / ".importlinter"), no_cache=True) == 0


def test_modules_import_each_other_in_no_circle() -> None:
    assert layers.circles(layers.import_graph()) == []


def test_a_planted_import_upwards_and_a_planted_circle_are_found() -> None:
    imports = layers.import_graph()
    imports["stvla_ros.errors"] = {"stvla_ros.cli"}
    assert "stvla_ros.errors -> stvla_ros.cli" in layers.upward(imports, layers.PACKAGE)
    assert any({"stvla_ros.errors", "stvla_ros.cli"} <= set(circle) for circle in layers.circles(imports))


def test_messages_of_the_package_are_used_where_ros_may_be() -> None:
    # They are made by the build, so that the contracts see an import of the package itself.
    graph = grimp.build_graph(layers.PACKAGE, cache_dir=None)
    for module in graph.find_modules_that_directly_import(layers.PACKAGE):
        details = graph.get_import_details(importer=module, imported=layers.PACKAGE)
        if any(re.match(rf"from {layers.PACKAGE}\.(msg|action|srv) ", each["line_contents"]) for each in details):
            assert module.startswith((f"{layers.PACKAGE}.nodes.", f"{layers.PACKAGE}.doctor.listener")), module


def test_what_runs_no_network_starts_without_torch() -> None:
    commands = [command.module for name, command in COMMANDS.items() if name not in _WITH_TORCH]
    modules = ["stvla_ros.cli", *commands, *map(module_of, executables())]
    program = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    if 'torch' in sys.modules:\n"
        "        sys.exit(f'{module} imports torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
