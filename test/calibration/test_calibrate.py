"""`stvla calibrate` on rendered recordings of an arm whose camera is known: the pose, the files, what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from recorded_board import CAMERA, HAND_CAMERA, PLUMB_BOB, Recording
from scipy.spatial.transform import Rotation

from stvla_ros import cli
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.graph.assemble import robot_graph
from stvla_ros.perception.boards import Board, BoardFinder
from stvla_ros.perception.geometry import parse_pose

TAG = Board("apriltag", marker=0.08, dictionary="APRILTAG_36h11", tag=3)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["calibrate", *words])
    return ended.value.code


def pose_in(file: Path) -> np.ndarray:
    return parse_pose("camera_pose", " ".join(map(str, yaml.safe_load(file.read_text())["camera_pose"])))


def error(found: np.ndarray, camera: np.ndarray) -> tuple[float, float]:
    """(metres, degrees)."""
    between = np.linalg.inv(camera) @ found
    return float(np.linalg.norm(between[:3, 3])), float(np.degrees(Rotation.from_matrix(between[:3, :3]).magnitude()))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of a camera in the room with a lens, and what the command said."""
    folder = tmp_path_factory.mktemp("room")
    bag = Recording(distortion=PLUMB_BOB).write(folder / "bag")
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        code = run(str(bag), "--output", str(folder / "camera_pose.yaml"))
    assert code == 0, said
    return folder / "camera_pose.yaml", "\n".join(said)


def test_a_known_camera_is_found_within_two_millimetres_and_a_third_of_a_degree(calibrated: tuple[Path, str]) -> None:
    metres, degrees = error(pose_in(calibrated[0]), CAMERA)
    assert metres < 0.002 and degrees < 0.3


def test_the_residuals_and_the_next_command_are_told(calibrated: tuple[Path, str]) -> None:
    file, said = calibrated
    assert "place 12: 24 corners" in said
    [line] = [line for line in said.splitlines() if line.startswith("residuals (rms of 12 places): ")]
    assert " mm, " in line and "(one sigma)" in line
    assert f"next: stvla robot --robot widowx --camera-pose {file}" in said


def test_the_pictures_of_the_places_lie_beside_it(calibrated: tuple[Path, str]) -> None:
    sheet = cv2.imread(str(calibrated[0].with_suffix(".png")))
    assert sheet.shape == (4 * 360, 3 * 480, 3)
    # Corners are drawn in green.
    assert ((sheet[..., 1] > 200) & (sheet[..., 0] < 60) & (sheet[..., 2] < 60)).sum() > 1000


def test_the_graph_takes_the_file(calibrated: tuple[Path, str], tmp_path: Path) -> None:
    graph = robot_graph(RobotArguments(camera_pose=str(calibrated[0])), tmp_path)
    [told] = {p["camera_pose"] for node in graph.nodes for p in node.parameters.values() if "camera_pose" in p}
    assert np.allclose(parse_pose("camera_pose", told), pose_in(calibrated[0]))


def test_an_earlier_calibration_is_not_overwritten(calibrated: tuple[Path, str], capsys: pytest.CaptureFixture) -> None:
    before = calibrated[0].read_text()
    assert run("no_bag", "--output", str(calibrated[0])) == 2
    assert capsys.readouterr().err.startswith("error: output: expected a new file, ")
    assert calibrated[0].read_text() == before


def test_a_camera_on_the_hand_is_found_in_the_tool_frame(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bag = Recording(on_hand=True).write(tmp_path / "bag")
    file = tmp_path / "pose.yaml"
    assert run(str(bag), "--camera", "hand", "--output", str(file)) == 0
    metres, degrees = error(pose_in(file), HAND_CAMERA)
    assert metres < 0.002 and degrees < 0.3
    assert "--frame-id ee_gripper_link --child-frame-id camera_color_optical_frame" in capsys.readouterr().out
    # It moves: what needs a camera in the room does not take it for one.
    with pytest.raises(InputError, match="expected a pose in base_link, it is one in ee_gripper_link$"):
        robot_graph(RobotArguments(camera_pose=str(file)), tmp_path)


def test_a_single_tag_gives_the_pose_less_exactly(tmp_path: Path) -> None:
    bag = Recording(printed=TAG, turn=0.4, noise=2.0).write(tmp_path / "bag")
    words = ("--board", "apriltag", "--marker", "0.08", "--tag", "3", "--output", str(tmp_path / "pose.yaml"))
    assert run(str(bag), *words) == 0
    metres, degrees = error(pose_in(tmp_path / "pose.yaml"), CAMERA)
    assert metres < 0.006 and degrees < 0.5


REFUSED = {
    "one axis": (Recording(turned=(0,), places=7), "places: expected turns of the gripper about two axes"),
    "few places": (Recording(places=4), "board: expected 5x7 squares"),
    "blurred": (Recording(blur=6.0, places=7), "(out of the picture, too small, blurred or dark)"),
    "another size": (Recording(printed=Board(square=0.0265, marker=0.019), places=8), "by the arm's motion it is 6."),
    "another dictionary": (Recording(printed=Board(dictionary="5X5_100"), places=6), "there were 17 markers of 5X5_50"),
    "another layout": (Recording(printed=Board(columns=6, rows=5), places=6), "there were markers 0, 1, 2, 3, 4, 5, 6"),
    "a slipped board": (Recording(slips_at=5, places=9), "did the board slip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_pose_is_one_line_and_no_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recording, message = REFUSED[name]
    file = tmp_path / "pose.yaml"
    assert run(str(recording.write(tmp_path / "bag")), "--output", str(file)) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no_bag",), "bag no_bag: expected a rosbag2 folder or file, there is none"),
        (("no_bag", "--robot", "google_robot"), "robot: expected one with an arm of joints"),
        (("no_bag", "--output", "pose.json"), "output: expected the name of a .yaml file, got pose.json"),
        (("no_bag", "--square", "25"), "square: expected"),
        (("--print-board", "board.pdf"), "print_board: expected the name of a .png, got"),
    ],
)
def test_a_bad_argument_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())


def test_the_printed_board_says_how_large_it_is_and_is_found(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "board.png"
    assert run("--print-board", str(file)) == 0
    assert "5x7 squares of 25 mm" in capsys.readouterr().out
    data = file.read_bytes()
    at = data.index(b"pHYs") + 4
    dots = int.from_bytes(data[at : at + 4], "big")
    picture = cv2.imread(str(file))
    seen = BoardFinder(Board()).find(np.ascontiguousarray(picture[::4, ::4]))
    square = np.linalg.norm(seen.pixels[1] - seen.pixels[0]) * 4 / dots
    assert len(seen.ids) == 24 and square == pytest.approx(0.025, abs=1e-4)
