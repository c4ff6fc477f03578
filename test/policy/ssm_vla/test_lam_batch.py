"""Clips out of prepared frames: keyframes by stamps, within an episode, all frames changed alike."""

import dataclasses

import numpy as np
import pytest
import torch
from lam_scenes import SIZE, TINY, samples

from stvla_ros.errors import InputError
from stvla_ros.learning.training.augmentation import DrawnAugmentation
from stvla_ros.learning.training.config_sections import AugmentationConfig
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.keyframes import find_keyframes
from stvla_ros.policy.ssm_vla.lam.seen_scene import patch_centres
from stvla_ros.policy.ssm_vla.training.lam_batch import LamBatchMaker, LamPreparation

SECONDS = TINY.keyframes_s


@pytest.mark.parametrize(("rate", "steps"), [(5.0, (1, 4, 12)), (10.0, (2, 8, 24)), (30.0, (6, 24, 72))])
def test_keyframes_are_at_seconds_whatever_the_rate(rate: float, steps: tuple[int, ...]) -> None:
    found, valid = find_keyframes(samples((80,), rate), SECONDS)
    assert found[0].tolist() == list(steps) and valid[0].all()


def test_a_clip_ends_with_its_episode() -> None:
    given = samples((20, 20))
    found, valid = find_keyframes(given, SECONDS)
    assert (given.episode[found] == given.episode[:, None]).all()
    assert valid[19].tolist() == [False] * 3 and valid[17].tolist() == [True, False, False]
    assert found[19].tolist() == [19] * 3


def test_a_keyframe_that_is_not_later_than_the_one_before_is_none() -> None:
    _, valid = find_keyframes(samples((20,), rate=2.0), SECONDS)
    assert not valid[:, 0].any() and valid[0, 1]  # 0.2 s are less than half a frame


def test_a_gap_in_the_stamps_leaves_its_keyframes_out() -> None:
    given = samples((20,))
    stamps = given.stamps.copy()
    stamps[5:] += 1_000_000_000
    _, valid = find_keyframes(dataclasses.replace(given, stamps=stamps), SECONDS)
    assert valid[4].tolist() == [False, False, True] and valid[5].all()


def test_clips_too_short_for_any_keyframe_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected a clip of 2.4 s, the last keyframe, or longer, the longest is"):
        LamBatchMaker(samples((1, 6)), SECONDS, 0.0, 0)


def test_clips_with_too_few_frames_a_second_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"clip 0: expected a frame every 0.4 s or more often .* one every 0.5 s"):
        LamBatchMaker(samples((20,), rate=2.0), SECONDS, 0.0, 0)


def test_some_short_clips_and_other_rates_are_remarked_on() -> None:
    given = samples((20, 6))
    given.stamps[20:] //= 2
    short, rates = LamBatchMaker(given, SECONDS, 0.0, 0).remarks
    assert short.startswith("1 of 2 clips are shorter than 2.4 s, as clip 1") and "5 to 10 frames a second" in rates
    assert LamBatchMaker(samples(), SECONDS, 0.0, 0).remarks == ()


def test_a_batch_holds_the_frames_of_each_clip_one_after_the_other() -> None:
    given = samples()
    batch = LamBatchMaker(given, SECONDS, 0.0, 0).make(np.array([0, 25]))
    wanted = given.prepared["pictures"][[0, 1, 4, 12, 25, 26, 29, 37]]
    assert torch.equal(batch.clip.frames.rgb, torch.from_numpy(wanted).permute(0, 3, 1, 2).float() / 255.0)
    assert torch.equal(batch.clip.frame(2).rgb, batch.clip.frames.rgb[[2, 6]])
    assert batch.clip.valid.tolist() == [[True] * 3] * 2


def test_one_change_moves_picture_depth_and_intrinsics_of_all_frames_of_a_clip() -> None:
    given, maker = samples(), LamBatchMaker(samples(), SECONDS, 0.0, 0)
    indices = np.arange(8)
    # A zoom of one pixel's width would round differently; a shift alone is exact.
    drawn = DrawnAugmentation(AugmentationConfig(shift=6), len(indices), np.random.default_rng(3))
    plain, moved = maker.make(indices).clip.frames, maker.make(indices, drawn).clip.frames
    red = (moved.rgb[:, 0] > 0.8) & (moved.rgb[:, 1] < 0.4)
    assert torch.equal(red, moved.depth < 0.8)  # the square takes its depth along
    for before, after in ((plain, moved),):
        shift = (after.intrinsics - before.intrinsics)[:, :2, 2]
        assert shift.abs().max() > 0
        assert (shift.unflatten(0, (8, -1)) == shift.unflatten(0, (8, -1))[:, :1]).all()
    points = [patch_centres(torch.ones_like(each.depth), each.intrinsics, 1) for each in (plain, moved)]
    for row in range(len(red)):
        dx, dy = (moved.intrinsics - plain.intrinsics)[row, :2, 2].int().tolist()
        place = 16 * SIZE + 16
        assert torch.allclose(points[0][row, place], points[1][row, place + dy * SIZE + dx], atol=1e-5)
    assert np.array_equal(given.prepared["pictures"], samples().prepared["pictures"])


def test_a_zoom_keeps_points_where_they_are() -> None:
    maker, indices = LamBatchMaker(samples(), SECONDS, 0.0, 0), np.arange(8)
    drawn = DrawnAugmentation(AugmentationConfig(zoom=0.3), len(indices), np.random.default_rng(3))
    zoomed = maker.make(indices, drawn).clip.frames
    red = (zoomed.rgb[:, 0] > 0.8) & (zoomed.rgb[:, 1] < 0.4)
    near = zoomed.depth < 0.8
    assert (red != near).float().mean() < 0.02 and near.any()
    assert (zoomed.intrinsics[:, 0, 0] != 40.0).all()


def test_motions_are_of_the_labelled_episodes_alone() -> None:
    given = samples((20,) * 10)
    motion = LamBatchMaker(given, SECONDS, 0.2, 0).motion
    told = np.isfinite(motion).all(axis=2).any(axis=1)
    assert len(np.unique(given.episode[told])) == 2
    assert np.isnan(LamBatchMaker(given, SECONDS, 0.0, 0).motion).all()


def test_labels_that_no_data_tell_are_refused() -> None:
    given = samples()
    given.states[:] = np.nan
    with pytest.raises(InputError, match="label_share: expected data that tell the arm's pose"):
        LamBatchMaker(given, SECONDS, 0.5, 0)


def test_unknown_depth_and_camera_stay_unknown() -> None:
    kept = LamPreparation(SIZE, "area")(PolicyInput.of(0, np.zeros((48, 64, 3), np.uint8)))
    assert (kept["depths"] == 0).all() and np.isnan(kept["intrinsics"]).all()
    depth = np.full((48, 64), np.inf, np.float32)
    depth[:24], depth[24:30] = 0.7, np.nan
    camera = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    kept = LamPreparation(SIZE, "area")(PolicyInput.of(0, np.zeros((48, 64, 3), np.uint8), depth, camera))
    assert (kept["depths"][:16] == np.float16(0.7)).all() and (kept["depths"][16:] == 0).all()
    assert kept["intrinsics"][0].tolist() == [30.0, 0, 16] and kept["intrinsics"][1].tolist() == [0, 40.0, 16]
