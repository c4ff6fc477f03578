"""The sources of the topic ``estop``: which of them still say stop, and whether they are still there."""

from collections import deque

# A source that repeats its message does so at least this often, seconds.
_REPEATS_S = 2.0
# Times in seconds: all latched sources answer a new listener within the first; a source that is silent for the second
# has never said anything.
_ANSWER_S, _MOST_ANSWER_S = 1.0, 3.0
# Number of latched sources' messages that are kept for each listener.
_KEPT = 1000


class EstopSources:
    """ROS does not tell who sent a message. So each source is heard in the way in which it can be told from others:

    * A latched source sends its message to every new listener. It is asked again and again, by new listeners.
    * Of all others the newest message counts. If there are several, each stop of the last seconds counts, too: a source
      that keeps saying stop must not be drowned out by another that says the opposite.

    Times are seconds of a steady clock.

    :param heartbeat_s: time of silence after which the sources count as dead; 0: they may be silent.
    """

    def __init__(self, heartbeat_s: float = 0.0) -> None:
        self._heartbeat_s = heartbeat_s
        self._stop, self._stop_at = False, -_REPEATS_S
        self._heard_at: float | None = None
        self._asked_at = 0.0
        self._answers: deque[bool] = deque(maxlen=_KEPT)
        # Messages to the listener before the newest one; None until there was one.
        self._earlier: deque[bool] | None = None

    def heard(self, stop: bool, now: float) -> None:
        """A source sent this message just now."""
        self._stop, self._heard_at = stop, now
        if stop:
            self._stop_at = now

    def answered(self, stop: bool) -> None:
        """A latched source sent this message to the newest listener."""
        self._answers.append(stop)

    def asked(self, now: float) -> None:
        """There is a first listener, to which the latched sources send their messages."""
        self._asked_at, self._earlier = now, None
        self._answers.clear()

    def ask_again(self, latched: int, now: float) -> bool:
        """:returns: whether the newest listener has received everything that it will, so that there should be another
        listener.
        """
        if not self._all_told(latched, now):
            return False
        self._earlier, self._answers = self._answers, deque(maxlen=_KEPT)
        self._asked_at = now
        return True

    def _all_told(self, latched: int, now: float) -> bool:
        age = now - self._asked_at
        return age > _MOST_ANSWER_S or (age > _ANSWER_S and len(self._answers) >= latched)

    def still_stopping(self, latched: int, others: int, now: float) -> str:
        """The reason why the arm must not be released; empty when no present source says stop.

        A source that is gone no longer counts: its stop is latched, and the person who resets must deal with it.

        :param latched, others: number of publishers that can be asked again, and number of all others.
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
        # One source's newest message. With several, nobody knows who sent it: each must have said nothing else.
        return any(words[-1:] if sources == 1 else words)

    @property
    def ever_heard(self) -> bool:
        return self._heard_at is not None

    def silence_s(self, now: float) -> float:
        """The time for which the sources have been silent, if that is too long; infinite before the first message; else
        0.
        """
        if not self._heartbeat_s:
            return 0.0
        silence = float("inf") if self._heard_at is None else now - self._heard_at
        return silence if silence > self._heartbeat_s else 0.0
