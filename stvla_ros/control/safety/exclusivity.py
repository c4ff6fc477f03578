"""Topics on which only one node may publish: the consequences of their list of publishers for the arm."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# A process that died suddenly stays among the publishers until its participant's lease ends: 20 s by DDS, 10 s by
# config/fastdds.xml. A publisher that is listed for longer is alive.
LEASE_S = 25.0


@dataclass(frozen=True)
class Contention:
    """
    :param holds: reason in one line why nothing must move while this lasts; empty when nothing is wrong.
    :param certain: whether there are certainly two live nodes: a person must then decide which of them is right.
    """

    holds: str = ""
    certain: bool = False


class ExclusiveTopic:
    """One topic on which only one node may publish.

    Two publishers with different names are two nodes. Two with the same name may be a killed node and its successor; so
    may one whose name is not known yet. These count as two nodes if both stay.

    :param topic: full name of the topic.
    :param own: full name of the only node that may publish; empty if any single node may.
    """

    def __init__(self, topic: str, own: str = "") -> None:
        self._topic, self._own = topic, own
        self._since: float | None = None

    def look(self, publishers: Sequence[str], now_s: float) -> Contention:
        """
        :param publishers: full name of each publisher's node; empty if it is unknown.
        :param now_s: seconds of a steady clock.
        """
        others = Counter(publishers)
        # Without an own node, the first publisher may be the right one; of the own node, one publisher is right.
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
