"""Bars that say what is waited for."""

import io
import time

from tqdm import tqdm

from stvla_ros.progress import told_until_first


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _until(condition, seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_bar_says_what_it_waits_for_and_for_how_long_until_it_first_moves() -> None:
    screen = _Terminal()
    with tqdm(total=3, file=screen) as bar, told_until_first(bar, "starting the simulator"):
        _until(lambda: "starting the simulator, 2 s" in screen.getvalue())
        bar.update()
        _until(lambda: not bar.postfix)
    assert "1/3" in screen.getvalue().rpartition("\r")[2]
    assert "starting" not in screen.getvalue().rpartition("\r")[2]


def test_what_others_write_beside_the_bar_stays() -> None:
    with tqdm(total=3, file=_Terminal()) as bar, told_until_first(bar, "starting the simulator"):
        _until(lambda: bar.postfix)
        bar.set_postfix_str("stack_cube 0: success")
        bar.update()
    assert bar.postfix == "stack_cube 0: success"


def test_a_file_gets_it_once() -> None:
    log = io.StringIO()
    with tqdm(total=3, file=log) as bar, told_until_first(bar, "starting the simulator"):
        time.sleep(2.5)
    assert log.getvalue().count("starting the simulator") == 1
