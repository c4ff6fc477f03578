"""``make layers``: the layers of stvla_ros, their imports of each other, and the imports that break the rules.

The layers are those of .importlinter. Every import counts, also those inside functions.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp
from importlinter import api

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "stvla_ros"


def contract_layers(container: str = PACKAGE) -> list[list[str]]:
    """The layers from the top: the parts of ``container`` on each level, by the contract."""
    contracts = api.read_configuration(str(ROOT / ".importlinter"))["contracts_options"]
    contract = next(each for each in contracts if each.get("containers") == container)
    return [[part.strip() for part in level.replace(":", "|").split("|")] for level in contract["layers"]]


def import_graph() -> dict[str, set[str]]:
    """For each module, the modules of the package that it imports."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of modules that all reach each other."""
    from networkx import DiGraph, strongly_connected_components

    graph = DiGraph([(module, other) for module, others in imports.items() for other in others])
    return sorted(sorted(group) for group in strongly_connected_components(graph) if len(group) > 1)


def part_of(module: str, container: str) -> str:
    """The part of ``container`` that a module belongs to; empty for other modules, and for the container itself."""
    inside = module.startswith(f"{container}.")
    return module.removeprefix(f"{container}.").split(".")[0] if inside else ""


def arrows(imports: Mapping[str, Iterable[str]], container: str) -> Counter[tuple[str, str]]:
    """The number of imports from one part of ``container`` to another."""
    counted: Counter[tuple[str, str]] = Counter()
    for module, others in imports.items():
        for other in others:
            ends = part_of(module, container), part_of(other, container)
            if all(ends) and ends[0] != ends[1]:
                counted[ends] += 1
    return counted


def upward(imports: Mapping[str, Iterable[str]], container: str) -> list[str]:
    """Imports from a part to one above it, or to one beside it on its level."""
    level = {part: number for number, parts in enumerate(contract_layers(container)) for part in parts}
    found = []
    for module, others in imports.items():
        for other in others:
            one, another = part_of(module, container), part_of(other, container)
            if one and another and one != another and level[one] >= level[another]:
                found.append(f"{module} -> {other}")
    return sorted(found)


def same_names(modules: Iterable[str]) -> dict[str, list[str]]:
    """Names that several modules have, with these modules."""
    by_name = defaultdict(list)
    for module in sorted(modules):
        file = ROOT / module.replace(".", "/")
        if not file.is_dir():
            by_name[file.name].append(module.removeprefix(f"{PACKAGE}."))
    return {name: places for name, places in by_name.items() if len(places) > 1}


def size(part: str) -> tuple[int, int]:
    """Number of files and lines in a module or folder, given as ``a.b``."""
    place = ROOT / part.replace(".", "/")
    texts = [file.read_text() for file in (place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])]
    return sum(bool(text) for text in texts), sum(len(text.splitlines()) for text in texts)


def draw(imports: Mapping[str, Iterable[str]], container: str) -> str:
    """One line for each part, from the top: its level, its size and the parts that it imports."""
    to_others = arrows(imports, container)
    lines = []
    for number, parts in enumerate(contract_layers(container), 1):
        for part in parts:
            files, length = size(f"{container}.{part}")
            imported = ", ".join(f"{to} {count}" for (one, to), count in sorted(to_others.items()) if one == part)
            lines.append(
                f"{number:>5}  {part:<14}{files:>6}{length:>8}  {'-> ' + imported if imported else ''}".rstrip()
            )
    return "\n".join([f"level  {container.split('.')[-1] + '/':<14}{'files':>6}{'lines':>8}  imports of", *lines])


def main() -> None:
    imports = import_graph()
    print(draw(imports, PACKAGE), draw(imports, f"{PACKAGE}.nodes"), sep="\n\n")
    found = {
        "imports that run upwards": [*upward(imports, PACKAGE), *upward(imports, f"{PACKAGE}.nodes")],
        "circles of modules": [" <-> ".join(group) for group in circles(imports)],
        "names of several modules": [f"{name}: {', '.join(places)}" for name, places in same_names(imports).items()],
    }
    for title, entries in found.items():
        print("", f"{title}: {len(entries)}", *(f"  {entry}" for entry in entries), sep="\n")


if __name__ == "__main__":
    main()
