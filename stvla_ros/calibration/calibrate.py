"""`stvla calibrate`: the camera's pose, from an arm that holds a board into its picture."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from stvla_ros.calibration.calibration_report import report_lines, write_pose, write_sheet
from stvla_ros.calibration.printing import write_board_page
from stvla_ros.calibration.recorded import recorded_rests, urdf_in
from stvla_ros.calibration.seen_places import ArmFrames, PlaceMaker
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.graph.names import absolute_namespace
from stvla_ros.middleware import check_middleware
from stvla_ros.perception.boards import Board
from stvla_ros.perception.geometry import pose_numbers
from stvla_ros.recordings.bag_topics import BagTopics
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, Embodiment, find_embodiment
from stvla_ros.robots.hand_eye import FEWEST_PLACES, HandEye, Mounted, calibrate_hand_eye
from stvla_ros.robots.resting import RestingPictures
from stvla_ros.settings import Range

_DICTIONARIES = {"charuco": "4X4_50", "apriltag": "APRILTAG_36h11"}


@dataclass(frozen=True)
class CalibrateArguments:
    """Find where the camera is: the arm holds a printed board into its picture, at a dozen places at which it rests
    for a second, each with another turn and tilt of the gripper (docs/how-to/calibrate-a-camera.md).
    """

    bag: Positional[str] = ""
    """Recording of the camera and the arm's joints; empty: live topics, while you move the arm."""
    robot: str = RobotArguments.robot
    """Embodiment: widowx, ur5e_robotiq, fr3, xarm6, xarm7, so101, or a YAML file like config/robot_template.yaml."""
    camera: Mounted = "room"
    """Where the camera is: fixed in the room, with the board in the gripper; or on the hand, with the board fixed in
    the room."""
    board: Literal["charuco", "apriltag"] = "charuco"
    """A chessboard with markers in it, or one tag alone, which is less accurate."""
    columns: int = Board.columns
    """Squares of the chessboard in a row."""
    rows: int = Board.rows
    """Squares of the chessboard in a column."""
    square: float = Board.square
    """Side of a chessboard's square, metres, as printed: measure it."""
    marker: float = Board.marker
    """Side of a marker or of the tag with its black border, metres, as printed."""
    dictionary: str = ""
    """OpenCV's dictionary of the markers; empty: 4X4_50 for a chessboard, APRILTAG_36h11 for a tag."""
    tag: int = Board.tag
    """Id of the tag that is alone."""
    print_board: str = ""
    """Write the board's picture for a printer to this .png, and end."""
    namespace: str = ""
    """Namespace of the live topics whose names have no slash in front."""
    tool_frame: str = ""
    """Link of the URDF that holds the board, or that carries the camera; empty: the robot's tool frame."""
    image_topic: str = ""
    """Topic of the colour pictures; empty: the recording's own, or live the RealSense driver's."""
    camera_info_topic: str = ""
    """Topic of their intrinsics; empty: likewise."""
    joint_states_topic: str = ""
    """Topic of the arm's joints; empty: the robot's own."""
    places: Annotated[int, Range(FEWEST_PLACES, 1000)] = 15
    """Places after which the listening to live topics ends; Ctrl-C ends it earlier."""
    output: str = "camera_pose.yaml"
    """New file for the camera's pose, for --camera-pose; beside it comes a .png of the places."""


def main(arguments: CalibrateArguments) -> int:
    """:returns: the exit code.
    :raises InputError: for a bad argument, unusable recording or topics, and for places from which no pose follows;
        then no pose is written.
    """
    board = _board(arguments)
    if arguments.print_board:
        return _print(arguments.print_board, board)
    file = Path(arguments.output).expanduser().absolute()
    if file.suffix not in (".yaml", ".yml"):
        raise InputError(f"output: expected the name of a .yaml file, got {arguments.output}")
    if file.exists():
        raise InputError(f"output: expected a new file, {file} is there (move it away, or give another name)")
    embodiment = find_embodiment(arguments.robot)
    if embodiment.driver is None or embodiment.driver.arm is None:
        raise InputError(f"robot: expected one with an arm of joints, {arguments.robot} tells its joints to nobody")
    maker, frames = _recorded(arguments, board, embodiment) if arguments.bag else _live(arguments, board, embodiment)
    found = calibrate_hand_eye(maker.places(), maker.intrinsics, arguments.camera)
    frame = frames.base_frame if arguments.camera == "room" else frames.tool_frame
    write_pose(file, found, frame)
    write_sheet(file.with_suffix(".png"), maker.made)
    print("\n".join(report_lines(found, frame, board)))
    print(f"pose: {file} · pictures: {file.with_suffix('.png')}")
    print(f"next: {_next_command(arguments, found, frame, file)}")
    return 0


def _board(arguments: CalibrateArguments) -> Board:
    dictionary = arguments.dictionary or _DICTIONARIES[arguments.board]
    return Board(
        arguments.board,
        arguments.columns,
        arguments.rows,
        arguments.square,
        arguments.marker,
        dictionary,
        arguments.tag,
    )


def _print(name: str, board: Board) -> int:
    file = Path(name).expanduser().absolute()
    write_board_page(file, board)
    width, height = (1000 * side for side in board.size)
    print(f"{file}: {board.text}, {width:g} x {height:g} mm")
    print("next: print it at 100 %, measure it, stick it on something flat and stiff, and fix that to the gripper")
    return 0


def _recorded(arguments: CalibrateArguments, board: Board, embodiment: Embodiment) -> tuple[PlaceMaker, ArmFrames]:
    path = Path(arguments.bag).expanduser()
    topics = BagTopics(arguments.image_topic, arguments.camera_info_topic)
    resting = recorded_rests(path, embodiment, topics, arguments.joint_states_topic)
    first = next(resting, None)  # before the URDF: it is the bag that may be none
    frames = ArmFrames(embodiment, urdf_in(path, embodiment), arguments.tool_frame)
    maker = PlaceMaker(board, frames)
    if first is not None:
        _take(maker, [first])
        _take(maker, resting)
    return maker, frames


def _live(arguments: CalibrateArguments, board: Board, embodiment: Embodiment) -> tuple[PlaceMaker, ArmFrames]:
    check_middleware(os.environ)
    from stvla_ros.nodes.calibration_listener import CalibrationListener
    from stvla_ros.nodes.kit.command_node import command_node

    arm, needs = embodiment.driver.arm, embodiment.driver.needs()
    with command_node(absolute_namespace(arguments.namespace), "calibrate") as node:
        listener = CalibrationListener(
            node,
            arguments.image_topic or RobotArguments.image_topic,
            arguments.camera_info_topic or RobotArguments.camera_info_topic,
            arguments.joint_states_topic or needs.joint_states_topic,
            arm.joints,
        )
        listener.subscribe()
        described = arm.urdf == ROBOT_DESCRIPTION
        urdf = listener.description(needs.description_topic) if described else arm.urdf
        frames = ArmFrames(embodiment, urdf, arguments.tool_frame)
        maker = PlaceMaker(board, frames)
        print(
            f"move the arm to {arguments.places} places, each with another turn and tilt of the gripper, and let it "
            "rest for a second at each; Ctrl-C ends",
            file=sys.stderr,
        )
        try:
            _take(maker, listener.rests(), arguments.places)
        except KeyboardInterrupt:
            pass
    return maker, frames


def _take(maker: PlaceMaker, resting: Iterable[RestingPictures], enough: int | None = None) -> None:
    for each in resting:
        print(maker.add(each), file=sys.stderr, flush=True)
        if enough is not None and len(maker.made) >= enough:
            return


def _next_command(arguments: CalibrateArguments, found: HandEye, frame: str, file: Path) -> str:
    if arguments.camera == "room":
        return f"stvla robot --robot {arguments.robot} --camera-pose {file}"
    x, y, z, roll, pitch, yaw = (f"{number:.6f}" for number in pose_numbers(found.camera))
    return (
        f"ros2 run tf2_ros static_transform_publisher --x {x} --y {y} --z {z} --roll {roll} --pitch {pitch} "
        f"--yaw {yaw} --frame-id {frame} --child-frame-id camera_color_optical_frame"
    )
