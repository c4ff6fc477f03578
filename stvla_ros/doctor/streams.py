"""Checks for every topic: its publishers, messages, rate and stamps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.doctor.findings import Finding, Findings, error, note, ok, warning
from stvla_ros.doctor.records import Stream
from stvla_ros.perception.frame_pairs import pair_stamps
from stvla_ros.perception.stream_checks import FUTURE_S

# More than the rounding of a clock, and less than any limit.
_AHEAD_S = 0.005
# Share of the messages; more repeated or backward stamps mean a driver that stamps wrongly.
_MANY = 0.05
# A gap longer than the usual one by this factor means that messages were lost.
_LONG_GAP = 3.0
CLOCK_ADVICE = "where camera and robot are on two machines, synchronise their clocks (chrony or PTP)"
_MOST_LISTED = 6


@dataclass(frozen=True)
class Timing:
    """The requirements of the robot's file for a topic.

    :param least_hz: messages a second, below which the robot cannot be driven.
    :param longest_gap_s: largest gap without a message that the graph tolerates, seconds.
    :param gap_effect: effect of a longer gap.
    """

    least_hz: float
    longest_gap_s: float
    gap_effect: str


def check_presence(stream: Stream, start: str, setting: str) -> Findings:
    """Report why nothing came, or oddities of the publishers; nothing if all is well.

    :param start: advice how to start the publisher.
    :param setting: advice how to choose another topic.
    """
    of_type = [publisher for publisher in stream.publishers if publisher.type == stream.type]
    names = ", ".join(publisher.node for publisher in of_type)
    if not stream.publishers:
        yield error(f"nobody publishes {stream.topic} ({stream.type})", f"{start}; {_other(stream, setting)}")
    elif not of_type:
        types = ", ".join(sorted({publisher.type for publisher in stream.publishers}))
        yield error(
            f"{stream.topic} is a topic of {types}, expected {stream.type}",
            f"have its publisher send {stream.type}, or republish it as that; {_other(stream, setting)}",
        )
    elif not stream.count:
        yield _silent(stream, names)
    if any(publisher.type != stream.type for publisher in stream.publishers) and of_type:
        yield warning(f"{stream.topic} is also published with another type", "end the unwanted publisher")
    for publisher in of_type:
        if publisher.qos_problem:
            yield error(
                f"{stream.topic}: the quality of service of {publisher.node} does not fit: {publisher.qos_problem}",
                "set it to reliable or best effort, volatile (REP-2003) in the publisher's own parameters",
            )
        elif not publisher.reliable:
            yield note(
                f"{stream.topic}: {publisher.node} publishes with best effort, so lost messages are not sent again"
            )


def check_single_publisher(stream: Stream) -> Findings:
    """For topics on which the messages of two publishers would mix."""
    if len(stream.publishers) > 1:
        names = ", ".join(publisher.node for publisher in stream.publishers)
        yield warning(f"{stream.topic} has {len(stream.publishers)} publishers: {names}", "end all but one")


def _silent(stream: Stream, names: str) -> Finding:
    return error(
        f"{stream.topic}: {names} publishes it, but nothing came in {stream.listened_s:.1f} s",
        f"see whether it really sends (its log, `ros2 topic hz {stream.topic}`): a camera may wait for its trigger, a "
        "replay for subscribers; big messages from another machine may be lost (section Fast DDS)",
    )


def _other(stream: Stream, setting: str) -> str:
    if not stream.others:
        return f"for another topic: {setting}"
    return f"for another topic: {setting}; {stream.type} comes on {listed(stream.others)}"


def sizes_text(sizes: frozenset[tuple[int, int]]) -> str:
    """Sizes (width, height) of pictures as text for people."""
    return ", ".join(f"{width}x{height}" for width, height in sorted(sizes))


def listed(topics: Sequence[str]) -> str:
    """The first few topics, as text for people."""
    more = f" and {len(topics) - _MOST_LISTED} more" if len(topics) > _MOST_LISTED else ""
    return f"{', '.join(topics[:_MOST_LISTED])}{more}"


def rate_hz(arrivals_s: np.ndarray) -> float:
    """Messages a second between the first and the last; 0 for fewer than two."""
    if len(arrivals_s) < 2:
        return 0.0
    return float((len(arrivals_s) - 1) / max(arrivals_s[-1] - arrivals_s[0], 1e-9))


def largest_gap_s(arrivals_s: np.ndarray, listened_s: float) -> float:
    """Longest time between two messages; the whole time for fewer than two."""
    return float(np.diff(arrivals_s).max()) if len(arrivals_s) > 1 else listened_s


def check_timing(stream: Stream, timing: Timing, more: Sequence[str] = ()) -> Findings:
    """:param more: further text for the line about the topic."""
    rate = rate_hz(stream.arrivals_s)
    gap = largest_gap_s(stream.arrivals_s, stream.listened_s)
    jitter = float(np.diff(stream.arrivals_s).std()) if stream.count > 1 else 0.0
    facts = [f"{rate:.1f} Hz, jitter {jitter * 1e3:.1f} ms, largest gap {gap * 1e3:.0f} ms", *more]
    yield ok(f"{stream.topic}: {', '.join(facts)}")
    if rate < timing.least_hz * 0.95:
        yield error(
            f"{stream.topic}: {rate:.1f} Hz, at least {timing.least_hz:g} Hz are needed",
            "raise the rate in the publisher's parameters; a camera in the dark, a USB 2 port or a full processor slow "
            "it down",
        )
    elif gap > timing.longest_gap_s:
        yield warning(
            f"{stream.topic}: a gap of {gap:.2f} s; {timing.gap_effect} after {timing.longest_gap_s:.2f} s",
            "see what else loads the machine or the bus, and whether messages are lost (section Fast DDS)",
        )
    elif stream.count > 10 and gap > _LONG_GAP / rate:
        yield note(f"{stream.topic}: the largest gap is {gap * rate:.1f} periods, so messages were lost or late")


def check_stamps(stream: Stream, oldest_s: float, hint: str = "") -> Findings:
    """
    :param oldest_s: age beyond which an observation is no longer acted on, seconds.
    :param hint: advice that comes before any advice about clocks.
    """
    stamps, topic = stream.stamps_ns, stream.topic
    zero = int((stamps == 0).sum())
    if zero:
        yield error(
            f"{topic}: {zero} of {len(stamps)} stamps are zero",
            "have the driver stamp its messages: pictures are matched by their stamps",
        )
    # Messages without a stamp have no order and no age.
    stamps, ages = stamps[stamps != 0], stream.ages_s[stream.stamps_ns != 0]
    if not len(stamps):
        return
    steps = np.diff(stamps)
    for count, what in ((int((steps == 0).sum()), "repeated"), (int((steps < 0).sum()), "older than the one before")):
        if count:
            yield (error if count > _MANY * len(steps) else warning)(
                f"{topic}: {count} of {len(steps)} stamps are {what}; such frames are not used",
                "stamp each message once, when it was taken; see whether two publishers or a looping recording send it",
            )
    yield from _check_ages(topic, ages, oldest_s, hint)


def _check_ages(topic: str, ages: np.ndarray, oldest_s: float, hint: str) -> Findings:
    median, least, most = float(np.median(ages)), float(ages.min()), float(ages.max())
    advice = f"{hint}; else: {CLOCK_ADVICE}" if hint else CLOCK_ADVICE
    if least < -FUTURE_S:
        yield error(
            f"{topic}: stamps are up to {_span(-least)} ahead of this machine's clock; commands to such observations "
            "are refused",
            advice,
        )
    elif median > oldest_s:
        yield error(
            f"{topic}: messages are {_span(median)} old when they come; nothing older than {oldest_s:g} s is acted on",
            advice if hint else f"have the driver stamp with the time of day, not with that since its start; {advice}",
        )
    elif least < -_AHEAD_S:
        yield warning(f"{topic}: stamps are up to {_span(-least)} ahead of this machine's clock", advice)
    elif most > oldest_s / 2.0:
        yield warning(
            f"{topic}: messages are up to {_span(most)} old when they come (half of them less than {_span(median)})",
            "see what delays them: exposure, USB, compression, a loaded machine; the policy acts on an old picture",
        )
    else:
        yield ok(f"{topic}: messages are {_span(median)} old when they come ({_span(least)} to {_span(most)})")


def _span(seconds: float) -> str:
    """A duration as text for people."""
    for unit, length in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0), ("s", 1.0)):
        if abs(seconds) >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds * 1e3:.0f} ms"


def paired(stamps: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, float]:
    """The pairs of two streams, by the rule of ``pair_stamps``.

    :param stamps, others: (n,), (m,) int64.
    :returns: bool for each of ``stamps`` within the time of ``others`` (one of the streams may have begun earlier):
        whether it has a partner. If the two have no time in common: for all of ``stamps``, False. And the largest
        difference of the stamps in a pair, seconds.
    """
    partners = pair_stamps(stamps, others)
    has = partners >= 0
    apart_s = float(np.abs(stamps[has] - others[partners[has]]).max()) * 1e-9 if has.any() else 0.0
    if len(others) > 1:
        common = has | ((stamps >= others.min()) & (stamps <= others.max()))
        return (has[common] if common.any() else has), apart_s
    return has, apart_s


def partners_text(pairs: np.ndarray, apart_s: float, what: str) -> str:
    """The number of pictures with a partner, in words.

    :param pairs, apart_s: results of :func:`paired`.
    """
    exact = f"{what} with an equal stamp" if not apart_s else f"{what}, stamps up to {apart_s * 1e3:.1f} ms apart"
    return f"{pairs.sum()} of {len(pairs)} pictures have {exact}"
