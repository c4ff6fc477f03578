"""A recording of a WidowX that shows a printed board to a camera in the room: its pictures are rendered, with noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from typing_extensions import Self

from stvla_ros.perception.boards import Board
from stvla_ros.recordings.bag_writer import BagWriter
from stvla_ros.recordings.message_definitions import MessageDefinitions
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

WIDTH, HEIGHT = 640, 480
INTRINSICS = np.array([[610.0, 0, 322.0], [0, 612.0, 236.0], [0, 0, 1]])
PLUMB_BOB = np.array([0.08, -0.15, 0.001, -0.0005, 0.02])
ARM = find_embodiment("widowx").driver.arm
HOME = np.array(find_embodiment("widowx").driver.home)
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
_DOTS_PER_METRE = 8000
# Rendered finer than the camera sees it: each pixel is the mean over its area.
_FINER = 3


def looking_at(eye: Sequence[float], at: Sequence[float]) -> np.ndarray:
    """(4, 4) pose of an optical frame; its y points down as far as it can."""
    z = np.subtract(at, eye) / np.linalg.norm(np.subtract(at, eye))
    x = np.cross([0, 0, -1.0], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.column_stack([x, np.cross(z, x), z]), eye
    return pose


CAMERA = looking_at((0.95, 0.12, 0.45), (0.32, 0.0, 0.2))
"""The pose that a calibration must find."""


def render(picture: np.ndarray, size: tuple[float, float], pose: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """
    :param picture: (h, w) uint8 of a flat thing.
    :param size: (width, height) of it, metres.
    :param pose: (4, 4) of it in the camera's frame; its corner is the origin.
    :returns: (HEIGHT, WIDTH) float32 grey.
    """
    # From dots of the thing to the plane z = 0 of its frame, to pixels, to finer ones; centres are at integers.
    dots = np.diag([size[0] / picture.shape[1], size[1] / picture.shape[0], 1.0]) @ _shift(0.5)
    finer = _shift(-0.5) @ np.diag([_FINER, _FINER, 1.0]) @ _shift(0.5)
    there = finer @ INTRINSICS @ pose[:3, [0, 1, 3]] @ dots
    fine = cv2.warpPerspective(picture, there, (WIDTH * _FINER, HEIGHT * _FINER), borderValue=90)
    if distortion.any():
        fine = cv2.remap(fine, *_lens(tuple(distortion)), cv2.INTER_LINEAR, borderValue=90)
    return cv2.resize(fine, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)


def _shift(by: float) -> np.ndarray:
    return np.array([[1.0, 0, by], [0, 1.0, by], [0, 0, 1.0]])


@cache
def _lens(distortion: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where each fine pixel of a picture through the lens is in one through a pinhole."""
    x, y = np.meshgrid(np.arange(WIDTH * _FINER), np.arange(HEIGHT * _FINER))
    pixels = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + 0.5) / _FINER - 0.5
    straight = cv2.undistortPoints(pixels, INTRINSICS, np.array(distortion), P=INTRINSICS)
    fine = ((straight + 0.5) * _FINER - 0.5).reshape(HEIGHT * _FINER, WIDTH * _FINER, 2).astype(np.float32)
    return fine[..., 0], fine[..., 1]


@dataclass
class Recording:
    """What is recorded.

    :param printed: board that is in the gripper.
    :param turned: joints that are turned between the places, by up to ``turn`` radians.
    :param blur: of the pictures, pixels; 0: none.
    :param on_hand: whether the camera is on the hand, and the board in the room.
    :param slips_at: place before which the board slips by a centimetre.
    """

    printed: Board = field(default_factory=Board)
    places: int = 12
    turned: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    turn: float = 0.35
    noise: float = 4.0
    blur: float = 0.0
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(5))
    on_hand: bool = False
    slips_at: int = -1

    def courses(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each place: the joints' positions, and the (HEIGHT, WIDTH) picture without noise."""
        random = np.random.default_rng(3)
        arm = UrdfArm(ARM.urdf, ARM.joints, ARM.tool_frame)
        home = arm.tool_pose(HOME)
        held = np.linalg.inv(home) @ self._facing(CAMERA, home[:3, 3] + [0.0, 0.0, 0.1])
        picture = self.printed.picture(_DOTS_PER_METRE)
        mask = np.isin(range(len(HOME)), self.turned)
        for number in range(self.places):
            position = HOME + mask * random.uniform(-self.turn, self.turn, len(HOME))
            tool = arm.tool_pose(position)
            if number == self.slips_at:
                held = held @ _shifted(0.01)
            if self.on_hand:
                in_camera = np.linalg.inv(tool @ HAND_CAMERA) @ (home @ HAND_CAMERA @ _AHEAD)
            else:
                in_camera = np.linalg.inv(CAMERA) @ tool @ held
            seen = render(picture, self.printed.size, in_camera, self.distortion)
            if self.blur:
                seen = cv2.GaussianBlur(seen, (0, 0), self.blur)
            yield position, seen

    def write(self, folder: Path) -> Path:
        """:returns: the bag."""
        random = np.random.default_rng(4)
        with _Bag(folder) as bag:
            for position, seen in self.courses():
                bag.rest(position, seen, random, self.noise, self.distortion)
        return folder

    def _facing(self, camera: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Pose of the board with its middle there and its face to the camera, in the base frame."""
        pose = looking_at(camera[:3, 3], at)
        width, height = self.printed.size
        pose[:3, 3] = at - pose[:3, :3] @ [width / 2, height / 2, 0.0]
        return pose


def _shifted(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


# 6 cm above the tool point, looking along it; the board 35 cm ahead.
HAND_CAMERA = np.array([[0.0, 0, 1, -0.08], [-1, 0, 0, 0.01], [0, -1, 0, 0.06], [0, 0, 0, 1]])
_AHEAD = np.array([[1.0, 0, 0, -0.06], [0, 1, 0, -0.09], [0, 0, 1, 0.4], [0, 0, 0, 1]])


class _Bag:
    """Of a camera and an arm. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        definitions = MessageDefinitions()
        topics = {"/image": "Image", "/camera_info": "CameraInfo", "/wx250s/joint_states": "JointState"}
        self._kinds = {topic: f"sensor_msgs/msg/{name}" for topic, name in topics.items()}
        for kind in self._kinds.values():
            definitions.add(kind)
        self._store = definitions.typestore
        self._bag = BagWriter(folder)
        for topic, kind in self._kinds.items():
            self._bag.add_topic(topic, kind)
        self._now = START

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bag.close()

    def rest(
        self, position: np.ndarray, grey: np.ndarray, random: np.random.Generator, noise: float, distortion: np.ndarray
    ) -> None:
        """Half a second of motion, then one of rest, with joints at 50 Hz and a picture in motion and three at rest."""
        for step in range(75):
            moving = step < 25
            now = position + (0.02 * (25 - step) if moving else 0.0) + random.normal(0.0, 0.0003, len(position))
            # The fingers, too.
            self._write(
                "/wx250s/joint_states",
                name=[*ARM.joints, "left_finger"],
                position=np.array([*now, 0.02]),
                velocity=np.zeros(0),
                effort=np.zeros(0),
            )
            if step in (15, 50, 60, 70):
                # In motion it is smeared.
                sharp = grey if not moving else cv2.blur(grey, (31, 31))
                noisy = np.clip(sharp + random.normal(0.0, noise, grey.shape), 0, 255).astype(np.uint8)
                self._write(
                    "/image",
                    height=HEIGHT,
                    width=WIDTH,
                    encoding="mono8",
                    is_bigendian=0,
                    step=WIDTH,
                    data=noisy.reshape(-1),
                )
                self._camera_info(distortion)
            self._now += SECOND // 50

    def _camera_info(self, distortion: np.ndarray) -> None:
        region = self._store.types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        projection = np.hstack([INTRINSICS, np.zeros((3, 1))]).reshape(12)
        self._write(
            "/camera_info",
            height=HEIGHT,
            width=WIDTH,
            distortion_model="plumb_bob",
            d=distortion,
            k=INTRINSICS.reshape(9),
            r=np.eye(3).reshape(9),
            p=projection,
            binning_x=0,
            binning_y=0,
            roi=region,
        )

    def _write(self, topic: str, **fields: object) -> None:
        types, kind = self._store.types, self._kinds[topic]
        stamp = types["builtin_interfaces/msg/Time"](sec=self._now // SECOND, nanosec=self._now % SECOND)
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
        message = types[kind](header=header, **fields)
        self._bag.write(topic, self._now, bytes(self._store.serialize_cdr(message, kind)))
