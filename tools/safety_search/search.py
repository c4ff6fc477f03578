"""Random sequences, and changes of those that came nearest to a limit."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tools.safety_search.measures import MEASURES, Found, Measure, part_speeds
from tools.safety_search.player import Event, Played
from tools.safety_search.robots import Robot

# Number of the worst sequences of each measure that are kept and changed.
_KEPT = 3
_LONGEST = 16
# Share of sequences that are drawn anew; the others are changed from kept ones.
_NEW = 0.35
_REASONS = ("deadman", "joint states", "clock")


@dataclass
class Report:
    """:param worst: worst finding of each measure, with the sequence that led to it.
    :param speeds: greatest speed of each part, m/s.
    """

    robot: str
    sequences: int = 0
    commands: int = 0
    ticks: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    worst: dict[str, tuple[Found, list[Event]]] = field(default_factory=dict)
    speeds: dict[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        return [name for name, (found, _) in self.worst.items() if found.share > 1.0]


def search(
    robot: Robot,
    count: int,
    seed: int,
    measures: Mapping[str, Measure] = MEASURES,
    tell: Callable[[Report], None] = lambda report: None,
) -> Report:
    """
    :param count: number of sequences to play.
    :param tell: function that is called after each.
    """
    draw, report = Draw(random.Random(seed), len(robot.ready)), Report(robot.name)
    kept: dict[str, list[tuple[float, list[Event]]]] = {name: [] for name in measures}
    for _ in range(count):
        pool = [events for name in measures for _, events in kept[name]]
        events = draw.changed(pool) if pool and draw.random.random() > _NEW else draw.sequence()
        player = robot.player()
        player.play(events)
        played = player.end()
        _note(report, played, robot)
        for name, measure in measures.items():
            found = measure(played, robot.scene)
            if found is None:
                continue
            kept[name] = sorted([*kept[name], (found.share, events)], key=lambda each: -each[0])[:_KEPT]
            if name not in report.worst or found.share > report.worst[name][0].share:
                report.worst[name] = (found, events)
        tell(report)
    return report


def _note(report: Report, played: Played, robot: Robot) -> None:
    report.sequences += 1
    report.commands += sum(played.verdicts.values())
    report.ticks += len(played.positions)
    report.verdicts += played.verdicts
    for name, speeds in part_speeds(played, robot.scene).items():
        report.speeds[name] = max(report.speeds.get(name, 0.0), float(speeds.max()))


class Draw:
    """Draws sequences of events. :param coordinates: number of the robot's coordinates."""

    def __init__(self, generator: random.Random, coordinates: int) -> None:
        self.random, self._coordinates = generator, coordinates

    def sequence(self) -> list[Event]:
        events: list[Event] = []
        for _ in range(self.random.randint(2, _LONGEST)):
            events += self._group()
        return events

    def changed(self, pool: Sequence[list[Event]]) -> list[Event]:
        """One of the sequences with a few changes."""
        events = list(self.random.choice(pool))
        for _ in range(self.random.randint(1, 4)):
            place = self.random.randrange(len(events) + 1)
            change = self.random.choice(("insert", "delete", "repeat", "vary", "vary", "vary", "splice"))
            if change == "insert" or not events:
                events.insert(place, self._event())
            elif change == "delete":
                del events[place - 1]
            elif change == "repeat":
                events.insert(place, events[place - 1])
            elif change == "splice":
                other = self.random.choice(pool)
                events[place:] = other[self.random.randrange(len(other)) if other else 0 :]
            else:
                events[place - 1] = self._vary(events[place - 1])
        return events[: 2 * _LONGEST]

    def _group(self) -> list[Event]:
        """An event, often followed by the end of whatever it holds the arm by: otherwise most commands would be
        refused.
        """
        event = self._event()
        reason = "tracking" if event[0] == "yield" else event[1]
        if event[0] in ("held", "inhibit", "yield") and self.random.random() < 0.8:
            return [event, ("ticks", self.random.choice((1, 3, 10, 30))), ("release", reason)]
        if event[0] == "release":
            return [("release", each) for each in (*_REASONS, "tracking")]
        return [event]

    def _event(self) -> Event:
        kind = self.random.choices(
            ("drive", "command", "slowly", "way", "ticks", "held", "inhibit", "release", "yield", "restart", "hand"),
            (8, 3, 3, 2, 4, 2, 1, 3, 1, 1, 0.5),
        )[0]
        action = (self._vector(3, 0.06), self._vector(3, 0.4), self.random.choice((0.0, 0.3, 1.0)))
        if kind == "drive":
            return kind, *action, self.random.randint(1, 12)
        if kind == "command":
            return kind, *action
        if kind == "slowly":
            return kind, *action, self.random.randint(0, 5), self._meanwhile()
        if kind == "way":
            return kind, self._vector(self._coordinates, 0.8), self._meanwhile()
        if kind == "ticks":
            return kind, self.random.choice((1, 2, 3, 5, 8, 15, 60))
        if kind == "held":
            return kind, self.random.choice(_REASONS), self.random.randint(1, 15)
        if kind in ("inhibit", "release"):
            return kind, self.random.choice((*_REASONS, "tracking"))
        if kind == "hand":
            return kind, self.random.random() < 0.5
        if kind == "yield":
            return kind, self._vector(self._coordinates, 0.3), self.random.random() < 0.7
        return kind, self._vector(self._coordinates, 0.05)

    def _meanwhile(self) -> tuple[Event, ...]:
        kinds: list[Event] = [
            ("ticks", self.random.randint(1, 6)),
            ("inhibit", "deadman"),
            ("release", "deadman"),
            ("command", self._vector(3, 0.06), self._vector(3, 0.4), 1.0),
        ]
        return tuple(self.random.choices(kinds, (4, 1, 1, 1), k=self.random.randint(0, 3)))

    def _vector(self, size: int, scale: float) -> tuple[float, ...]:
        """A vector in all directions, along few of them, or far beyond every limit."""
        far = 1e3 if self.random.random() < 0.03 else 1.0
        spread = self.random.choice((0.2, 1.0, 1.0))
        values = [self.random.gauss(0.0, scale * spread) * far for _ in range(size)]
        if self.random.random() < 0.5:
            only = self.random.randrange(size)
            values = [value if number == only else 0.0 for number, value in enumerate(values)]
        return tuple(values)

    def _vary(self, value):
        """The same event with other numbers."""
        if isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return max(0, value + self.random.choice((-2, -1, 0, 1, 2)))
        if isinstance(value, float):
            return value * self.random.gauss(1.0, 0.2) + self.random.gauss(0.0, 0.005)
        return tuple(self._vary(each) for each in value)
