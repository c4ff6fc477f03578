"""The full name of the node at the end of a topic."""

from rclpy.topic_endpoint_info import TopicEndpointInfo

# rmw's name for a node that it does not know yet, or for an endpoint without a node.
_UNNAMED = ("_NODE_NAME_UNKNOWN_", "_CREATED_BY_BARE_DDS_APP_")
# What a person is shown in its place.
UNKNOWN_NAME = "unknown name"


def node_of(endpoint: TopicEndpointInfo) -> str:
    """The node's full name; empty when it is not known."""
    if endpoint.node_name in _UNNAMED:
        return ""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def shown_node_of(endpoint: TopicEndpointInfo) -> str:
    """The node's name as text for a person."""
    return node_of(endpoint) or UNKNOWN_NAME
