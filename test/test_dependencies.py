"""What is imported is required, and docs/dependencies.md says why it is required."""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs/dependencies.md"
# Modules that are not called like their package.
_PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "importlinter": "import-linter",
    "pinocchio": "pin",
    "yaml": "pyyaml",
}
# What a user installs for one backend or simulator, and the interfaces that are built where Interbotix' are not there.
_OPTIONAL = {
    "cotracker": "co-tracker",
    "tapnet": "tapnet",
    "simpler_env": "simpler_env",
    "mani_skill2_real2sim": "ManiSkill2_real2sim",
}


def _requirements(*names: str) -> set[str]:
    """Names in requirement files, as pip compares them."""
    files = [REPOSITORY / "requirements" / f"{name}.txt" for name in names]
    return {_plain(name) for file in files for name in re.findall(r"^([\w.-]+)", file.read_text(), re.MULTILINE)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imports(*folders: str) -> dict[str, str]:
    """Top-level modules of other people that are imported, and one file that imports each."""
    found = {}
    files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*.py")]
    own = {file.stem for file in files} | {file.parent.name for file in files}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in (each.split(".")[0] for each in names):
                if name not in sys.stdlib_module_names and name not in own:
                    found[name] = str(file.relative_to(REPOSITORY))
    return found


def _ros_packages() -> set[str]:
    manifest = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    return {each.text for each in manifest if each.tag.endswith("depend")} | {"interbotix_xs_msgs", "moveit_msgs"}


def _missing(required: set[str], *folders: str) -> list[str]:
    known = _ros_packages() | set(_OPTIONAL) | {"stvla_ros"}
    return [
        f"{module} ({file})"
        for module, file in sorted(_imports(*folders).items())
        if module not in known and _plain(_PACKAGES.get(module, module)) not in required
    ]


def test_what_the_package_imports_is_required() -> None:
    assert _missing(_requirements("core", "models", "learning", "sim"), "stvla_ros", "launch") == []


def test_what_the_tools_and_benchmarks_import_is_required() -> None:
    assert _missing(_requirements("core", "models", "learning", "sim", "test"), "tools", "bench") == []


def test_the_page_says_why_of_every_requirement() -> None:
    page = _plain(PAGE.read_text())
    required = _requirements("core", "models", "learning", "sim", "test")
    assert [name for name in sorted(required) if name not in page] == []
    assert [name for name in _OPTIONAL.values() if _plain(name) not in page] == []
