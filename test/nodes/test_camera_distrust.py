"""What a camera's topics say of themselves, and that the policy is not shown what must not be acted on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from any_message import NOW_NS
from node_bench import Bench, bench
from sensor_msgs.msg import CameraInfo

from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_header
from stvla_ros.nodes.perception.depth import DepthNode
from stvla_ros.nodes.server import vla_server
from stvla_ros.nodes.server.vla_server import VlaServerNode
from stvla_ros.perception import stream_checks
from stvla_ros.policy.base import MAIN_CAMERA, PolicyInput

K = np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]])
TRACED = np.full((224, 224), 0.8, np.float32)
MS = 1_000_000


class Camera:
    """A server, the camera that it sees, what its policy would be shown, and what it says."""

    def __init__(self, made: Bench) -> None:
        self._bench, self.now_ns, self._frames = made, NOW_NS, 0
        self.shown: list[PolicyInput] = []
        self.told: list[str] = []
        made.node.now_ns = lambda: self.now_ns
        made.node.reject = lambda kind, text: self.told.append(text)
        made.node.inputs._take = self.shown.append

    def info(self, matrix: np.ndarray = K, width: int = 160, height: int = 120, **fields: Any) -> None:
        message = make_camera_info(matrix, width, height, make_header(self.now_ns, "camera"))
        for name, value in fields.items():
            setattr(message, name, value)
        self._bench.receive("camera_info", message)

    def frame(self, age_ms: int = 20, stamp: int | None = None, picture: np.ndarray | None = None) -> None:
        self.now_ns += 200 * MS
        self._frames += 1
        if picture is None:
            picture = np.random.default_rng(self._frames).integers(0, 9, (120, 160, 3), np.uint8)
        header = make_header(self.now_ns - age_ms * MS if stamp is None else stamp, "camera")
        self._bench.receive("traced_depth", array_to_image(TRACED, "32FC1", header))
        self._bench.receive("image", array_to_image(picture, "rgb8", header))

    @property
    def intrinsics(self) -> np.ndarray:
        return self.shown[-1].pictures[MAIN_CAMERA].intrinsics


class _Alarm:
    def __init__(self, *_: object) -> None: ...

    def wake(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[Camera]:
    monkeypatch.setattr(vla_server, "Alarm", _Alarm)
    # The bench's clock is the test's: what is wrong is wrong for good.
    monkeypatch.setattr(stream_checks, "HOLD_S", -1.0)
    with bench(VlaServerNode, "policy:=random", "frozen_picture_timeout:=0.5") as made:
        yield Camera(made)


def test_a_good_camera_is_shown_with_its_intrinsics(camera: Camera) -> None:
    camera.info()
    camera.frame()
    assert np.array_equal(camera.intrinsics, K)
    assert camera.told == []


def test_camera_info_of_twice_the_size_is_scaled(camera: Camera) -> None:
    camera.info(np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]]), 320, 240)
    camera.frame()
    np.testing.assert_allclose(camera.intrinsics, K)
    assert camera.told == []


def test_camera_info_of_another_shape_is_told_and_the_policy_sees_nothing(camera: Camera) -> None:
    camera.info(width=160, height=90)
    camera.frame()
    assert camera.shown == []
    assert camera.told == [
        "topic camera_info: expected intrinsics for pictures of 160x120 or of this shape, they are for 160x90"
    ]


def test_binning_is_taken_into_account(camera: Camera) -> None:
    camera.info(np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]]), 320, 240, binning_x=2, binning_y=2)
    camera.frame()
    np.testing.assert_allclose(camera.intrinsics, K)


def test_an_uncalibrated_camera_is_told_at_once_and_the_policy_sees_nothing(camera: Camera) -> None:
    camera._bench.receive("camera_info", CameraInfo())
    assert set(camera.told) == {"topic camera_info: intrinsics: expected positive fx and fy in pixels, got 0 and 0"}
    camera.frame()
    assert camera.shown == []


def hour_old(camera: Camera) -> None:
    camera.frame(age_ms=3_600_000)


def of_the_future(camera: Camera) -> None:
    camera.frame(age_ms=-300)


def without_stamp(camera: Camera) -> None:
    camera.frame(stamp=0)


@pytest.mark.parametrize(
    "send, text",
    [
        (hour_old, "observations are 1.0 hours old: the camera's clock is not this machine's"),
        (of_the_future, "observations come from the future by 300.0 ms: the camera's clock is not this machine's"),
        (without_stamp, "the stamp is zero: have the camera's driver stamp its pictures"),
    ],
)
def test_another_clock_is_told_and_the_policy_sees_nothing(
    camera: Camera, send: Callable[[Camera], None], text: str
) -> None:
    camera.info()
    send(camera)
    assert camera.shown == []
    assert camera.told == [f"topic image: {text}"]


def test_a_camera_that_repeats_its_buffers_is_told_and_the_policy_sees_nothing_more(camera: Camera) -> None:
    camera.info()
    buffers = [np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8) for seed in range(2)]
    for index in range(6):
        camera.frame(picture=buffers[index % 2])
    assert len(camera.shown) == 4
    assert camera.told[0] == "topic image: no new picture for 0.6 s under new stamps: the camera or its driver hangs"


def test_two_cameras_on_one_topic_are_told_and_the_policy_sees_nothing_more(camera: Camera) -> None:
    camera.info()
    scenes = [np.random.default_rng(seed).integers(0, 200, (12, 16, 3)).repeat(10, 0).repeat(10, 1) for seed in (0, 1)]
    for index in range(12):
        noise = np.random.default_rng(index).integers(0, 9, (120, 160, 3))
        camera.frame(picture=(scenes[index % 2] + noise).astype(np.uint8))
    assert 4 <= len(camera.shown) < 8
    assert camera.told[0] == "topic image: pictures go back and forth between two scenes: two cameras publish here"


def depth_after(*maps: np.ndarray, pictures: bool = False) -> tuple[int, list[str]]:
    """How many maps the node made of these, and what it said.

    :param pictures: whether each has a new picture.
    """
    told: list[str] = []
    with bench(DepthNode) as made:
        made.node.reject = lambda kind, text: told.append(text)
        for index, depth in enumerate(maps):
            header = make_header(NOW_NS + index * 100 * MS, "camera")
            rgb = np.full((120, 160, 3), 10 * index if pictures else 0, np.uint8)
            made.receive("image", array_to_image(rgb, "rgb8", header))
            encoding = "16UC1" if depth.dtype == np.uint16 else "32FC1"
            made.receive("sensor_depth", array_to_image(depth, encoding, header))
        return len(made.sent("depth")), told


def test_depth_in_millimetres_that_says_metres_gives_no_depth_at_all() -> None:
    sent, told = depth_after(*[np.full((120, 160), 800.0, np.float32)] * 3)
    assert sent == 0
    assert told[0].startswith("topic sensor_depth: a median distance of 800 m is not that of a table; as millimetres")


def test_a_sensor_that_died_gives_no_more_depth_after_a_second() -> None:
    sent, told = depth_after(*[np.zeros((120, 160), np.uint16)] * 15)
    assert sent == 11
    assert told[0] == "topic sensor_depth: 0.0% of the pixels have a distance, for 1.1 s"


def noisy(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(700, 900, (120, 160), np.uint16) for seed in range(count)]


def test_a_depth_that_stands_still_while_the_pictures_change_is_given_no_more_after_a_second() -> None:
    alive = noisy(6)
    sent, told = depth_after(*alive, *[alive[-1]] * 15, pictures=True)
    assert sent == 6 + 10
    assert told[0] == (
        "topic sensor_depth: no new depth for 1.1 s under new stamps, though the pictures change: the sensor hangs"
    )


def test_a_depth_that_hangs_is_given_again_once_it_is_new() -> None:
    alive = noisy(8)
    sent, _ = depth_after(*alive[:6], *[alive[5]] * 15, *alive[6:], pictures=True)
    assert sent == 6 + 10 + 2


@pytest.mark.parametrize("pictures, maps", [(True, noisy(1) * 21), (False, noisy(6) + [noisy(6)[-1]] * 15)])
def test_a_constant_depth_and_a_scene_that_stands_still_are_no_sensor_that_hangs(
    pictures: bool, maps: list[np.ndarray]
) -> None:
    assert depth_after(*maps, pictures=pictures) == (len(maps), [])
