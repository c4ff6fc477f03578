"""What the sources of the topic ``estop`` say: who is still pressed, and whether they are still there."""

from collections import deque

# A source that repeats what it says does so at least this often, seconds.
_REPEATS_S = 2.0
# All latched sources answer a new listener within the first of these times, seconds; one that does not within the
# second has never said anything.
_ANSWER_S, _MOST_ANSWER_S = 1.0, 3.0
# Words of latched sources that are kept for each listener.
_KEPT = 1000


class EstopSources:
    """ROS does not tell who sent a message, so each source is heard in the way in which it can be heard for itself:

    * A latched one says its word to everybody who begins to listen. It is asked again and again, by new listeners.
    * Of all others the newest word counts. Where there are several sources, so does each stop of the last seconds: one
      that goes on saying it must not be drowned by another that says the opposite.

    Times are seconds of a steady clock.

    :param heartbeat_s: silence after which the sources count as dead; 0: they may be silent.
    """

    def __init__(self, heartbeat_s: float = 0.0) -> None:
        self._heartbeat_s = heartbeat_s
        self._stop, self._stop_at = False, -_REPEATS_S
        self._heard_at: float | None = None
        self._asked_at = 0.0
        self._answers: deque[bool] = deque(maxlen=_KEPT)
        # What the listener before the newest was told; None until there was one.
        self._earlier: deque[bool] | None = None

    def heard(self, stop: bool, now: float) -> None:
        """Somebody said this just now."""
        self._stop, self._heard_at = stop, now
        if stop:
            self._stop_at = now

    def answered(self, stop: bool) -> None:
        """A latched source said this to the newest listener."""
        self._answers.append(stop)

    def asked(self, now: float) -> None:
        """There is a first listener, to which the latched sources say their word."""
        self._asked_at, self._earlier = now, None
        self._answers.clear()

    def ask_again(self, latched: int, now: float) -> bool:
        """:returns: whether the newest listener was told all that it will be, so that there shall be another."""
        if not self._all_told(latched, now):
            return False
        self._earlier, self._answers = self._answers, deque(maxlen=_KEPT)
        self._asked_at = now
        return True

    def _all_told(self, latched: int, now: float) -> bool:
        age = now - self._asked_at
        return age > _MOST_ANSWER_S or (age > _ANSWER_S and len(self._answers) >= latched)

    def still_stopping(self, latched: int, others: int, now: float) -> str:
        """Why the arm must not be released; empty when no source that is there says stop.

        A source that is gone counts no more: that it said stop is latched, and whoever resets sees to it.

        :param latched, others: how many publishers there are of those that can be asked again, and of all others.
        """
        if others and self._stop:
            return "topic estop: a source still says true"
        if others and latched + others > 1 and (ago := now - self._stop_at) < _REPEATS_S:
            return f"topic estop: one of its {latched + others} sources said true {ago:.1f} s ago"
        if latched and self._earlier is None and not self._all_told(latched, now):
            return "topic estop: its latched sources are being asked; try again"
        if latched and self._latched_stop(latched):
            return "topic estop: a latched source still says true"
        if self._heartbeat_s and self._heard_at is not None and (silence := self.silence_s(now)):
            return f"topic estop: silent for {silence:.2f} s, estop_heartbeat is {self._heartbeat_s:g}"
        return ""

    def _latched_stop(self, sources: int) -> bool:
        words = [*(self._earlier or ()), *self._answers]
        # One source's newest word. Of several, nobody knows whose it is: each must have said nothing else.
        return any(words[-1:] if sources == 1 else words)

    @property
    def ever_heard(self) -> bool:
        return self._heard_at is not None

    def silence_s(self, now: float) -> float:
        """How long the sources have been silent, where that is too long; infinite before the first word; else 0."""
        if not self._heartbeat_s:
            return 0.0
        silence = float("inf") if self._heard_at is None else now - self._heard_at
        return silence if silence > self._heartbeat_s else 0.0
