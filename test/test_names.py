"""One name for one thing: what docs/reference/glossary.md says of modules, functions and classes."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "stvla_ros"
GLOSSARY = REPOSITORY / "docs/reference/glossary.md"
# Every command's module has one; what `stvla` or a node's executable calls.
ENTRIES = {"main"}
# Rooms that are built alike: what plays the same part in each may have the same name.
SIBLINGS = {"policy": {"spatialvla", "st4vla", "ssm_vla"}, "sim": {"maniskill", "simpler_env", "remote"}}


def _modules() -> list[Path]:
    return [file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"]


def test_modules_of_one_name_play_the_part_that_the_glossary_says() -> None:
    section = GLOSSARY.read_text().partition("## Names of modules")[2]
    parts = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    repeated = {
        name for name, count in Counter(Path(place).stem for place in set(map(_place, _modules()))).items() if count > 1
    }
    assert repeated <= parts, f"not in {GLOSSARY.name}: {repeated - parts}"


def test_public_functions_and_classes_of_one_name_stand_in_sibling_rooms() -> None:
    places = defaultdict(set)
    for file in _modules():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(_place(file))
    assert {name: files for name, files in places.items() if len(files) > 1 and name not in ENTRIES} == {}


def _place(file: Path) -> str:
    room, *inner = file.relative_to(PACKAGE).parts
    if inner and inner[0] in SIBLINGS.get(room, ()):
        inner[0] = "*"
    return "/".join([room, *inner])


def test_no_code_uses_a_name_that_the_glossary_has_replaced() -> None:
    rows = re.findall(r"^\|.*\| ([^|]*)\|$", GLOSSARY.read_text().partition("## Names of modules")[0], re.MULTILINE)
    replaced = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert "strategy" in replaced
    found = [
        f"{file.relative_to(REPOSITORY)}: {word}"
        for file in _modules()
        for word in sorted(replaced & _identifiers(file))
    ]
    assert found == []


def _identifiers(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names |= {getattr(node, field) for field in ("id", "attr", "arg", "name") if hasattr(node, field)}
    return names
