"""A latent action model learns from whatever has pictures and stamps, with the trainer of every policy."""

import json
from pathlib import Path
from typing import Any

import cv2
import made_bags
import numpy as np
import pytest
import training_data
import yaml
from made_clips import SECOND, bag, image_folder, pictures

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.recorded_clips import RecordedClips, RecordingsConfig
from stvla_ros.learning.training.config import read_config
from stvla_ros.learning.training.loop import Trainer
from stvla_ros.learning.training.run import train
from stvla_ros.policy.families import family_of
from stvla_ros.recordings.video_writer import VideoWriter

BLIND = {"inputs": {"traces": "none", "depth": "constant"}, "depth": "none"}


def configured(folder: Path, paths: list[Path], options: dict[str, Any] | None = None, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "family": {"name": "ssm_vla", "options": options or {}},
        "size": "tiny",
        "steps": 4,
        "batch_size": 4,
        "precision": "float32",
        "device": "cpu",
        "save_every": 2,
        "log_every": 1,
        "validate_every": 4,
        "objectives": {"latent": 1.0},
        "optimizer": {"learning_rate": 2e-3},
        "inputs": {"traces": "none", "depth": "sensor"},
        "output": str(folder / "run"),
        **changes,
    }
    data = {"paths": [str(path) for path in paths], "cache": str(folder / "cache"), "validation_share": 0.2}
    content["data"] = {**data, **changes.get("data", {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder / "config.yaml"


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_configuration_that_comes_along_can_be_read() -> None:
    file = Path(__file__).parents[2] / "config/train/lam.yaml"
    config = read_config(file, {"data.paths": ["seen.mp4"]})
    assert not config.needs_actions and config.optimizer.ema == 0.0


# --- clips ------------------------------------------------------------------------------------------------------------


def test_an_image_folder_is_a_clip_with_its_stamps(tmp_path: Path) -> None:
    clips = RecordedClips(image_folder(tmp_path / "seen"))
    assert clips.episode_lengths().tolist() == [20] and clips.info.fps == pytest.approx(5.0)
    assert np.isnan(clips.actions()).all() and clips.actions().shape == (20, 7)
    frames = list(clips.episode(0).frames())
    assert np.array_equal([frame.rgb for frame in frames], pictures(20))
    assert np.diff([frame.stamp for frame in frames]).tolist() == [SECOND // 5] * 19


def test_a_bags_episodes_are_its_clips_and_nothing_is_between_them(tmp_path: Path) -> None:
    clips = RecordedClips(bag(tmp_path / "bag"))
    assert clips.episode_lengths().tolist() == [19, 19]
    assert {"observation.images.depth", "observation.intrinsics"} == set(clips.info.features)
    for number, episode in enumerate([clips.episode(0), clips.episode(1)]):
        for step, frame in enumerate(episode.frames()):
            stamp = made_bags.START + number * 30 * SECOND + step * SECOND // 5
            assert frame.stamp == stamp and np.array_equal(frame.rgb, made_bags.rgb_of(stamp))
            assert np.array_equal(frame.depth, made_bags.depth_of(stamp))
            assert np.array_equal(frame.intrinsics, made_bags.INTRINSICS)
    assert len(clips.left_out) == 4 and "is in no episode" in clips.left_out[0]


def test_stamps_that_start_anew_begin_another_clip_and_late_ones_are_left_out(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "seen", 6)
    names = [path.name for path in sorted(folder.iterdir())]
    stamps = [10_000_000_000, 10_200_000_000, 10_100_000_000, 10_400_000_000, 1_000_000_000, 1_200_000_000]
    rows = "".join(f"{stamp},{name}\n" for stamp, name in zip(stamps, names, strict=True))
    (folder / "timestamps.csv").write_text(rows)
    clips = RecordedClips(folder)
    assert [clips.episode(number).stamps.tolist() for number in range(len(clips))] == [
        [10_000_000_000, 10_200_000_000, 10_400_000_000],
        [1_000_000_000, 1_200_000_000],
    ]
    (line,) = clips.left_out
    assert "stamp 10100000000 does not follow 10200000000" in line


def test_no_more_frames_a_second_are_used_than_asked_for(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "seen.mp4", 30.0) as video:
        for rgb in pictures(60):
            video.write(rgb)
    assert RecordedClips(tmp_path / "seen.mp4").episode_lengths().tolist() == [60]
    thinned = RecordedClips(tmp_path / "seen.mp4", RecordingsConfig(most_rate=5.0))
    assert thinned.episode_lengths().tolist() == [10] and thinned.info.fps == pytest.approx(5.0, rel=1e-3)


def test_a_data_set_whose_actions_mean_nothing_to_us_is_read_without_them(tmp_path: Path) -> None:
    training_data.write(tmp_path / "set", [training_data.demonstration(0)])
    file = tmp_path / "set/meta/info.json"
    info = json.loads(file.read_text())
    info["features"]["action"] |= {"names": [f"joint_{number}" for number in range(7)]}
    file.write_text(json.dumps(info))
    with pytest.raises(InputError, match="got joints"):
        LeRobotReader(tmp_path / "set")
    reader = LeRobotReader(tmp_path / "set", needs_actions=False)
    assert np.isnan(reader.actions()).all() and np.isnan(reader.episode(0).action).all()
    assert np.array_equal(reader.episode(0).rgb, training_data.demonstration(0).rgb)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on pictures without depth, a bag with depth, and a data set."""
    folder = tmp_path_factory.mktemp("clips")
    episodes = [training_data.demonstration(seed, 20) for seed in range(2)]
    training_data.write(folder / "set", episodes)
    paths = [image_folder(folder / "seen", rate=10.0, frames=40), bag(folder / "bag"), folder / "set"]
    train(read_config(configured(folder, paths, options={"label_share": 0.5})))
    return folder


def test_pictures_a_bag_and_a_data_set_train_one_model(trained: Path) -> None:
    checkpoint = trained / "run/checkpoint"
    assert family_of(checkpoint).latent_actions(checkpoint, "cpu").config.codes == 32
    steps = [line for line in metrics(trained / "run") if "loss" in line]
    assert [line["step"] for line in steps] == [0, 1, 2, 3]
    assert {"rgb", "depth", "commitment", "codes_live", "perplexity", "rgb_explained"} <= set(steps[0])
    page = (trained / "run/briefing.txt").read_text()
    assert "a recording, with depth" in page and "a recording, with no depth" in page
    assert "keyframes at 0.2, 0.8, 2.4 s" in page and "(no instruction)" in page
    assert "mm and degrees a step" not in page  # nobody asks what the actions are
    record = json.loads((trained / "run/checkpoint/training.json").read_text())
    assert record["family"] == "ssm_vla" and record["options"]["label_share"] == 0.5


def test_a_run_that_was_stopped_goes_on_with_its_codebook(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [trained / "seen", trained / "bag", trained / "set"]
    data = {"cache": str(trained / "cache")}
    config = configured(tmp_path, paths, options={"label_share": 0.5}, data=data)
    step = Trainer.train_step

    def stops(self: Trainer) -> dict[str, float]:
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "train_step", stops)
    with pytest.raises(KeyboardInterrupt):
        train(read_config(config))
    monkeypatch.undo()
    train(read_config(config))
    one, other = (folder / "run/checkpoint/model.safetensors" for folder in (trained, tmp_path))
    assert one.read_bytes() == other.read_bytes()
    assert [line.get("loss") for line in metrics(trained / "run")] == [
        line.get("loss") for line in metrics(tmp_path / "run")
    ]


@pytest.mark.slow
def test_moving_squares_in_picture_files_are_learnt_and_codes_live(tmp_path: Path) -> None:
    paths = [image_folder(tmp_path / f"seen{number}", 40, seed=number) for number in range(5)]
    changes = {"inputs": BLIND["inputs"], "steps": 150, "batch_size": 16, "validate_every": 150, "save_every": 150}
    train(read_config(configured(tmp_path, paths, options={"depth": BLIND["depth"]}, **changes)))
    lines = metrics(tmp_path / "run")
    steps = [line for line in lines if "loss" in line]
    assert np.mean([line["rgb"] for line in steps[-10:]]) < 0.6 * steps[0]["rgb"]
    assert steps[-1]["codes_live"] >= 8
    held_out = [line["validation/rgb_explained"] for line in lines if "validation/rgb_explained" in line]
    assert held_out[-1] > 0.2


# --- one line each ----------------------------------------------------------------------------------------------------


def refused(config: Path) -> str:
    with pytest.raises(InputError) as caught:
        train(read_config(config))
    assert "\n" not in str(caught.value)
    assert not (config.parent / "run/checkpoint").exists()
    return str(caught.value)


def test_no_depth_anywhere_is_one_line(tmp_path: Path) -> None:
    said = refused(configured(tmp_path, [image_folder(tmp_path / "seen")]))
    assert "expected depth in some of them because inputs.depth is sensor, none has any" in said


def test_clips_shorter_than_the_last_keyframe_are_one_line(tmp_path: Path) -> None:
    changes = {"inputs": BLIND["inputs"]}
    config = configured(tmp_path, [image_folder(tmp_path / "seen", 8)], {"depth": "none"}, **changes)
    said = refused(config)
    assert "expected a clip of 2.4 s, the last keyframe, or longer" in said and str(tmp_path / "seen") in said


def test_too_few_frames_a_second_are_one_line_that_names_the_clip(tmp_path: Path) -> None:
    paths = [image_folder(tmp_path / "seen"), image_folder(tmp_path / "slow", 20, rate=2.0)]
    said = refused(configured(tmp_path, paths, {"depth": "none"}, inputs=BLIND["inputs"]))
    assert said.startswith(f"{tmp_path / 'slow'}, episode 0: expected a frame every 0.4 s or more often")


@pytest.mark.parametrize(
    ("paths", "changes", "said"),
    [
        ([], {}, "data.paths: expected at least one LeRobotDataset folder, video, image folder or bag, got none"),
        (["nowhere.mp4"], {}, "data.paths: expected a LeRobotDataset, video, image folder or bag, there is no"),
        (["empty"], {}, "expected .png, .jpg, .jpeg files, found none"),
        (["broken.mp4"], {}, "cannot be read after 0 frames"),
        (["unstamped"], {}, "the pictures carry no stamps: expected a frame rate"),
        (["unstamped"], {"data": {"recordings": {"frame_rate": -1.0}}}, "data.recordings.frame_rate: expected 0 to"),
        (["unstamped"], {"objectives": {"actions": 1.0}}, "expected a LeRobotDataset, there is no meta/info.json"),
        (["unstamped"], {"objectives": {"scene": 1.0}}, "expected some of latent, actions, vision, codes, got 'scene'"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, paths: list[str], changes: dict[str, Any], said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    (tmp_path / "unstamped").mkdir()
    cv2.imwrite(str(tmp_path / "unstamped/frame1.png"), np.zeros((48, 48, 3), np.uint8))
    assert said in refused(configured(tmp_path, [tmp_path / path for path in paths], **changes))


def test_a_policy_that_acts_learns_from_no_recording(tmp_path: Path) -> None:
    family = {"name": "spatialvla", "options": {}}
    config = configured(tmp_path, [image_folder(tmp_path / "seen")], family=family, objectives={"actions": 1.0})
    assert "expected a LeRobotDataset, there is no meta/info.json" in refused(config)
