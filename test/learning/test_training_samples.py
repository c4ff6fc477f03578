"""Prepared frames: what training sees is what the live graph shows."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import training_data

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.training.prepared_frames import PreparationJob, prepare_samples
from stvla_ros.perception.spatial_traces import SpatialTraces
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.pictures import prepare_depth, prepare_picture, scale_intrinsics
from stvla_ros.policy.samples import Samples
from stvla_ros.policy.spatialvla.training.batch import SpatialVlaPreparation

DEFAULT = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), (640, 480)
PREPARATION = SpatialVlaPreparation(224, "bicubic", tuple(DEFAULT[0].flatten().tolist()), DEFAULT[1])


def moving_square(frames: int = 14) -> np.ndarray:
    """(T, 120, 160, 3): a bright textured square that moves over a textured ground."""
    random = np.random.default_rng(0)
    ground = random.integers(0, 90, (120, 160, 3), np.uint8)
    square = random.integers(150, 255, (30, 30, 3), np.uint8)
    pictures = np.repeat(ground[None], frames, axis=0)
    for frame in range(frames):
        pictures[frame, 40:70, 20 + 4 * frame : 50 + 4 * frame] = square
    return pictures


def prepared(folder: Path, inputs: InputsConfig = InputsConfig(), **changes: object) -> tuple[LeRobotReader, Samples]:
    rgb = moving_square()
    episodes = [training_data.demonstration(seed, len(rgb), rgb=rgb, **changes) for seed in range(2)]
    reader = training_data.write(folder / "set", episodes)
    return reader, prepare_samples([reader], [range(2)], inputs, PREPARATION, folder / "cache", workers=1)


def depths_of(samples: Samples) -> np.ndarray:
    return samples.prepared["depths"][np.arange(len(samples))]


def test_prepared_frames_are_those_of_spatial_traces(tmp_path: Path) -> None:
    reader, samples = prepared(tmp_path)
    perception = SpatialTraces()
    drawn = 0
    depths, pictures = depths_of(samples), samples.prepared["pictures"][np.arange(len(samples))]
    episode = reader.episode(0)
    for frame in range(len(episode)):
        result = perception.step(episode.rgb[frame], int(episode.stamps[frame]), episode.depth[frame])
        drawn += result.traces.num_points > 0
        depth = prepare_depth(result.traced_depth, (160, 120), 224)
        assert (depths[frame] == depth.astype(np.float16)).all()
        picture = prepare_picture(episode.rgb[frame], 224)
        assert np.abs(pictures[frame].transpose(2, 0, 1) / 255.0 - picture).max() < 0.5 / 255 + 1e-6
    assert drawn > 5
    assert np.allclose(
        samples.prepared["intrinsics"][np.array([0])][0], scale_intrinsics(episode.intrinsics, (160, 120), 224)
    )


def test_perception_starts_anew_with_every_episode(tmp_path: Path) -> None:
    _, samples = prepared(tmp_path)
    first, second = np.split(depths_of(samples), 2)
    assert (first == second).all()


def test_without_traces_the_depth_is_clean(tmp_path: Path) -> None:
    _, samples = prepared(tmp_path, InputsConfig(traces="none"))
    assert (depths_of(samples) == np.float16(0.9)).all()


def test_traces_on_the_picture_leave_the_depth_clean(tmp_path: Path) -> None:
    _, clean = prepared(tmp_path / "a", InputsConfig(traces="none"))
    _, samples = prepared(tmp_path / "b", InputsConfig(traces="rgb"))
    assert (depths_of(samples) == depths_of(clean)).all()
    last = np.array([len(samples) - 1])
    assert (samples.prepared["pictures"][last] != clean.prepared["pictures"][last]).any()


def test_without_depth_every_pixel_is_equally_far(tmp_path: Path) -> None:
    _, samples = prepared(tmp_path, InputsConfig(traces="none", depth="constant"), depth=None)
    assert np.ptp(depths_of(samples)) == 0


def test_data_without_intrinsics_gets_the_default_ones(tmp_path: Path) -> None:
    _, samples = prepared(tmp_path, intrinsics=None)
    assert np.allclose(samples.prepared["intrinsics"][np.arange(len(samples))], scale_intrinsics(*DEFAULT, 224))


def test_frames_are_prepared_once(tmp_path: Path) -> None:
    reader, _ = prepared(tmp_path)
    folder = next((tmp_path / "cache").iterdir())
    made = (folder / "pictures.npy").stat().st_mtime_ns
    prepare_samples([reader], [range(2)], InputsConfig(), PREPARATION, tmp_path / "cache", workers=1)
    assert (folder / "pictures.npy").stat().st_mtime_ns == made
    prepare_samples([reader], [range(1)], InputsConfig(), PREPARATION, tmp_path / "cache", workers=1)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_prepared_frames_are_told_apart_by_all_that_they_depend_on(tmp_path: Path) -> None:
    readers = [training_data.write(tmp_path / name, [training_data.demonstration(0, 2)]) for name in "ab"]
    usual = {"reader": readers[0], "chosen": (0,), "inputs": InputsConfig(), "preparation": PREPARATION}
    inputs = {
        "traces": "rgb",
        "depth": "zoedepth",
        "depth_parameters": {"distance": 2.0},
        "tracker": "cotracker",
        "tracker_parameters": {"num_points": 7},
        "buffer": 7,
        "variant": "A",
        "drawing": {"line_width": 1},
        "adaptive": False,
        "resize": "area",
    }
    assert {field.name for field in dataclasses.fields(InputsConfig)} == set(inputs)
    others = [{"inputs": dataclasses.replace(InputsConfig(), **{name: value})} for name, value in inputs.items()]
    others += [{"reader": readers[1]}, {"chosen": (0, 1)}]
    kept = {"size": 64, "resize": "area", "default_camera": (1.0,) * 9, "default_size": (320, 240)}
    assert {field.name for field in dataclasses.fields(PREPARATION)} == set(kept)
    others += [{"preparation": dataclasses.replace(PREPARATION, **{name: value})} for name, value in kept.items()]
    names = [PreparationJob(**{**usual, **other}).digest() for other in ({}, {}, *others)]
    assert names[0] == names[1]
    assert len(set(names)) == 1 + len(others)


def test_several_data_sets_are_one_after_the_other(tmp_path: Path) -> None:
    rgb = moving_square()
    readers = [
        training_data.write(tmp_path / name, [training_data.demonstration(seed, len(rgb), rgb=rgb)])
        for seed, name in enumerate("ab")
    ]
    both = prepare_samples(readers, [range(1), range(1)], InputsConfig(), PREPARATION, tmp_path / "cache", workers=1)
    alone = prepare_samples(readers[1:], [range(1)], InputsConfig(), PREPARATION, tmp_path / "cache", workers=1)
    frames = len(rgb)
    assert both.episode.tolist() == [0] * frames + [1] * frames
    assert both.last.tolist() == [frames - 1] * frames + [2 * frames - 1] * frames
    mixed = np.array([2 * frames - 1, 0, frames])
    assert (both.prepared["pictures"][mixed[[0, 2]]] == alone.prepared["pictures"][mixed[[0, 2]] - frames]).all()
    assert (both.actions[frames:] == alone.actions).all()


def test_prepared_frames_that_were_cut_short_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    _, samples = prepared(tmp_path)
    file = next((tmp_path / "cache").glob("*/depths.npy"))
    os.truncate(file, file.stat().st_size - 2)
    samples.prepared["depths"][np.array([0])]
    with pytest.raises(InputError, match="depths.npy is shorter than it was"):
        samples.prepared["depths"][np.array([len(samples) - 1])]


def test_frames_are_found_by_their_stamps_within_the_episode(tmp_path: Path) -> None:
    _, samples = prepared(tmp_path)
    frames = len(samples) // 2
    indices = np.array([0, 3, frames - 1, frames + 2])
    earlier, has_earlier = samples.at(indices, -0.4)
    later, has_later = samples.at(indices, 0.6)
    assert earlier.tolist() == [0, 1, frames - 3, frames] and has_earlier.tolist() == [False, True, True, True]
    assert later.tolist() == [3, 6, frames - 1, frames + 5] and has_later.tolist() == [True, True, False, True]


def test_a_chunk_ends_with_its_episode(tmp_path: Path) -> None:
    _, samples = prepared(tmp_path)
    frames = len(samples) // 2
    steps, valid = samples.chunks(np.array([0, frames - 2]), 4)
    assert steps.tolist() == [[0, 1, 2, 3], [frames - 2, frames - 1, frames - 2, frames - 2]]
    assert valid.tolist() == [[True] * 4, [True, True, False, False]]
