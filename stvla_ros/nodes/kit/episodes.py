"""Tells which stamps belong to the running episode, from the topic ``episode_state``."""

from collections import deque
from collections.abc import Callable

from stvla_ros.msg import EpisodeState
from stvla_ros.nodes.kit.base import STATE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import stamp_ns

# Reason under which frames are counted that come after the perception was reset for the next episode.
EARLIER_FRAME = "frame of an earlier episode"
FOREIGN_FRAME = "frame of another run"
# Stamps of another run's frames: of these only the last can still be on their way.
_FOREIGN_KEPT = 256


class Episodes:
    """Follows the episodes of a simulator. All stamps are times of its clock, as are those of its observations.

    If nobody publishes ``episode_state`` (a robot, a recording), every stamp belongs to one episode without an end.

    :param node: node that subscribes.
    :param on_change: function that is called at each begin and each end of an episode, in the executor's thread.
    """

    def __init__(self, node: StvlaNode, on_change: Callable[[], None] = lambda: None) -> None:
        self._node = node
        self._on_change = on_change
        # Stamps in nanoseconds; the end is the stamp of the last observation.
        self._began: int | None = None
        self._ended: int | None = None
        self._foreign: deque[int] = deque(maxlen=_FOREIGN_KEPT)

    def subscribe(self) -> None:
        """Follow the episodes while the node is active."""
        self._node.subscribe(EpisodeState, "episode_state", self._on_state, STATE_QOS, watched=False)

    def refusal(self, stamp: int) -> str:
        """Why the frame with this stamp is not looked at; empty when it is."""
        if stamp in self._foreign:
            return FOREIGN_FRAME
        return EARLIER_FRAME if self.is_earlier(stamp) else ""

    def is_earlier(self, stamp: int) -> bool:
        """Whether this is the stamp of an earlier episode."""
        return self._began is not None and stamp < self._began

    def is_over(self, stamp: int) -> bool:
        """Whether this is the stamp of an earlier episode, or of the newest one that has ended."""
        return self.is_earlier(stamp) or (self._ended is not None and stamp <= self._ended)

    def _on_state(self, state: EpisodeState) -> None:
        if self._node.run.is_foreign(state.run, "topic episode_state"):
            self._foreign.append(stamp_ns(state.header))
            return
        if state.phase == EpisodeState.RUNNING:
            return
        # The newest message counts, even when the simulator's clock was set back.
        stamp = stamp_ns(state.header)
        self._began, self._ended = (stamp, None) if state.phase == EpisodeState.RESETTING else (self._began, stamp)
        self._on_change()
