"""Topics on which one node alone may speak: what a list of their publishers means for the arm."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# A process that died without a word stays among the publishers until its participant's lease is over: 20 s by DDS, 10 s
# by config/fastdds.xml. Whoever is listed for longer than this lives.
LEASE_S = 25.0


@dataclass(frozen=True)
class Contention:
    """
    :param holds: why nothing must move while it lasts, a line for a person; empty when nothing is wrong.
    :param certain: whether two live nodes are there: it takes a person to say which of them is right.
    """

    holds: str = ""
    certain: bool = False


class ExclusiveTopic:
    """One topic that one node alone may publish on.

    Two publishers of different names are two nodes. Two of one name may be a node that was killed and the one that was
    started in its place, and so may one whose name is not known yet: these count as two when both stay.

    :param topic: its full name.
    :param own: full name of the only node that may publish; empty: any one.
    """

    def __init__(self, topic: str, own: str = "") -> None:
        self._topic, self._own = topic, own
        self._since: float | None = None

    def look(self, publishers: Sequence[str], now_s: float) -> Contention:
        """
        :param publishers: full name of the node of each publisher; empty where it is unknown.
        :param now_s: seconds of a steady clock.
        """
        others = Counter(publishers)
        # Without an own one, the first may be; of the own node one publisher is right.
        others.subtract({self._own or next(iter(publishers), ""): 1})
        others = +others
        if not others:
            self._since = None
            return Contention()
        self._since = now_s if self._since is None else self._since
        named = set(publishers) - {"", self._own}
        certain = len(named) > (not self._own) or now_s - self._since > LEASE_S
        counts = sorted(Counter(publishers).items())
        listed = ", ".join(f"{count} of {name or 'unknown name'}" for name, count in counts)
        expected = f"{self._own} alone" if self._own else "one"
        return Contention(f"topic {self._topic}: expected {expected} to publish, found {listed}", certain)
