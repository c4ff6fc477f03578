"""Bad cameras while the arm moves: frames lost, late, twice, in disorder, the same for ever, of another size."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from robot_rig import RobotRig, robot_rig

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
pytestmark = pytest.mark.slow

Frame = tuple[int, np.ndarray, np.ndarray]
GOES_ON_S = 4.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotRig]:
    # What a bad camera does to the commands does not depend on the arm.
    with robot_rig("widowx", tmp_path_factory.mktemp("camera")) as rig:
        yield rig


class Lossy:
    """Every second frame is lost, at random."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def __call__(self, *frame) -> list[Frame]:
        return [frame] if self._random.random() < 0.5 else []


class Late:
    """Frames come three periods late, with the stamps that they had."""

    def __init__(self) -> None:
        self._waiting: list[Frame] = []

    def __call__(self, *frame) -> list[Frame]:
        self._waiting.append(frame)
        return [self._waiting.pop(0)] if len(self._waiting) > 3 else []


class Disordered:
    """Pairs of frames come in the wrong order."""

    def __init__(self) -> None:
        self._kept: Frame | None = None

    def __call__(self, *frame) -> list[Frame]:
        if self._kept is None:
            self._kept = frame
            return []
        kept, self._kept = self._kept, None
        return [frame, kept]


def holds_and_moves_again(rig: RobotRig, fault: Callable[..., list[Frame]], within_s: float) -> tuple[float, float]:
    """The arm comes to rest by this fault, and moves again without it, within its limits.

    :returns: seconds until it rested, and the tool's way after the fault, metres.
    """
    rig.until_moving()
    rig.strike(lambda: setattr(rig.camera, "fault", fault))
    held = rig.until_holding(10.0)
    assert held < within_s
    motion = rig.largest_motion()
    rig.camera.fault = None
    rig.until_moving()
    rig.check_limits()
    return held, motion


FAULTS = {"half of the frames lost": Lossy, "in the wrong order": Disordered}


@pytest.mark.parametrize("fault", FAULTS)
def test_camera(rig: RobotRig, fault: str, figures) -> None:
    rig.until_moving()
    rig.strike(lambda: setattr(rig.camera, "fault", FAULTS[fault]()))
    before = len(rig.verdicts)
    time.sleep(GOES_ON_S)
    motion = rig.largest_motion()
    assert sum(verdict.executed for verdict in rig.verdicts[before:]) >= 3 and motion > 0.005, "it goes on"
    rig.camera.fault = None
    rig.until_moving()
    rig.check_limits()
    figures(0.0, motion, "goes on within its limits")


def test_frames_late_by_more_than_a_control_period(rig: RobotRig, figures) -> None:
    """The random policy's chunks have one action: its control step is over before it comes."""
    figures(*holds_and_moves_again(rig, Late(), 2.5), "moves again with the first frame in time")


def test_every_frame_twice(rig: RobotRig, figures) -> None:
    rig.until_moving()
    rig.strike(lambda: setattr(rig.camera, "fault", lambda *frame: [frame, frame]))
    time.sleep(GOES_ON_S)
    commands = len(rig.verdicts)
    time.sleep(2.0)
    # No frame is acted on twice: still at most a command each control period.
    assert len(rig.verdicts) - commands <= 12
    motion = rig.largest_motion()
    assert any(verdict.executed for verdict in rig.verdicts[commands:]) and motion > 0.005, "it goes on"
    rig.camera.fault = None
    rig.check_limits()
    figures(0.0, motion, "goes on within its limits")


def test_the_same_picture_for_ever(rig: RobotRig, figures) -> None:
    frozen: list[np.ndarray] = []

    def freeze(stamp: int, picture: np.ndarray, depth: np.ndarray) -> list[Frame]:
        frozen[:] = frozen or [picture]
        return [(stamp, frozen[0], depth)]

    figures(*holds_and_moves_again(rig, freeze, 3.0), "moves again with the first new picture")


def test_another_resolution(rig: RobotRig, figures) -> None:
    rig.until_moving()

    def half(stamp: int, picture: np.ndarray, depth: np.ndarray) -> list[Frame]:
        return [(stamp, np.ascontiguousarray(picture[::2, ::2]), np.ascontiguousarray(depth[::2, ::2]))]

    rig.strike(lambda: setattr(rig.camera, "fault", half))
    time.sleep(GOES_ON_S)
    motion = rig.largest_motion()
    rig.until_moving()
    rig.camera.fault = None
    rig.until_moving()
    rig.check_limits()
    figures(0.0, motion, "goes on, there and back")


def test_depth_of_nan(rig: RobotRig, figures) -> None:
    def without_depth(stamp: int, picture: np.ndarray, depth: np.ndarray) -> list[Frame]:
        return [(stamp, picture, np.full(depth.shape, np.nan, np.float32))]

    figures(*holds_and_moves_again(rig, without_depth, 3.0), "moves again with the first depth")


def test_no_camera_at_all(rig: RobotRig, figures) -> None:
    figures(*holds_and_moves_again(rig, lambda *frame: [], 2.5), "moves again with the first picture")
