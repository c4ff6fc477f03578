"""Makes docs/reference/{nodes,messages,commands}.md from the code: from the nodes' own reports, the files of msg/, srv/
and action/, and the classes of the commands' arguments.

    python -m tools.reference                  all three pages anew (nodes: a minute or two, with a simulator)
    python -m tools.reference messages commands
"""

import argparse
import dataclasses
import importlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args, get_origin, get_type_hints

from stvla_ros.cli import GROUPS, Command
from stvla_ros.graph.arguments import field_docstrings
from stvla_ros.settings import ranges
from tools.asked_nodes import AskedNode, DeclaredParameter, ask, usual_nodes

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
_MADE = "<!-- Made by `python -m tools.reference`; test/test_reference.py compares it with the code. -->"
# Names that every node has through rclpy and nodes/kit/base.py.
_OF_EVERY_NODE = {"/rosout", "/parameter_events", "/diagnostics", "/clock", "~/transition_event"} | {
    f"~/{service}"
    for service in (
        *("change_state", "get_state", "get_available_states", "get_available_transitions", "get_transition_graph"),
        *("list_parameters", "describe_parameters", "get_parameters", "get_parameter_types", "set_parameters"),
        *("set_parameters_atomically", "get_type_description"),
    )
}
_RULES = (("topics", "publish", "subscribe"), ("services", "reply", "request"), ("actions", "execute", "call"))
_DOES = {
    ("topics", "publish"): "publishes",
    ("topics", "subscribe"): "subscribes to",
    ("services", "reply"): "serves",
    ("services", "request"): "calls",
    ("actions", "execute"): "executes",
    ("actions", "call"): "sends goals to",
}
_BY = {
    "publish": "published by",
    "subscribe": "subscribed to by",
    "reply": "served by",
    "request": "called by",
    "execute": "executed by",
    "call": "goals from",
}
_KINDS = {bool: "`true`, `false`", str: "text", int: "whole number", float: "number", Path: "path"}
_COMMON_PARAMETERS = ("autostart", "input_timeout", "run")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; empty without rows."""
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles), *lines, ""] if lines else []


def code(text: str) -> str:
    return f"`{text}`"


def codes(names: Iterable[str]) -> str:
    return ", ".join(map(code, sorted(names)))


# --- nodes -----------------------------------------------------------------------------------------------------------


def process_section(executable: str, nodes: Iterable[AskedNode]) -> str:
    """The page's section about one process.

    :param nodes: nodes of this executable; each may have been asked in several settings.
    """
    by_name: dict[str, list[AskedNode]] = defaultdict(list)
    for node in nodes:
        by_name[node.name].append(node)
    lines = [f"### {executable}", ""]
    for name, same in by_name.items():
        lines += [f"Node `{name}`:", ""] if list(by_name) != [executable] else []
        lines += [*table(("does", "name", "type"), _entities(same)), *_parameters(same)]
    return "\n".join(lines)


def _entities(nodes: Iterable[AskedNode]) -> Iterator[tuple[str, str, str]]:
    types: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for node in nodes:
        for rule, names in node.entities.items():
            for name in names.keys() - _OF_EVERY_NODE:
                kind, direction = rule
                types[kind, direction, name] |= names[name]
    for rule, does in _DOES.items():
        for *_, name in sorted(key for key in types if key[:2] == rule):
            kind, direction = rule
            yield does, code(name), codes(types[kind, direction, name])


def _parameters(nodes: Iterable[AskedNode]) -> list[str]:
    declared = {name: parameter for node in nodes for name, parameter in node.parameters.items()}
    rows = [
        (code(name), code(_text(parameter.default)), _allowed(parameter), parameter.description)
        for name, parameter in declared.items()
        if name not in _COMMON_PARAMETERS
    ]
    return table(("parameter", "default", "values", "what it is"), rows)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else str(value)


def _allowed(parameter: DeclaredParameter) -> str:
    if parameter.choices:
        return ", ".join(map(code, parameter.choices))
    if parameter.low is not None:
        return f"{parameter.low} to {parameter.high}"
    return _KINDS.get(type(parameter.default), "list")


def overview(sections: Iterable[str]) -> str:
    """Tables of who publishes, serves and takes what, read from the processes' sections."""
    types: dict[tuple[str, str], str] = {}
    users: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for section in sections:
        executable = node = section.partition("\n")[0].removeprefix("### ")
        for line in section.splitlines():
            node = match[1] if (match := re.fullmatch(r"Node `(\w+)`:", line)) else node
            if match := re.fullmatch(r"\| ([a-z ]+) \| `([^`]+)` \| (`.+`) \|", line):
                kind, rule = next(key for key, word in _DOES.items() if word == match[1])
                name = match[2].replace("~", node)
                types[kind, name] = match[3]
                users[kind, rule, name].add(executable)
    lines = []
    for kind, gives, takes in _RULES:
        rows = [
            (code(name), types[kind, name], codes(users[kind, gives, name]), codes(users[kind, takes, name]))
            for of_kind, name in sorted(types)
            if of_kind == kind
        ]
        titles = (kind.removesuffix("s"), "type", _BY[gives], _BY[takes])
        lines += [f"## {kind.capitalize()}", "", *table(titles, rows)]
    return "\n".join(lines)


def nodes_page(nodes: Iterable[AskedNode]) -> str:
    """:param nodes: nodes, as ``ask`` returns them for ``usual_nodes``."""
    by_executable: dict[str, list[AskedNode]] = defaultdict(list)
    for node in nodes:
        by_executable[node.executable].append(node)
    sections = [process_section(name, by_executable[name]) for name in sorted(by_executable)]
    every = next(iter(by_executable.values()))[0].parameters
    common = [(code(each), code(_text(every[each].default)), every[each].description) for each in _COMMON_PARAMETERS]
    return _page(
        "Nodes: topics, services, actions, parameters",
        "Names are relative: a namespace or a remapping moves them (on a robot `image` is "
        "`camera/camera/color/image_raw`).",
        "`ros2 launch` and `stvla` set what a graph needs.",
        "You need this page for `ros2 run`, for a `params_file`, and for programs of your own. What each topic means:",
        "[design](../design.md). The messages' fields: [messages](messages.md).",
        "",
        "Every node is a lifecycle node (`~/change_state`, …), has the usual parameter services, and publishes",
        "`/diagnostics` and `/rosout`. With `use_sim_time` it subscribes to `/clock`. Parameters are read at the start",
        "and cannot be set later. Every node has:",
        "",
        *table(("parameter", "default", "what it is"), common),
        overview(sections),
        "## Processes",
        "",
        "Each is an executable: `ros2 run stvla_ros NAME`.",
        "",
        *sections,
    )


# --- messages --------------------------------------------------------------------------------------------------------


def messages_page() -> str:
    kinds = ("msg", "srv", "action")
    files = [file for kind in kinds for file in sorted((ROOT / kind).glob(f"*.{kind}"))]
    return _page(
        "Messages, services and actions",
        "Units are SI; frames and rotations follow REP-103. A constant belongs to the field below it.",
        "",
        *(line for file in files for line in _definition(file)),
    )


def _definition(file: Path) -> list[str]:
    lines = [f"## {file.stem}", "", f"`stvla_ros/{file.parent.name}/{file.stem}`", ""]
    sections = file.read_text().split("\n---\n")
    titles = {1: ("",), 2: ("Request", "Response"), 3: ("Goal", "Result", "Feedback")}[len(sections)]
    for title, section in zip(titles, sections):
        above = re.match(r"(?:#.*\n)*", section)[0]
        rows = [_field(line) for line in section.removeprefix(above).splitlines() if line.strip()]
        lines += [*[comment.lstrip("# ") + "  " for comment in above.splitlines()], ""] if above else []
        lines += [f"**{title}**", ""] if title else []
        lines += table(("field", "type", "what it is"), rows)
    return lines


def _field(line: str) -> tuple[str, str, str]:
    """The parts of a definition's line: name (with a constant's value), type, comment."""
    declaration, _, comment = line.partition("#")
    type_, _, name = declaration.strip().partition(" ")
    return code(name.strip()), code(type_), comment.strip()


# --- commands --------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    return _page(
        "Commands and their options",
        "`stvla COMMAND --help` says the same in a terminal. What is true or false is written `--fused` or",
        "`--no-fused`. `ros2 launch stvla_ros sim.launch.py` and `robot.launch.py` take the options of `stvla sim` and",
        "`stvla robot`, written `name:=value` with underscores.",
        "",
        *(line for title, commands in GROUPS.items() for line in _group(title, commands)),
    )


def options_of(kind: type) -> list[str]:
    """The options of a command as they are written: ``--episodes``, ``BAGS``."""
    return [option.strip("`") for option, *_ in _options(kind)]


def _group(title: str, commands: Mapping[str, Command]) -> Iterator[str]:
    yield from (f"## {title[0].upper()}{title[1:]}", "")
    for name, command in commands.items():
        kind = getattr(importlib.import_module(command.module), command.arguments)
        yield from (f"### stvla {name}", "", " ".join((kind.__doc__ or command.summary).split()), "")
        yield from ("```bash", f"stvla {command.example}", "```", "")
        yield from table(("option", "default", "values", "what it is"), _options(kind))


def _options(kind: type, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """The rows of a dataclass's fields, including those of dataclasses in it.

    :param prefix: beginning of the options' names, with its dot.
    """
    texts, hints, limits = field_docstrings(kind), get_type_hints(kind), ranges(kind)
    for field in dataclasses.fields(kind):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _options(hint, f"{name}.")
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        option = name.upper() if _is_positional(kind, field.name) else "--" + _told_name(kind, field.name, name)
        required = default is dataclasses.MISSING
        values = _values(hint)
        if limit := limits.get(field.name):
            values = f"{'several: ' if values.startswith('several') else ''}{limit.low} to {limit.high}"
        yield code(option), "required" if required else _shown(default), values, texts.get(field.name, "")


def _is_positional(kind: type, name: str) -> bool:
    return any("positional" in repr(each).lower() for each in _annotations(kind, name))


def _told_name(kind: type, field: str, name: str) -> str:
    """The name of an option: its annotation's (``tyro.conf.arg``), else that of its field."""
    given = (getattr(each, "name", None) for each in _annotations(kind, field))
    return next(filter(None, given), name.replace("_", "-"))


def _annotations(kind: type, name: str) -> Sequence[Any]:
    return getattr(get_type_hints(kind, include_extras=True)[name], "__metadata__", ())


def _values(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(code(str(value)) for value in get_args(hint))
    if get_args(hint):
        inside = [_values(each) for each in get_args(hint) if each not in (type(None), Ellipsis)]
        several = get_origin(hint) in (tuple, list) or getattr(get_origin(hint), "__name__", "") == "Sequence"
        return ("several: " if several else "") + " or ".join(dict.fromkeys(inside))
    return _KINDS.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(code(str(each)) for each in value) or "none"
    if value is None or value == "":
        return "none"
    return code(_text(value).replace(f"{ROOT}/", ""))


# --- all -------------------------------------------------------------------------------------------------------------


def _page(title: str, *lines: str) -> str:
    return "\n".join([f"# {title}", "", _MADE, "", *lines]).rstrip() + "\n"


def _ask_all() -> str:
    with TemporaryDirectory() as folder:
        return nodes_page(ask(usual_nodes(Path(folder)), Path(folder)))


MAKERS: Mapping[str, Callable[[], str]] = {"nodes": _ask_all, "messages": messages_page, "commands": commands_page}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description="Make generated pages.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"of {', '.join(MAKERS)}; default: all")
    chosen = parser.parse_args().pages or list(MAKERS)
    if unknown := set(chosen) - MAKERS.keys():
        parser.error(f"no page {', '.join(sorted(unknown))}; there are {', '.join(MAKERS)}")
    for name in chosen:
        (PAGES / f"{name}.md").write_text(MAKERS[name]())
        print(f"docs/reference/{name}.md")


if __name__ == "__main__":
    main()
