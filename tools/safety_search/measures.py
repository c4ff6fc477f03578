"""Measures of a played sequence: each finds its worst value, as a share of the allowed one.

None of them uses the gate, or the classes of its checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.limits import SafetyLimits
from tools.safety_search.oracle import Oracle
from tools.safety_search.player import Played

# Tolerance for the rounding of trajectories: of rates as a share, of positions in radians and metres.
SLACK, TINY = 1e-3, 1e-5
# Tolerance of depths and distances, metres: the oracle's hulls are not the gate's.
HAIR = 2e-4


@dataclass(frozen=True)
class Found:
    """The worst case of one measure in a sequence.

    :param value, allowed: worst value and allowed value, in ``unit``.
    :param tick: number of the tick at which it occurred.
    """

    value: float
    allowed: float
    unit: str
    tick: int

    @property
    def share(self) -> float:
        return self.value / self.allowed


@dataclass(frozen=True, eq=False)
class Scene:
    """:param names: names of the coordinates, in the order of every position."""

    names: tuple[str, ...]
    limits: SafetyLimits
    oracle: Oracle


Measure = Callable[[Played, Scene], Found | None]


def _worst(shares: np.ndarray, allowed: float, unit: str, first: int) -> Found | None:
    """The worst of (k, …) shares of the allowed value, by ticks from ``first`` on."""
    if not shares.size:
        return None
    by_tick = shares.reshape(len(shares), -1).max(axis=1)
    tick = int(by_tick.argmax())
    return Found(float(by_tick[tick]) * allowed, allowed, unit, first + tick)


def _greatest(found: list[Found | None]) -> Found | None:
    return max((each for each in found if each is not None), key=lambda each: each.share, default=None)


def _rate(order: int, name: str) -> Measure:
    def measure(played: Played, scene: Scene) -> Found | None:
        limits = np.array([getattr(scene.limits.joints[joint], name) for joint in scene.names])
        found = []
        for part in played.parts():
            rates = np.abs(np.diff(played.positions[part], n=order, axis=0)) / played.tick_s**order
            found.append(
                _worst(np.maximum(rates - TINY, 0.0) / limits / (1.0 + SLACK), 1.0, "of the limit", part.start)
            )
        return _greatest(found)

    return measure


def _joint_limits(played: Played, scene: Scene) -> Found | None:
    joints, margin = [scene.limits.joints[name] for name in scene.names], scene.limits.joint_margin
    low = np.array([joint.lower + margin for joint in joints])
    high = np.array([joint.upper - margin for joint in joints])
    over = np.maximum(np.maximum(low - played.positions, played.positions - high), 0.0)
    return _never_worse(played, over.max(axis=1), TINY, "rad or m beyond")


def _never_worse(
    played: Played, excess: np.ndarray, hair: float, unit: str, free: np.ndarray | None = None
) -> Found | None:
    """A limit that is broken where a segment begins may be mended, but never broken further.

    :param excess: (t,) amount by which a limit is broken at each tick.
    :param free: (t,) ticks at which it may be broken; afterwards it may be broken as much as at the worst of them.
    """
    found = []
    for part in played.parts():
        bad, allowed = excess[part], excess[part.start]
        loose = np.zeros(len(bad), bool) if free is None else free[part]
        more = np.zeros(len(bad))
        for tick, (value, is_free) in enumerate(zip(bad, loose)):
            if is_free:
                allowed = value if tick and not loose[tick - 1] else max(allowed, value)
            more[tick] = max(0.0, value - allowed)
        found.append(_worst(np.where(loose, 0.0, more) / hair, hair, unit, part.start))
    return _greatest(found)


def _workspace(played: Played, scene: Scene) -> Found | None:
    box, points = scene.limits.workspace, scene.oracle.tools(played.positions)[:, :3, 3]
    excess = np.maximum(np.maximum(box.low - points, points - box.high).max(axis=1), 0.0)
    return _never_worse(played, excess, HAIR, "m outside", played.free)


def _allowance(played: Played, scene: Scene) -> Found | None:
    """Moving parts may be a little outside the workspace, and anywhere on the side from which they reach into it."""
    box, allowance = scene.limits.workspace, scene.limits.workspace_allowance
    low = np.array([-np.inf if value > 0.0 else value - allowance for value in box.low])
    high = np.array([np.inf if value < 0.0 else value + allowance for value in box.high])
    excess = np.zeros(len(played.positions))
    for corners in scene.oracle.corners(played.positions).values():
        excess = np.maximum(excess, np.maximum(low - corners, corners - high).max(axis=(1, 2)))
    return _never_worse(played, excess, HAIR, "m outside", played.free)


def _boxes(played: Played, scene: Scene) -> Found | None:
    depths = scene.oracle.box_depths(played.positions, scene.limits.forbidden)
    return _never_worse(played, depths, HAIR, "m inside")


def _table(played: Played, scene: Scene) -> Found | None:
    height = scene.limits.table_height
    if height is None:
        return None
    lowest = np.min([each[..., 2].min(axis=1) for each in scene.oracle.corners(played.positions).values()], axis=0)
    return _never_worse(played, np.maximum(height - lowest, 0.0), HAIR, "m below")


def _itself(played: Played, scene: Scene) -> Found | None:
    return _never_worse(played, scene.oracle.self_depths(played.positions), HAIR, "m inside")


def part_speeds(played: Played, scene: Scene) -> Mapping[str, np.ndarray]:
    """(t,) speed of each moving part's fastest corner, m/s; 0 where a segment begins."""
    speeds = {}
    for name, corners in scene.oracle.corners(played.positions).items():
        speeds[name] = np.zeros(len(corners))
        for part in played.parts():
            ways = np.linalg.norm(np.diff(corners[part], axis=0), axis=2).max(axis=1)
            speeds[name][part.start + 1 : part.stop] = ways / played.tick_s
    return speeds


def _speed(played: Played, scene: Scene) -> Found | None:
    limit = scene.limits.speed
    fastest = np.max(list(part_speeds(played, scene).values()), axis=0)
    return _worst(fastest / (1.0 + SLACK) / limit, limit, "m/s", 0)


def _turn_rate(played: Played, scene: Scene) -> Found | None:
    limit, turns = scene.limits.tool_turn_rate, scene.oracle.tools(played.positions)[:, :3, :3]
    found = []
    for part in played.parts():
        steps = Rotation.from_matrix(turns[part][1:] @ turns[part][:-1].transpose(0, 2, 1)).magnitude()
        found.append(
            _worst(np.maximum(steps - TINY, 0.0) / played.tick_s / limit / (1.0 + SLACK), limit, "rad/s", part.start)
        )
    return _greatest(found)


def _gripper(played: Played, scene: Scene) -> Found | None:
    limit = scene.limits.gripper_rate
    found = []
    for part in played.parts():
        changes = np.nan_to_num(np.abs(np.diff(played.openings[part])))
        found.append(_worst(changes / played.tick_s / limit / (1.0 + SLACK), limit, "of 1/s", part.start))
    return _greatest(found)


def _stops(played: Played, scene: Scene) -> Found | None:
    worst = max(played.stops, key=lambda stop: stop[1], default=None)
    return worst and Found(worst[1] * played.tick_s, played.period_s, "s to rest", worst[0])


def _lead(played: Played, scene: Scene) -> Found | None:
    """The motion of the arm after its last command."""
    tools, found = scene.oracle.tools(played.positions), []
    for began, ended in played.leads:
        if began == ended:  # scipy's rotations of Ubuntu 22.04 are never none
            continue
        way = np.linalg.norm(tools[began:ended, :3, 3] - tools[began, :3, 3], axis=1)
        turn = Rotation.from_matrix(tools[began:ended, :3, :3] @ tools[began, :3, :3].T).magnitude()
        for distances, step, unit in (
            (way, scene.limits.step_translation, "m after a command"),
            (turn, scene.limits.step_rotation, "rad after a command"),
        ):
            # Twice the largest step, and the rest of the earlier motion before the arm turned to the command.
            found.append(_worst(distances / (2.5 * step), 2.5 * step, unit, began))
    return _greatest(found)


MEASURES: Mapping[str, Measure] = {
    "velocity": _rate(1, "velocity"),
    "acceleration": _rate(2, "acceleration"),
    "jerk": _rate(3, "jerk"),
    "joint limits": _joint_limits,
    "speed of every part": _speed,
    "turn rate of the tool": _turn_rate,
    "workspace": _workspace,
    "room around it": _allowance,
    "forbidden boxes": _boxes,
    "table": _table,
    "the arm itself": _itself,
    "gripper": _gripper,
    "stop": _stops,
    "lead": _lead,
}


def broken(played: Played, scene: Scene, measures: Mapping[str, Measure] = MEASURES) -> list[str]:
    """One line for each limit that the sequence broke."""
    lines = []
    for name, measure in measures.items():
        found = measure(played, scene)
        if found is not None and found.share > 1.0:
            lines.append(f"{name}: {found.value:.6g} {found.unit}, {found.allowed:.6g} allowed, at tick {found.tick}")
    return lines
