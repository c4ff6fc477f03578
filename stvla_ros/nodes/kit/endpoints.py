"""Which node is at the end of a topic, by its full name."""

from rclpy.topic_endpoint_info import TopicEndpointInfo

# What rmw says of an endpoint whose node it has not heard of yet, or that is no node at all.
_UNNAMED = ("_NODE_NAME_UNKNOWN_", "_CREATED_BY_BARE_DDS_APP_")


def node_of(endpoint: TopicEndpointInfo) -> str:
    """Empty when nobody knows."""
    if endpoint.node_name in _UNNAMED:
        return ""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def shown_node_of(endpoint: TopicEndpointInfo) -> str:
    """For a person."""
    return node_of(endpoint) or "unknown name"
