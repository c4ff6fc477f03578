"""Check 10: the clocks of the other computers, by the stamps that their nodes put on ``/diagnostics``."""

from collections.abc import Mapping

from stvla_ros.doctor.findings import Findings, note, ok, warning

# The safety gate refuses commands to observations that are 0.1 s ahead (control/safety/admission.py); half of that is a
# warning. A message is not on its way for longer than this, on a network that one can drive over.
_AHEAD_S, _BEHIND_S = -0.05, 0.25
_NTP = "set both computers' clocks by NTP (chrony) or PTP: docs/how-to/two-computers.md"


def check_clocks(ages_s: Mapping[str, float], use_sim_time: bool) -> Findings:
    """
    :param ages_s: smallest age of a message on ``/diagnostics`` by this machine's clock, seconds, by node. It is the
        difference of the clocks and the time on the way.
    :param use_sim_time: whether the nodes go by a recording's time.
    """
    if not ages_s:
        yield note("no node of this package runs: nothing to compare", "start the graph on both computers, then this")
    elif use_sim_time:
        yield note("the nodes go by the topic /clock, a recording's or a simulator's")
    else:
        for node, age in sorted(ages_s.items()):
            if age < _AHEAD_S:
                yield warning(f"{node}: its clock is {-age:.3f} s or more ahead of this machine's", _NTP)
            elif age > _BEHIND_S:
                yield warning(f"{node}: its clock is {age:.3f} s behind this machine's, or the network slow", _NTP)
            else:
                yield ok(f"{node}: its clock is this machine's within {abs(age) * 1e3:.0f} ms")
