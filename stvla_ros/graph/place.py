"""Where a graph runs: in a ROS domain of its own, or in one where nobody would be mixed up with it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from stvla_ros.errors import InputError
from stvla_ros.graph.domains import own_domain, takes_own_domain
from stvla_ros.graph.names import full_name
from stvla_ros.graph.specification import Graph

# Of who is there, what fits a line.
_SHOWN = 3


@contextmanager
def place_of(graph: Graph) -> Iterator[tuple[Mapping[str, str], str]]:
    """While the graph runs: what its processes get in their environment beside this one's, and a line for a person,
    empty when there is nothing to tell.

    :raises InputError: when somebody is there already who has a name of a node of the graph, or publishes what one of
        its nodes alone may.
    """
    if graph.own_domain and takes_own_domain(os.environ):
        with own_domain() as domain:
            note = f"in ROS domain {domain}, its own: export ROS_DOMAIN_ID={domain} in a terminal that is to see it"
            yield {"ROS_DOMAIN_ID": str(domain)}, note
    else:
        check_alone(graph)
        yield {}, ""


def check_alone(graph: Graph) -> None:
    """:raises InputError: as :func:`place_of`."""
    from stvla_ros.nodes.kit.others import find_others

    ours = [node for node in graph.nodes if not node.command]
    names = {full_name(name, graph.namespace) for node in ours for name in node.parameters or (node.executable,)}
    topics = {full_name(topic, graph.namespace, node.remappings) for node in ours for topic in node.alone}
    found = find_others(names, {topic for topic in topics if not topic.startswith("~")})
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        domain = os.environ.get("ROS_DOMAIN_ID") or "0"
        raise InputError(
            f"ROS domain {domain}: expected nobody with this graph's names, found: {'; '.join(found[:_SHOWN])}{more}. "
            "End it, or give this graph another ROS_DOMAIN_ID or namespace"
        )
