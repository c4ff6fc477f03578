"""config/security/policy.xml: the topics and services that each node may publish, subscribe to, serve and call, in
SROS2's format.

    python -m tools.security_policy                               that file anew, for all nodes as they usually run
    python -m tools.security_policy -o FILE robot OPTIONS…        for what `stvla robot OPTIONS…` starts (or sim)
    python -m tools.security_policy -o FILE -n /left robot …      the same in a namespace

The nodes themselves report what they use (``tools/asked_nodes.py``). Format of the file: ROS 2 design article "Access
Control Policies".
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from stvla_ros.graph.arguments import SimArguments
from stvla_ros.nodes.kit.base import set_dds_defaults
from stvla_ros.shared_files import config_directory
from stvla_ros.sim.tasks import resolve_task
from tools.asked_nodes import AskedNode, ask, started_nodes, usual_nodes

POLICY_FILE = "security/policy.xml"
VERSION = "0.2.0"
# Names by kind of entity and its use; they are relative to the namespace if the node's own are.
Permissions = dict[tuple[str, str], set[str]]
# Permissions by enclave, which is a process, and by node in it.
Enclaves = dict[str, dict[str, Permissions]]

# A person with `ros2` commands and `stvla doctor` may see everything, stop the arm, and call our nodes' services. Those
# commands are nodes themselves, and serve their own parameters (ros2cli's are called _ros2cli_…).
OPERATOR = "operator"
_OPERATORS_OWN = {"/_ros2cli*", "/stvla_doctor/*"}
_HEADER = """ Made by `python -m tools.security_policy`; test/tools/test_security_policy.py compares it with the nodes.
     How to use it: docs/how-to/security.md. """


def enclaves_of(nodes: Iterable[AskedNode]) -> Enclaves:
    """The permissions of each process' nodes: exactly what they use."""
    enclaves: Enclaves = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    for node in nodes:
        for rule, names in node.entities.items():
            enclaves[node.executable][node.name][rule] |= names.keys()
    return enclaves


def with_operator(enclaves: Enclaves) -> Enclaves:
    """The permissions of the nodes, and of the person who resets and stops them, and gives them goals."""
    nodes = {node: rules for profiles in enclaves.values() for node, rules in profiles.items()}
    actions = {name for rules in nodes.values() for name in rules.get(("actions", "execute"), ())}
    # An arm's own, which stand-ins execute: only its driver calls them.
    actions -= {
        name for node, rules in nodes.items() if "driver" in node for name in rules.get(("actions", "call"), ())
    }
    heard = {name for rules in nodes.values() for name in rules.get(("topics", "subscribe"), ())}
    stops = {"estop", "/estop"} & heard
    operator: Permissions = {
        ("topics", "subscribe"): {"/*"},
        ("topics", "publish"): {"/rosout", "/parameter_events", *stops},
        ("services", "request"): {f"{node}/*" for node in nodes},
        ("services", "reply"): _OPERATORS_OWN,
        ("actions", "call"): actions,
    }
    return {**enclaves, OPERATOR: {OPERATOR: operator}}


def as_xml(enclaves: Enclaves, namespace: str = "/") -> str:
    """The policy file. A process' enclave is named after its executable, in the namespace."""
    policy = ElementTree.Element("policy", version=VERSION)
    policy.append(ElementTree.Comment(_HEADER))
    parent = ElementTree.SubElement(policy, "enclaves")
    for executable, profiles in sorted(enclaves.items()):
        enclave = ElementTree.SubElement(parent, "enclave", path=f"{namespace.rstrip('/')}/{executable}")
        inside = ElementTree.SubElement(enclave, "profiles")
        for node, permissions in sorted(profiles.items()):
            profile = ElementTree.SubElement(inside, "profile", ns=namespace, node=node)
            for (kind, rule), names in sorted(permissions.items()):
                if names:
                    listed = ElementTree.SubElement(profile, kind, {rule: "ALLOW"})
                    # Where all names are allowed, the present ones are left out.
                    for name in ["/*"] if "/*" in names else sorted(names):
                        ElementTree.SubElement(listed, kind.removesuffix("s")).text = name
    ElementTree.indent(policy)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(policy, encoding="unicode") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.security_policy", description="SROS2 policy of our nodes.")
    default = config_directory() / POLICY_FILE
    parser.add_argument("-o", "--output", type=Path, default=default, help="file to write (%(default)s)")
    parser.add_argument("-n", "--namespace", default="/", help="of all nodes, like /left (%(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="sim or robot, with the options that it is given")
    given = parser.parse_args()
    if not given.namespace.startswith("/") or given.command[:1] not in ([], ["sim"], ["robot"]):
        parser.error("expected a namespace like /left, and sim, robot or nothing")
    if not given.command and (missing := resolve_task(SimArguments.task)[1]):
        parser.error(missing)
    set_dds_defaults()
    with TemporaryDirectory() as folder:
        nodes = started_nodes(given.command, Path(folder)) if given.command else usual_nodes(Path(folder))
        text = as_xml(with_operator(enclaves_of(ask(nodes, Path(folder)))), given.namespace)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(text)
    print(f"{given.output}: {text.count('<enclave ')} enclaves")


if __name__ == "__main__":
    main()
