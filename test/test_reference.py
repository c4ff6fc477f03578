"""The pages that ``python -m tools.reference`` makes are as the code is. What nodes say of themselves is compared in
tools/test_security_policy.py, which asks them anyway.
"""

import re
from pathlib import Path

import pytest

from stvla_ros.nodes.executables import executables
from tools import reference
from tools.asked_nodes import AskedNode, DeclaredParameter

AGAIN = "the code has changed: python -m tools.reference messages commands"


def _sections() -> list[str]:
    return [f"### {each}" for each in (reference.PAGES / "nodes.md").read_text().split("\n### ")[1:]]


@pytest.mark.parametrize("page", ["messages", "commands"])
def test_the_page_is_as_the_code_is(page: str) -> None:
    assert (reference.PAGES / f"{page}.md").read_text() == reference.MAKERS[page](), AGAIN


def test_every_executable_has_a_section() -> None:
    assert [section.partition("\n")[0] for section in _sections()] == [f"### {name}" for name in sorted(executables())]


def test_the_tables_of_topics_services_and_actions_follow_from_the_sections() -> None:
    assert reference.overview(_sections()) in (reference.PAGES / "nodes.md").read_text()


def test_a_section_tells_topics_with_types_and_parameters_with_defaults_and_ranges() -> None:
    entities = {
        ("topics", "publish"): {"traces": {"stvla_ros/msg/TraceArray"}, "/rosout": {"rcl_interfaces/msg/Log"}},
        ("services", "reply"): {"~/reset": {"std_srvs/srv/Trigger"}, "~/get_state": {"lifecycle_msgs/srv/GetState"}},
    }
    parameters = {
        "buffer": DeclaredParameter(30, "frames in the window", low=2, high=1000),
        "variant": DeclaredParameter("C", "depth of traces", choices=("A", "B", "C")),
    }
    section = reference.process_section("tracker", [AskedNode("tracker", "tracker", entities, parameters)])
    assert section.splitlines() == [
        "### tracker",
        "",
        "| does | name | type |",
        "|---|---|---|",
        "| publishes | `traces` | `stvla_ros/msg/TraceArray` |",
        "| serves | `~/reset` | `std_srvs/srv/Trigger` |",
        "",
        "| parameter | default | values | what it is |",
        "|---|---|---|---|",
        "| `buffer` | `30` | 2 to 1000 | frames in the window |",
        "| `variant` | `C` | `A`, `B`, `C` | depth of traces |",
    ]
    assert "| `tracker/reset` | `std_srvs/srv/Trigger` | `tracker` |  |" in reference.overview([section])


def test_a_service_of_one_node_of_several_in_a_process_has_that_nodes_name() -> None:
    serves = {("services", "reply"): {"~/reset": {"std_srvs/srv/Trigger"}}}
    nodes = [AskedNode("fused", "perception", serves, {}), AskedNode("fused", "vla_server", {}, {})]
    assert "`perception/reset`" in reference.overview([reference.process_section("fused", nodes)])


def test_no_page_names_a_folder_of_the_machine_that_made_it() -> None:
    home = str(Path(reference.ROOT))
    assert [page.name for page in reference.PAGES.glob("*.md") if home in page.read_text()] == []


def test_the_design_says_what_each_topic_means() -> None:
    table = (reference.ROOT / "docs/design.md").read_text().partition("## Topics")[2].partition("\n```")[0]
    meant = {
        name for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    topics = (reference.PAGES / "nodes.md").read_text().partition("## Topics")[2].partition("## Services")[0]
    named = {name.removeprefix("/") for name in re.findall(r"^\| `([^`]+)` \|", topics, re.MULTILINE)}
    # Of a robot's, a camera's or a joystick's own software: docs/how-to/run-a-robot.md.
    foreign = {"joy", "tool_pose", "target_pose", "gripper_command", "gripper_opening"}
    foreign |= {name for name in named if "/" in name or name == "*"}
    assert named - meant - foreign == set()
    assert {name for name in meant if "~" not in name} - named == {"clock", "/diagnostics", "execute_instruction"}
