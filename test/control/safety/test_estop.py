"""Who of several sources still says stop: latched ones are asked again, of others the newest word counts."""

import pytest

from stvla_ros.control.safety.estop import EstopSources


def asked_again(sources: EstopSources, latched: int, now: float, *answers: bool) -> None:
    """A new listener comes, and is told this."""
    assert sources.ask_again(latched, now)
    for answer in answers:
        sources.answered(answer)


def test_one_source_is_believed_by_its_newest_word() -> None:
    sources = EstopSources()
    sources.heard(True, 10.0)
    assert sources.still_stopping(0, 1, 100.0) == "topic estop: a source still says true"
    sources.heard(False, 100.0)
    assert sources.still_stopping(0, 1, 100.0) == ""


def test_a_source_that_goes_on_saying_stop_is_not_drowned_by_another() -> None:
    sources = EstopSources()
    for second in range(10):
        sources.heard(True, second)
        sources.heard(False, second + 0.5)
        assert "one of its 2 sources said true 0.6 s ago" in sources.still_stopping(0, 2, second + 0.6)
    assert sources.still_stopping(0, 2, 11.5) == ""


def test_a_source_that_died_while_it_said_stop_counts_no_more() -> None:
    sources = EstopSources()
    sources.heard(True, 10.0)
    sources.answered(True)
    assert sources.still_stopping(0, 0, 10.1) == ""


def test_a_latched_source_is_believed_by_what_it_tells_a_new_listener() -> None:
    sources = EstopSources()
    sources.asked(0.0)
    sources.answered(True)
    sources.heard(False, 1.0)  # said by somebody who has gone meanwhile
    assert sources.still_stopping(1, 0, 2.0) == "topic estop: a latched source still says true"
    sources.answered(False)
    assert sources.still_stopping(1, 0, 2.1) == ""


def test_one_of_several_latched_sources_is_not_drowned_by_another() -> None:
    sources = EstopSources()
    sources.asked(0.0)
    for answer in (True, False):
        sources.answered(answer)
    for now in (2.0, 4.0, 6.0):
        asked_again(sources, 2, now, True, False)
        assert sources.still_stopping(2, 0, now + 0.1) == "topic estop: a latched source still says true"
    asked_again(sources, 2, 8.0, False, False)
    assert sources.still_stopping(2, 0, 8.1) != "", "the answers before this one are not all of the past yet"
    asked_again(sources, 2, 10.0, False, False)
    assert sources.still_stopping(2, 0, 10.1) == ""


def test_before_latched_sources_have_answered_nothing_is_released() -> None:
    sources = EstopSources()
    sources.asked(0.0)
    assert "being asked; try again" in sources.still_stopping(1, 0, 0.1)
    assert not sources.ask_again(1, 0.1)
    # A latched source that has never said anything answers never.
    assert sources.still_stopping(1, 0, 3.1) == ""


@pytest.mark.parametrize(("heartbeat", "now", "silence"), [(0.0, 1e9, 0.0), (0.5, 10.4, 0.0), (0.5, 10.6, 0.6)])
def test_silence_is_told_where_a_heartbeat_is_expected(heartbeat: float, now: float, silence: float) -> None:
    sources = EstopSources(heartbeat)
    sources.heard(False, 10.0)
    assert sources.silence_s(now) == pytest.approx(silence)
    assert bool(sources.still_stopping(0, 1, now)) == bool(silence)


def test_a_source_that_never_came_is_silent_for_ever() -> None:
    sources = EstopSources(0.5)
    assert sources.silence_s(0.0) == float("inf") and not sources.ever_heard
