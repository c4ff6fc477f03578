"""`stvla topics` and `stvla echo`: list a graph's topics and show their messages, also on machines without a `ros2`
command.
"""

import difflib
import sys
import time
from dataclasses import dataclass
from typing import Any

from rclpy.qos import DurabilityPolicy
from tyro.conf import Positional

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.any_topic import is_hidden, load_type, matching_qos, only_type
from stvla_ros.nodes.kit.command_node import CommandNode, command_node
from stvla_ros.nodes.kit.endpoints import shown_node_of
from stvla_ros.nodes.kit.message_text import check_field, field_of, message_lines

# Time for running nodes to be found.
FOUND_WITHIN_S = 2.0
# Seconds without a message after which a line says so.
SILENT_AFTER_S = 5.0
# Kept messages arrive one by one, the oldest first: an old state of a robot must not be taken for its present one.
_KEPT_ARRIVE_WITHIN_S = 0.5
_DEPTH = 10
_MOST_NAMES = 30


@dataclass(frozen=True)
class EchoArguments:
    """Show the messages of a topic, until Ctrl-C. Pictures and long arrays are shown by their first numbers."""

    topic: Positional[str]
    """Name of the topic, such as driver_state or /left/driver_state; `stvla topics` lists them."""
    once: bool = False
    """End after one message; on a topic whose last messages are kept for late listeners, such as driver_state, after
    the newest."""
    field: str = ""
    """Show only this field, such as header.stamp or status.0.name; empty for the whole message."""
    full: bool = False
    """Show all numbers of long arrays, and all of long texts."""


@dataclass(frozen=True)
class TopicsArguments:
    """List the topics that somebody publishes, with their types and publishers."""

    all: bool = False
    """List also the topics of actions and tools, and those with only subscribers."""


def topics(arguments: TopicsArguments) -> int:
    """:returns: exit code: 0 if there is a topic, else 1."""
    with command_node("", "topics") as listener:
        listener.pause(FOUND_WITHIN_S)
        kinds = dict(listener.node.get_topic_names_and_types())
        published = _published(listener)
        if arguments.all:
            published |= {name: [] for name in kinds if name not in published and _listeners(listener, name)}
        else:
            published = {name: nodes for name, nodes in published.items() if not is_hidden(name)}
    if not published:
        print("no topics: expected a running graph (stvla sim, stvla robot), with this ROS_DOMAIN_ID", file=sys.stderr)
        return 1
    width = max(map(len, published))
    for name in sorted(published):
        by = ", ".join(published[name]) or "nobody"
        print(f"{name:<{width}}  {', '.join(kinds.get(name, ()))}  by {by}")
    return 0


def echo(arguments: EchoArguments) -> int:
    """:returns: exit code: 0 after Ctrl-C, or with ``once`` after a message.

    :raises InputError: for a topic that nobody publishes, of several types, or of a package that is not installed; for
        a field that its type lacks.
    """
    topic = f"/{arguments.topic.lstrip('/')}"
    with command_node("", "echo") as listener:
        listener.wait(lambda: topic in _published(listener), FOUND_WITHIN_S)
        publishers = listener.node.get_publishers_info_by_topic(topic)
        if not publishers:
            raise InputError(_nobody(listener, topic))
        kind = load_type(topic, only_type(topic, sorted({each.topic_type for each in publishers})))
        if arguments.field:
            check_field(kind, arguments.field)
        once: list[Any] = []  # the message to show
        heard: list[float] = []  # when the last one came

        def take(message: Any) -> None:
            heard[:] = [time.monotonic()]
            if not arguments.once:
                _show(message, arguments)
            elif kept or not once:
                once[:] = [message]

        qos = matching_qos(publishers, _DEPTH)
        kept = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        listener.node.create_subscription(kind, topic, take, qos)
        try:
            _listen(listener, topic, arguments.once, heard)
            if kept:
                listener.pause(_KEPT_ARRIVE_WITHIN_S)
        except KeyboardInterrupt:
            pass
        for message in once:
            _show(message, arguments)
    return 0


def _show(message: Any, arguments: EchoArguments) -> None:
    value = field_of(message, arguments.field) if arguments.field else message
    print("\n".join([*message_lines(value, arguments.full), "---"]), flush=True)


def _listen(listener: CommandNode, topic: str, once: bool, heard: list[float]) -> None:
    """Wait until the first message, or for ever. A silence is reported once, until it ends."""
    begun, told = time.monotonic(), 0.0
    while not listener.wait(lambda: once and heard, 0.5):
        last = heard[-1] if heard else begun
        if time.monotonic() - last > SILENT_AFTER_S and told < last:
            told = time.monotonic()
            count = listener.node.count_publishers(topic)
            print(f"note: topic {topic}: no message for {SILENT_AFTER_S:g} s ({count} publishers)", file=sys.stderr)


def _published(listener: CommandNode) -> dict[str, list[str]]:
    """The nodes that publish each topic, by its name."""
    own = listener.node.get_fully_qualified_name()
    found = {}
    for name, _ in listener.node.get_topic_names_and_types():
        nodes = {shown_node_of(each) for each in listener.node.get_publishers_info_by_topic(name)} - {own}
        if nodes:
            found[name] = sorted(nodes)
    return found


def _listeners(listener: CommandNode, topic: str) -> list[str]:
    """The nodes that listen to a topic."""
    nodes = {shown_node_of(each) for each in listener.node.get_subscriptions_info_by_topic(topic)}
    return sorted(nodes - {listener.node.get_fully_qualified_name()})


def _nobody(listener: CommandNode, topic: str) -> str:
    """One line about a topic that nobody publishes."""
    names = sorted(name for name in _published(listener) if not is_hidden(name))
    if not names:
        return (
            f"topic {topic}: nobody publishes it, nor anything else; expected a running graph, with this ROS_DOMAIN_ID"
        )
    last = {name.rpartition("/")[2]: name for name in names}
    close = difflib.get_close_matches(topic, names, n=1)
    close = close or [last[each] for each in difflib.get_close_matches(topic.rpartition("/")[2], last, n=1)]
    hint = f" (did you mean {close[0]}?)" if close else ""
    heard = _listeners(listener, topic)
    only = f" ({', '.join(heard)} listens to it)" if heard else ""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"topic {topic}: nobody publishes it{only}{hint}; there are {', '.join(names[:_MOST_NAMES])}{more}"
