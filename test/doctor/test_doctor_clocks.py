"""Check 10: whose clock is another than this machine's."""

import pytest

from stvla_ros.doctor.clocks import check_clocks


@pytest.mark.parametrize(
    ("age_s", "level", "text"),
    [
        (-0.3, "warning", "/vla_server: its clock is 0.300 s or more ahead of this machine's"),
        (0.3, "warning", "/vla_server: its clock is 0.300 s behind this machine's, or the network slow"),
        (0.004, "ok", "/vla_server: its clock is this machine's within 4 ms"),
        (-0.004, "ok", "/vla_server: its clock is this machine's within 4 ms"),
    ],
)
def test_each_nodes_clock_is_told(age_s: float, level: str, text: str) -> None:
    (found,) = check_clocks({"/vla_server": age_s}, use_sim_time=False)
    assert (found.level, found.text) == (level, text)
    assert ("NTP" in found.advice) == (level == "warning")


def test_without_nodes_or_with_a_recordings_time_nothing_is_compared() -> None:
    assert [each.level for each in check_clocks({}, use_sim_time=False)] == ["note"]
    assert [each.level for each in check_clocks({"/tracker": -3e8}, use_sim_time=True)] == ["note"]
