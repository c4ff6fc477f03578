"""The latent action model: what each part sees, and what it makes of it."""

import dataclasses

import pytest
import torch
from lam_scenes import KEYFRAMES, SIZE, TINY, clip, model, with_frame

from stvla_ros.policy.ssm_vla.checkpoint import empty_model
from stvla_ros.policy.ssm_vla.config import new_lam_config
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene, patch_centres, patched, unpatched


def raw(made, given: Clip) -> torch.Tensor:
    """(B, T, Q, C) before they are quantised."""
    tokens = made.tokens(given.frames).unflatten(0, (len(given.valid), -1))
    return made.encoder(tokens, given.valid)


def test_the_published_shapes_have_the_published_numbers_of_parameters() -> None:
    counts = empty_model(new_lam_config("calvin")).counts()
    assert round(counts["encoder"] / 1e6, 1) == 151.7
    assert round(counts["decoder"] / 1e6, 1) == 114.4


def test_the_small_size_is_small() -> None:
    assert 2e6 < sum(each.numel() for each in empty_model(new_lam_config("small")).parameters()) < 5e6


@pytest.mark.parametrize("changed", range(KEYFRAMES + 1))
def test_a_frame_changes_the_codes_from_it_on_and_none_before(changed: int) -> None:
    made, one = model(), clip()
    other = with_frame(one, changed, clip(seed=1))
    moved = (raw(made, one) - raw(made, other)).abs().amax(dim=(0, 2, 3))
    first = max(changed - 1, 0)
    assert (moved[:first] == 0).all() and (moved[first:] > 1e-4).all()


def test_depth_is_seen_by_the_encoder() -> None:
    made, one = model(), clip()
    frames = one.frames
    farther = Clip(Scene(frames.rgb, frames.depth + 0.3, frames.intrinsics), one.valid)
    assert (raw(made, one) - raw(made, farther)).abs().max() > 1e-3
    blind = model(dataclasses.replace(TINY, depth="target"))
    assert torch.equal(raw(blind, one), raw(blind, farther))


def test_what_stands_in_place_of_a_missing_keyframe_has_no_effect() -> None:
    made, one = model(), clip()
    one.valid[:, 1] = False
    other = with_frame(one, 2, clip(seed=1))
    other.frames.rgb[2 :: KEYFRAMES + 1] = 0.0
    left = [0, 2]
    assert torch.equal(raw(made, one)[:, left], raw(made, other)[:, left])


def test_the_decoder_sees_the_current_frame_and_the_codes_alone() -> None:
    made, one = model(), clip()
    codes = made.encode(one).codes
    other = clip(seed=1)
    for number in range(1, KEYFRAMES + 1):
        other = with_frame(one, number, clip(seed=1))
    assert torch.equal(made.decode(one.frame(0), codes).rgb, made.decode(other.frame(0), codes).rgb)
    elsewhere = made.decode(clip(seed=1).frame(0), codes).rgb
    assert (made.decode(one.frame(0), codes).rgb - elsewhere).abs().max() > 0.1


def test_the_decoder_hears_the_codes() -> None:
    made, one = model(), clip()
    codes = made.encode(one).codes
    assert (made.decode(one.frame(0), codes).rgb - made.decode(one.frame(0), -codes).rgb).abs().max() > 1e-3


def test_codes_are_decoded_in_one_way_in_training_and_out_of_ids() -> None:
    made, one = model(), clip()
    made.train()
    codes = made.encode(one)
    trained = made.decode(one.frame(0), codes.codes)
    made.eval()
    shown = made.decode(one.frame(0), made.look_up(codes.ids))
    assert torch.allclose(trained.rgb, shown.rgb, atol=1e-5)
    assert torch.allclose(trained.inverse, shown.inverse, atol=1e-5)


def test_a_new_model_predicts_that_nothing_changes() -> None:
    from stvla_ros.policy.ssm_vla.create import random_model

    made, one = random_model(TINY, 0), clip()
    rebuilt = made.decode(one.frame(0), made.encode(one).codes)
    assert torch.equal(rebuilt.rgb[:, 1], one.frame(0).rgb)
    assert torch.allclose(rebuilt.depth()[:, 1], one.frame(0).depth)


def test_colour_and_depth_have_heads_of_their_own() -> None:
    made, one = model(), clip()
    codes = made.encode(one).codes
    before = made.decode(one.frame(0), codes)
    with torch.no_grad():
        made.decoder.depth_change.bias += 0.1
    after = made.decode(one.frame(0), codes)
    assert torch.equal(before.rgb, after.rgb) and not torch.equal(before.inverse, after.inverse)


def test_a_model_without_depth_rebuilds_none() -> None:
    made, one = model(dataclasses.replace(TINY, depth="none")), clip()
    rebuilt = made.decode(one.frame(0), made.encode(one).codes)
    assert rebuilt.inverse is None and rebuilt.depth() is None


def test_codes_do_not_depend_on_the_batch() -> None:
    made, many = model(), clip(batch=5)
    frames, step = many.frames, KEYFRAMES + 1
    ids = made.encode(many).ids
    scores = raw(made, many)
    nearest = torch.nn.functional.normalize(scores, dim=-1) @ made.quantiser.vectors.T
    best = nearest.topk(2, dim=-1).values
    clear = (best[..., 0] - best[..., 1]) > 1e-4
    assert clear.float().mean() > 0.8
    for number in range(5):
        cut = slice(number * step, (number + 1) * step)
        one = Clip(Scene(frames.rgb[cut], frames.depth[cut], frames.intrinsics[cut]), many.valid[number : number + 1])
        assert (made.encode(one).ids[0] == ids[number])[clear[number]].all()


def test_patches_are_put_together_as_they_were_cut() -> None:
    pictures = torch.rand(2, 3, SIZE, SIZE)
    cut = patched(pictures, 8)
    assert torch.equal(cut[0, 1, :64].view(8, 8), pictures[0, 0, :8, 8:16])
    assert torch.equal(unpatched(cut, 8), pictures)


def test_a_patch_lies_where_its_middle_is_seen_at_the_mean_of_what_is_known() -> None:
    depth = torch.zeros(1, 16, 16)
    depth[0, :8, 8:12] = 2.0  # half of the patch at the upper right
    camera = torch.tensor([[[8.0, 0, 8], [0, 8, 8], [0, 0, 1]]])
    x, y, z, known = patch_centres(depth, camera, 8)[0, 1].tolist()
    assert (x, y, z, known) == pytest.approx(((12 - 8) / 8 * 2.0, (4 - 8) / 8 * 2.0, 2.0, 0.5))
    assert (patch_centres(depth, camera, 8)[0, 0] == 0).all()
    assert patch_centres(depth, torch.full_like(camera, torch.nan), 8)[0, 1].tolist() == [0.0, 0.0, 2.0, 0.5]


def test_a_resized_scene_has_its_points_where_they_were() -> None:
    scene = clip().frames
    smaller = scene.resized(SIZE // 2)
    depth = torch.ones(len(scene.depth), SIZE, SIZE)
    before = patch_centres(depth, scene.intrinsics, 8)
    after = patch_centres(depth[:, ::2, ::2], smaller.intrinsics, 4)
    assert torch.allclose(before, after)
