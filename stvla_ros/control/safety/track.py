"""The motion that is followed, tick by tick: its present state, its stop, and its replacement by another motion."""

from dataclasses import dataclass

import numpy as np

from stvla_ros.control.safety.motion import Motion
from stvla_ros.control.safety.states import State


@dataclass(frozen=True, eq=False)
class Departure:
    """A state in which another motion may begin.

    :param start: state in which it begins.
    :param tick: tick at which that state is reached, counted from the track's first one.
    :param rests: whether the arm stays in that state from then on, so that it is never too late.
    :param generation: generation of the track at that time; with another one, the state is no longer on its path.
    """

    start: State
    tick: int
    rests: bool
    generation: int


class Track:
    """Follows one motion. Not thread-safe.

    :param position: (n,) position at rest.
    """

    def __init__(self, position: np.ndarray) -> None:
        self._ticks = self._generation = 0
        self.rest_at(position)

    def rest_at(self, position: np.ndarray) -> None:
        """Forget all motion."""
        self.state = State.at_rest(position)
        self._motion: Motion | None = None
        self._stop: Motion | None = None
        self._next = 0  # index of the motion's next state
        self._stopping = False
        self.change()

    def change(self) -> None:
        """Make the motion that is being planned now invalid."""
        self._generation += 1

    @property
    def moving(self) -> bool:
        return self._motion is not None

    @property
    def end(self) -> np.ndarray:
        """(n,) position at which the arm comes to rest."""
        return self._motion.states[-1].position if self._motion else self.state.position

    def tick(self) -> None:
        self._ticks += 1
        if self._motion is None:
            return
        self.state, self._stop = self._motion.states[self._next], _stop_of(self._motion, self._next)
        self._next += 1
        if self._next == len(self._motion.states):
            self._motion, self._stop, self._stopping = None, None, False

    def brake(self) -> None:
        """Follow the stop that was checked together with the arm's present state."""
        self.change()
        if self._motion is not None and not self._stopping:
            self._motion, self._next, self._stopping = self._stop, 0, True

    def departure(self, lead_ticks: int | None) -> Departure:
        """The start of a motion that is planned now.

        :param lead_ticks: number of ticks until then, as time for planning; None: the place where the arm comes to
            rest.
        """
        left = len(self._motion.states) - self._next if self._motion else 0
        lead = left if lead_ticks is None else min(lead_ticks, left)
        start = self._motion.states[self._next + lead - 1] if self._motion and lead else self.state
        return Departure(start, self._ticks + lead, lead == left, self._generation)

    def changed(self, departure: Departure) -> bool:
        """Whether the departure's state is no longer on the path."""
        return departure.generation != self._generation

    def past(self, departure: Departure) -> bool:
        """Whether the arm has passed the departure's state."""
        return departure.tick < self._ticks and not departure.rests

    def follow(self, departure: Departure, motion: Motion) -> None:
        """Take over the motion from the departure's state on, which must be neither changed nor past. Until then the
        present motion continues.
        """
        if self._motion is not None:
            before = range(self._next, self._next + departure.tick - self._ticks)
            states = tuple(self._motion.states[number] for number in before)
            stops = tuple(_stop_of(self._motion, number) for number in before)
            motion = Motion((*states, *motion.states), (*stops, *motion.stops))
        self._motion, self._next, self._stopping = motion, 0, False
        self.change()

    @property
    def ticks_left(self) -> int:
        """Number of ticks until the arm rests."""
        return len(self._motion.states) - self._next if self._motion else 0


def _stop_of(motion: Motion, number: int) -> Motion:
    """The way to rest from a motion's state. The rest of a stop is itself a stop."""
    return motion.stops[number] if motion.stops else Motion(motion.states[number + 1 :] or motion.states[number:])
