"""Videos, contact sheets and the page that links them."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from scripted_environment import ScriptedEnvironment

from stvla_ros.acting.episode import load_evaluated_policy, make_control, run_episode
from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.evaluation.episode_pictures import EpisodePictures
from stvla_ros.evaluation.plots import plot_lines, plot_settings, plot_table
from stvla_ros.evaluation.tables import make_table
from stvla_ros.evaluation.thumbnails import contact_sheet, write_page
from stvla_ros.perception.side_by_side import OUTCOME_COLOURS
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import Observer
from stvla_ros.recordings.video_reader import read_video


def _result(episode: int, success: bool) -> EpisodeResult:
    return EpisodeResult(EpisodeKey("reach", "ours", 0, episode), success, success, 12, conditions={"near": True})


@pytest.mark.parametrize(("traces", "size"), [("none", (320, 240)), ("depth", None)])
def test_a_video_shows_every_observation(traces: str, size: tuple[int, int] | None, tmp_path: Path) -> None:
    environment = ScriptedEnvironment("reach")
    policy = EvaluatedPolicy("ours", "expert", inputs=InputsConfig(traces=traces))
    control = make_control(policy, load_evaluated_policy(policy, "panda", 0), environment)
    with EpisodePictures(tmp_path / "a" / "b", "reach 0", 5.0) as pictures:
        key = EpisodeKey("reach", "ours", 0, 0)
        result = run_episode(environment, key, Observer(policy.inputs), control, watch=pictures.watch)
    frames = list(read_video(tmp_path / "a" / "b.mp4"))
    assert len(frames) == result.steps + 10, "at 10 pictures a second the last one is shown for a second"
    height, width = frames[0].rgb.shape[:2]
    assert (width, height) == size if size else width > 3 * height
    thumbnail = cv2.imread(str(tmp_path / "a" / "b.jpg"))
    assert thumbnail.shape == (180, 240, 3)


def test_a_sheet_frames_success_in_green_and_failure_in_red() -> None:
    results = [_result(episode, episode % 3 == 0) for episode in range(11)]
    pictures = [np.full((48, 64, 3), 10 * index, np.uint8) for index in range(11)]
    sheet = contact_sheet("ours, reach: 4/11", results, pictures)
    counts = {
        outcome: int((sheet == np.array(colour)).all(axis=2).sum()) for outcome, colour in OUTCOME_COLOURS.items()
    }
    a_frame = 2 * 4 * (160 + 8) + 2 * 4 * 120
    assert counts == {"success": 4 * a_frame, "failure": 7 * a_frame}
    for value in range(0, 110, 10):
        assert (sheet == value).all(axis=2).sum() >= 160 * 120 * 0.99


def test_an_episode_without_a_picture_keeps_its_place() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    assert (
        contact_sheet("t", [_result(0, True), _result(1, True)], [picture, None]).shape
        == contact_sheet("t", [_result(0, True), _result(1, True)], [picture, picture]).shape
    )


def test_every_link_of_the_page_leads_somewhere(tmp_path: Path) -> None:
    results = [_result(0, True), _result(1, False)]
    for result in results:
        stem = tmp_path / "pictures" / result.key.file_stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f"{stem}.jpg", np.zeros((48, 64, 3), np.uint8))
        stem.with_suffix(".mp4").write_bytes(b"video")
    page = write_page(results, tmp_path / "pictures", tmp_path)
    links = re.findall(r'(?:href|src)="([^"]+)"', page.read_text())
    assert len(links) == 4
    assert all((tmp_path / link).is_file() for link in links)
    assert (tmp_path / "thumbnails" / "ours_reach.png").is_file()


def test_plots_are_written_and_the_same_every_time(tmp_path: Path) -> None:
    table = make_table([_result(0, True), _result(1, False)], ["ours"], ["reach"])
    rate = table.row("ours", "reach").success
    for run in ("first", "second"):
        folder = tmp_path / run
        folder.mkdir()
        plot_table(table, folder / "table.png", "t")
        plot_table(table, folder / "bounds.png", "t", {"reach": 0.3}, 1)
        plot_lines({"a": [(0, rate), (100, rate)], "b": [(0, rate)]}, folder / "lines.png", "t", "ms")
        plot_settings({"A": rate, "B": rate}, folder / "settings.png", "t", {"A": 9.1})
    for name in ("table.png", "bounds.png", "lines.png", "settings.png"):
        first = (tmp_path / "first" / name).read_bytes()
        assert first == (tmp_path / "second" / name).read_bytes()
        picture = cv2.imread(str(tmp_path / "first" / name))
        assert min(picture.shape[:2]) > 300 and picture.std() > 5
    assert (tmp_path / "first/bounds.png").read_bytes() != (tmp_path / "first/table.png").read_bytes()
