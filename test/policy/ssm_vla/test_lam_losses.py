"""Every term counts, for any batch, and nothing counts that is not there."""

import pytest
import torch
from lam_scenes import KEYFRAMES, TINY, clip, model, with_frame

from stvla_ros.policy.ssm_vla.lam.frame_decoder import Rebuilt
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.seen_scene import inverse_depth
from stvla_ros.policy.ssm_vla.training.losses import (
    colour_loss,
    commitment_loss,
    depth_loss,
    explained,
    motion_loss,
    target_of,
)


def rebuilt(given: Clip) -> Rebuilt:
    shape = (len(given.valid), KEYFRAMES)
    rgb = given.frame(0).rgb[:, None].expand(*shape, -1, -1, -1).clone().requires_grad_()
    inverse = inverse_depth(given.frame(0).depth[:, None]).expand(*shape, -1, -1).clone().requires_grad_()
    return Rebuilt(rgb, inverse)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_every_term_has_a_gradient_for_every_batch(batch: int) -> None:
    made, given = model().train(), clip(batch)
    codes = made.encode(given)
    told = made.decode(given.frame(0), codes.codes)
    target = target_of(given, True)
    motion = torch.nn.Linear(TINY.queries * TINY.code_width, 5)(codes.codes.flatten(2))
    terms = {
        "rgb": colour_loss(told, target, 10.0),
        "depth": depth_loss(told, target, 10.0),
        "commitment": commitment_loss(codes.commitment, given.valid),
        "motion": motion_loss(motion, torch.ones_like(motion)),
    }
    for name, term in terms.items():
        gradient = torch.autograd.grad(term, made.encoder.out.weight, retain_graph=True)[0]
        assert gradient.abs().sum() > 0, name


def test_depth_has_a_gradient_wherever_it_is_wrong() -> None:
    given = clip()
    told = rebuilt(given)
    with torch.no_grad():
        told.inverse[:] = -0.5  # a rectifier would be dead here
    depth_loss(told, target_of(given, True), 10.0).backward()
    assert (told.inverse.grad < 0).all()


def test_missing_keyframes_do_not_count() -> None:
    given = clip()
    given.valid[:, 2] = False
    other = with_frame(given, 3, clip(seed=1))
    losses = []
    for each in (given, other):
        told, target = rebuilt(given), target_of(each, True)
        losses.append(colour_loss(told, target, 10.0) + depth_loss(told, target, 10.0))
        losses[-1].backward()
        assert (told.rgb.grad[:, 2] == 0).all() and (told.rgb.grad[:, 1] != 0).any()
    assert torch.equal(*losses)


def test_unknown_depth_does_not_count() -> None:
    given = clip()
    given.frames.depth[1 :: KEYFRAMES + 1, :4] = 0.0
    told = rebuilt(given)
    depth_loss(told, target_of(given, True), 10.0).backward()
    assert (told.inverse.grad[:, 0, :4] == 0).all() and (told.inverse.grad[:, 0, 4:] != 0).all()


def test_nothing_there_at_all_is_no_loss_and_no_fault() -> None:
    given = clip()
    given.valid[:] = False
    given.frames.depth[:] = 0.0
    told, target = rebuilt(given), target_of(given, True)
    loss = colour_loss(told, target, 10.0) + depth_loss(told, target, 10.0)
    loss.backward()
    assert loss == 0 and told.rgb.grad.abs().sum() == 0
    assert all(torch.isfinite(each) for each in explained(told, given, target).values())


def test_changing_pixels_weigh_more() -> None:
    given = clip()
    for number in range(1, KEYFRAMES + 1):
        given.frames.rgb[number :: KEYFRAMES + 1] = given.frame(0).rgb
        given.frames.depth[number :: KEYFRAMES + 1] = given.frame(0).depth
    given.frames.rgb[1 :: KEYFRAMES + 1, :, :2] = 1.0 - given.frame(0).rgb[:, :, :2].round()
    target = target_of(given, True)
    assert target.changed[:, 0, :2].all() and not target.changed[:, 0, 2:].any() and not target.changed[:, 1:].any()
    told = rebuilt(given)
    with torch.no_grad():
        told.rgb.copy_(target.rgb + 0.1)
    colour_loss(told, target, 10.0).backward()
    ratio = told.rgb.grad[:, 0, :, 0] / told.rgb.grad[:, 0, :, 5]
    assert torch.allclose(ratio, torch.full_like(ratio, 10.0), rtol=1e-3)


def test_a_change_of_depth_alone_is_a_change() -> None:
    given = clip()
    for number in range(1, KEYFRAMES + 1):
        given.frames.rgb[number :: KEYFRAMES + 1] = given.frame(0).rgb
        given.frames.depth[number :: KEYFRAMES + 1] = 1.2 * given.frame(0).depth
    assert target_of(given, True).changed.all() and not target_of(given, False).changed.any()


def test_a_copy_of_the_present_explains_nothing_and_the_truth_all() -> None:
    given = clip()
    target = target_of(given, True)
    copied = explained(rebuilt(given), given, target)
    right = explained(Rebuilt(target.rgb, target.inverse), given, target)
    assert copied == {"rgb_explained": 0.0, "depth_explained": 0.0}
    assert right == {"rgb_explained": 1.0, "depth_explained": 1.0}


def test_unknown_motion_does_not_count() -> None:
    told = torch.zeros(2, 3, 5, requires_grad=True)
    motion = torch.ones(2, 3, 5)
    motion[1] = torch.nan
    motion_loss(told, motion).backward()
    assert (told.grad[0] != 0).all() and (told.grad[1] == 0).all()
    assert motion_loss(told, torch.full_like(motion, torch.nan)) == 0
