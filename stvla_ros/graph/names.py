"""Names of a graph: its namespace, the full names of its nodes and topics, and the topics that are a node's alone."""

import re
from collections.abc import Mapping

from stvla_ros.errors import InputError

_NAMESPACE = re.compile(r"(/[A-Za-z_]\w*)*", re.ASCII)
_FRAME = ("image", "camera_info", "sensor_depth")
_SHOWN = ("traced_depth", "overlay", "trace_markers", "trace_image_markers")
# What each node publishes that no other may, by its own names; test/launch/test_graph_names.py holds it to the nodes
# themselves. What several may publish (tf, diagnostics, a robot's description) is not here.
_ALONE: Mapping[str, tuple[str, ...]] = {
    "tracker": ("traces",),
    "depth": ("depth",),
    "compositor": _SHOWN,
    "perception": ("traces", "depth", *_SHOWN),
    "vla_server": (
        "action_chunk",
        "command",
        "thoughts",
        "thought_marks",
        "thought_text",
        "predicted_image",
        "predicted_depth",
    ),
    "sim_bridge": (*_FRAME, "joint_states", "expert_chunk", "episode_state", "command_verdict"),
    "replay": _FRAME,
    "episode_recorder": ("recorded",),
}
# Of every driver, also those of other packages. Beside them: DriverKind.commands.
OF_DRIVERS = ("command_verdict", "driver_state", "setpoint")


def absolute_namespace(given: str, pushed: str = "") -> str:
    """
    :param given: a namespace, ``left``, ``/left`` or ``cell/left``; empty for none.
    :param pushed: namespace around it (PushRosNamespace of a launch file), in which a relative one lies.
    :returns: with a slash in front and none at the end; empty for the root.
    :raises InputError: for what is no namespace.
    """
    text, around = given.rstrip("/"), pushed.rstrip("/")
    if not text.startswith("/"):
        # A launch file that pushed its own argument `namespace` shows us that argument too: it is not pushed twice.
        inside = not text or around.endswith(f"/{text}")
        text = around if inside else f"{around}/{text}"
    if not _NAMESPACE.fullmatch(text):
        raise InputError(f"namespace: expected one like left or /cell/left, got {given!r}")
    return text


def full_name(name: str, namespace: str, remappings: Mapping[str, str] | None = None) -> str:
    """Of a node, or of a topic that a node calls by this name."""
    renamed = (remappings or {}).get(name, name)
    return renamed if renamed.startswith("/") else f"{namespace}/{renamed}"


def alone(node: str) -> tuple[str, ...]:
    """The topics on which this node of ours alone may publish, by its own names."""
    return _ALONE.get(node, ())


def matches(pattern: str, name: str) -> bool:
    """Whether a key of a parameter file means the node.

    :param pattern: name, full or relative to the root, with ``*`` for one part and ``**`` for any.
    :param name: full name.
    """
    parts = [part for part in pattern.split("/") if part]
    expressions = {"*": "/[^/]+", "**": "(/[^/]+)*"}
    return bool(re.fullmatch("".join(expressions.get(part, f"/{re.escape(part)}") for part in parts), name))
