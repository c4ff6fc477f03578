"""From pictures of an arm at rest to the places of a hand-eye calibration, and what to tell where there are none."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.boards import Board, BoardFinder, SeenBoard, mean_board, other_markers
from stvla_ros.perception.calibration import as_pinhole, intrinsics_for
from stvla_ros.robots.embodiments import Embodiment
from stvla_ros.robots.hand_eye import FEWEST_PLACES
from stvla_ros.robots.hand_eye_fit import Place
from stvla_ros.robots.resting import RestingPictures
from stvla_ros.robots.urdf_arm import UrdfArm

# Of the pictures without a board, that are searched for other markers: it takes a second each.
_MOST_LOOKED_AT = 3


class ArmFrames:
    """The tool's pose in the base frame.

    :param embodiment: robot with an arm.
    :param urdf: file of the URDF, or the XML itself.
    :param tool_frame: link of the gripper; empty: the robot's tool frame.
    :raises InputError: naming the URDF and its fault.
    """

    def __init__(self, embodiment: Embodiment, urdf: str | Path, tool_frame: str) -> None:
        arm = embodiment.driver.arm
        self.base_frame, self.tool_frame = embodiment.base_frame, tool_frame or arm.tool_frame
        self._tool = UrdfArm(urdf, arm.joints, self.tool_frame)
        # The URDF may begin with another link, such as `world`; no joint lies between the two.
        base = UrdfArm(urdf, arm.joints, self.base_frame).tool_pose(np.zeros(len(arm.joints)))
        self._base_from_root = np.linalg.inv(base)

    def tool_pose(self, position: np.ndarray) -> np.ndarray:
        """(4, 4). :param position: (n,) radians."""
        return self._base_from_root @ self._tool.tool_pose(position)


@dataclass(frozen=True)
class SeenPlace:
    """
    :param place: place for the calibration.
    :param picture: (H, W, 3) uint8, one of its pictures.
    :param seen: board in that picture, in its own pixels.
    """

    place: Place
    picture: np.ndarray
    seen: SeenBoard


class PlaceMaker:
    """Makes places, one after the other.

    :ivar made: places with a board.
    :ivar intrinsics: (3, 3) pinhole matrix of the pictures; None before the first place.
    """

    def __init__(self, board: Board, arm: ArmFrames) -> None:
        self._finder, self._arm = BoardFinder(board), arm
        self._rests = 0
        self._without: list[np.ndarray] = []  # pictures of places without a board
        self._without_picture = 0
        self.made: list[SeenPlace] = []
        self.intrinsics: np.ndarray | None = None

    def add(self, resting: RestingPictures) -> str:
        """
        :returns: one line about this place.
        :raises InputError: without a calibration of the camera, or with one that is not that of the places before.
        """
        self._rests += 1
        name = f"place {self._rests}"
        boards = [self._finder.find(picture) for picture in resting.pictures]
        together = mean_board(each for each in boards if each is not None)
        if together is None:
            self._without += resting.pictures[-1:]
            del self._without[_MOST_LOOKED_AT:]
            self._without_picture += not resting.pictures
            return f"{name}: no {'board' if resting.pictures else 'picture'}"
        number = next(i for i, each in enumerate(boards) if each is not None)
        pinhole = self._pinhole(resting, together.pixels)
        place = Place(name, self._arm.tool_pose(resting.rest.position), together.points, pinhole)
        self.made.append(SeenPlace(place, resting.pictures[number], boards[number]))
        return f"{name}: {len(together.ids)} corners"

    def _pinhole(self, resting: RestingPictures, pixels: np.ndarray) -> np.ndarray:
        if resting.camera is None:
            raise InputError("camera_info: expected the camera's intrinsics, there are none")
        height, width = resting.pictures[0].shape[:2]
        size = (width, height)
        try:
            intrinsics = intrinsics_for(resting.camera, size, resting.rectified)
            pinhole = as_pinhole(resting.camera, size, resting.rectified, pixels)
        except InputError as error:
            raise InputError(f"camera_info: {str(error).removeprefix('camera_info: ')}") from None
        if self.intrinsics is None:
            self.intrinsics = intrinsics
        elif not np.allclose(intrinsics, self.intrinsics):
            raise InputError("camera_info: expected the same camera at all places, its intrinsics changed")
        return pinhole

    def places(self) -> list[Place]:
        """:raises InputError: when there are too few; the message says what was seen instead."""
        if len(self.made) >= FEWEST_PLACES:
            return [each.place for each in self.made]
        if not self._rests:
            raise InputError(
                f"places: expected {FEWEST_PLACES} or more, the arm never rested (hold it still for a second at each)"
            )
        board, rests = self._finder.board, f"{self._rests} place{'s' * (self._rests != 1)}"
        found = f"board: expected {board.text} at {FEWEST_PLACES} places or more, the arm rested at {rests}, "
        if self._without_picture == self._rests:
            raise InputError(f"{found}but no picture is of these times (do camera and arm go by the same clock?)")
        found += f"it was seen at {len(self.made)}"
        if instead := next(filter(None, (other_markers(each, board) for each in self._without)), ""):
            found += f"; there were {instead} (another board, or too little of it)"
        elif self._without:
            found += "; the others show no markers (out of the picture, too small, blurred or dark)"
        raise InputError(found)
