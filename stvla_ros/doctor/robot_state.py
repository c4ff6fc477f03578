"""Check 6: the messages in which the robot reports its state."""

from collections.abc import Mapping

import numpy as np

from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.doctor.findings import Findings, error, note, ok, warning
from stvla_ros.doctor.records import JointStates, Poses, Stream
from stvla_ros.doctor.streams import (
    CLOCK_ADVICE,
    Timing,
    check_presence,
    check_single_publisher,
    check_timing,
    largest_gap_s,
)
from stvla_ros.graph.names import full_name
from stvla_ros.robots.drivers import DriverNeeds

# Share of the joint states that have a NaN or come late; more cannot be explained by occasional failed reads.
_MANY = 0.2
# The driver refuses a quaternion whose length differs from 1 by more.
_UNIT_TOLERANCE = 1e-2


def check_services(
    services: Mapping[str, str], needs: DriverNeeds, told: bool = False, namespace: str = ""
) -> Findings:
    """
    :param services: types of the present services, by full name.
    :param told: whether another finding already says how to start their provider.
    :param namespace: namespace of the robot, absolute; empty for the root.
    """
    needed = {full_name(name, namespace): kind for name, kind in needs.services.items()}
    lacking = [name for name in needed if name not in services]
    if lacking:
        advice = "start the software that is named above: it offers them" if told else needs.start
        yield error(f"services that the driver calls are not there: {', '.join(lacking)}", advice)
    for name, kind in needed.items():
        if services.get(name, kind) != kind:
            yield error(
                f"service {name}: expected {kind}, it is {services[name]}",
                "end the program that offers it under the name of the robot's own driver",
            )
    if needs.services and not lacking:
        yield ok(f"{len(needs.services)} services that the driver calls are there")


def check_joint_states(states: JointStates, needs: DriverNeeds, limits: SafetyLimits) -> Findings:
    stream = states.stream
    yield from check_presence(stream, needs.start, needs.setting)
    if not stream.count:
        return
    if not needs.joints:
        yield note(f"{stream.topic}: its content is not checked, because the joints come on several topics")
        return
    if not needs.shared_topic:
        yield from check_single_publisher(stream)
    missing = [name for name, there in zip(states.joints, np.any(states.present, axis=0)) if not there]
    if missing:
        yield error(
            f"{stream.topic}: no position of {', '.join(missing)}; it has {', '.join(sorted(states.names)) or 'none'}",
            "name the joints in the robot's file as its driver names them (driver.arm.joints, finger_joint)",
        )
        return
    whole: np.ndarray = np.asarray(states.present.all(axis=1))
    if needs.shared_topic and (states.present.any(axis=1) & ~whole).any():
        yield from _check_parts(states, limits.joint_state_timeout)
        newest = [states.positions[there, joint][-1] for joint, there in enumerate(states.present.T)]
        yield from _check_limits(stream.topic, states.joints, np.array(newest), limits)
        return
    yield from _check_whole(states, whole)
    yield from _check_finite(states, whole)
    usable = whole & np.isfinite(states.positions).all(axis=1)
    own = np.asarray(states.present.any(axis=1))
    yield from _check_rate(stream.only(own), usable[own], limits.joint_state_timeout)
    if usable.any():
        yield from _check_limits(stream.topic, states.joints, states.positions[usable][-1], limits)


def _check_whole(states: JointStates, whole: np.ndarray) -> Findings:
    """Check that each message has all of the arm's joints or none: other publishers may use the same topic."""
    partly = states.present.any(axis=1) & ~whole
    if partly.any():
        yield error(
            f"{states.stream.topic}: {partly.sum()} messages have only some of the joints; the driver stops for each",
            "have one publisher send all of the arm's joints in one message (as joint_state_broadcaster does)",
        )
    strangers = int((~states.present.any(axis=1)).sum())
    if strangers:
        yield note(f"{states.stream.topic}: {strangers} of {states.stream.count} messages are of other joints")


def _check_parts(states: JointStates, timeout_s: float) -> Findings:
    """Parts are put together by the driver: each joint must be said often enough."""
    stream, silent = states.stream, False
    for joint, name in enumerate(states.joints):
        usable = states.present[:, joint] & np.isfinite(states.positions[:, joint])
        gap = largest_gap_s(stream.arrivals_s[usable], stream.listened_s)
        if gap > timeout_s:
            silent = True
            told = f"{stream.topic}: no position of {name} for {gap:.2f} s"
            yield error(
                f"{told}; the driver stops the arm after {timeout_s:g} s",
                "have its publisher send this joint more often",
            )
    yield from _check_age(stream, timeout_s)
    if not silent:
        yield ok(f"{stream.topic}: the joints come in several messages, each often enough")


def _check_finite(states: JointStates, whole: np.ndarray) -> Findings:
    failed = ~np.isfinite(states.positions[whole])
    share = float(failed.any(axis=1).mean()) if whole.any() else 0.0
    if not share:
        return
    names = [name for name, bad in zip(states.joints, failed.any(axis=0)) if bad]
    yield (error if share > _MANY else warning)(
        f"{states.stream.topic}: {share:.0%} of the messages have a NaN ({', '.join(names)}); they are not used",
        "a servo could not be read: see its cable, its power supply and the log of the robot's driver (Interbotix: "
        "latency_timer of the U2D2 1 ms)",
    )


def _check_rate(stream: Stream, usable: np.ndarray, timeout_s: float) -> Findings:
    """Check the rate of the robot's messages, and whether usable ones come often enough."""
    timing = Timing(1.0 / timeout_s, timeout_s, "the driver stops the arm")
    yield from check_timing(stream, timing)
    yield from _check_age(stream, timeout_s)
    gap = largest_gap_s(stream.arrivals_s[usable], stream.listened_s)
    if not usable.all() and gap > timeout_s:
        yield error(
            f"{stream.topic}: nothing that can be used for {gap:.2f} s; the driver stops the arm after {timeout_s:g} s",
            "see the lines about NaN and about missing joints",
        )


def _check_age(stream: Stream, timeout_s: float) -> Findings:
    """Check the age of messages by their stamps, if they have any, as the driver does
    (control/safety/measurements.py).
    """
    old = (stream.stamps_ns != 0) & (stream.ages_s > timeout_s)
    if old.any():
        yield (error if old.mean() > _MANY else warning)(
            f"{stream.topic}: {old.mean():.0%} of the messages are older than {timeout_s:g} s by their stamps, up to "
            f"{stream.ages_s[old].max():.3g} s; they are not used",
            CLOCK_ADVICE,
        )


def _check_limits(topic: str, names: tuple[str, ...], position: np.ndarray, limits: SafetyLimits) -> Findings:
    inside = True
    for name, value in zip(names, position):
        if name not in limits.joints:
            continue  # the finger
        joint, margin = limits.joints[name], limits.joint_margin
        # The same rule as the safety gate's: sensors round, and a hanging arm rests on its stops.
        if not joint.lower - margin <= value <= joint.upper + margin:
            inside = False
            yield error(
                f"{topic}: {name} is at {value:.3f}, beyond its limits {joint.lower:g} to {joint.upper:g}; the driver "
                "will not start",
                "bring the arm within its limits by hand with the torque off, or correct the file's limits",
            )
        elif not joint.lower + margin <= value <= joint.upper - margin:
            inside = False
            yield note(f"{topic}: {name} is at {value:.3f}, at its limit; it can only move away from it")
    if inside:
        yield ok(f"{topic}: the position is within the file's limits")


def check_poses(poses: Poses, needs: DriverNeeds, base_frame: str, limits: SafetyLimits) -> Findings:
    """Checks of a robot that reports its tool's pose instead of joints."""
    stream = poses.stream
    yield from check_presence(stream, needs.start, needs.setting)
    if not stream.count:
        return
    yield from check_single_publisher(stream)
    finite = np.isfinite(poses.translations).all(axis=1) & np.isfinite(poses.quaternions).all(axis=1)
    if not finite.all():
        yield error(
            f"{stream.topic}: {(~finite).sum()} of {stream.count} poses have a NaN", "see the log of the robot's driver"
        )
    lengths = np.linalg.norm(poses.quaternions[finite], axis=1)
    if (np.abs(lengths - 1.0) > _UNIT_TOLERANCE).any():
        yield error(
            f"{stream.topic}: a quaternion of length {lengths[np.abs(lengths - 1.0).argmax()]:.3f}",
            "have the robot's driver send unit quaternions, in the order x, y, z, w",
        )
    if stream.frame_ids != {base_frame}:
        yield error(
            f"{stream.topic}: frame_id {', '.join(sorted(stream.frame_ids)) or 'empty'}, expected {base_frame}",
            "have the driver send poses in the base frame, or set base_frame in the robot's file",
        )
    timeout_s = limits.joint_state_timeout
    yield from check_timing(stream, Timing(1.0 / timeout_s, timeout_s, "the driver stops the arm"))
    yield from _check_age(stream, timeout_s)
    if finite.any():
        yield from _check_limits(stream.topic, ("x", "y", "z"), poses.translations[finite][-1], limits)
