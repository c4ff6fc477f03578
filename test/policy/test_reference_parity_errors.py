"""That the comparison with the published code's numbers is tight: errors planted in the network must show in it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from reference_answers import CASES, GOLDEN, answer, recorded_scores, same, same_tokens
from tiny_checkpoint import write_tiny_checkpoint
from tolerance import assert_same_but_for_rounding

from stvla_ros.perception.depth import zoedepth
from stvla_ros.policy import load_policy
from stvla_ros.policy.spatialvla import predictor
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    # The modules' own forward: what the accelerations make of their weights is made once, before an error is planted.
    plain = Accelerations(False, False, False, False)
    return load_policy(str(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))), accelerations=plain)


def replaced(target, name: str, wrong) -> Plant:
    return lambda patch: patch.setattr(target, name, wrong)


def skipped(module: torch.nn.Module) -> Plant:
    """Its input goes through as it is."""
    return replaced(module, "forward", lambda given, *_, **__: given)


def not_normed(layer: torch.nn.Module) -> Plant:
    """What comes after it gets the sum as it is."""
    return replaced(layer, "forward", lambda *given, run=layer.forward: (run(*given)[0],) * 2)


def points_changed(model, change: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    """An error in the (1, 256, 4, 3) points."""
    points = model.points

    def wrong(depth, intrinsics):
        found = points(depth, intrinsics)
        return change(found.reshape(1, 256, 4, 3)).reshape(found.shape)

    return replaced(model, "points", wrong)


def picture_changed(change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """An error in the (3, 224, 224) picture."""
    prepare = predictor.prepare_picture
    return replaced(predictor, "prepare_picture", lambda *given: np.float32(change(prepare(*given))).copy())


def resized(**changed) -> Plant:
    """ZoeDepth's picture and depth resized in another way; nothing else is resized with bicubic weights."""
    resize = zoedepth.F.interpolate

    def wrong(*given, **named):
        return resize(*given, **({**named, **changed} if named.get("mode") == "bicubic" else named))

    return replaced(zoedepth.F, "interpolate", wrong)


def resized_by_area() -> Plant:
    prepare = predictor.prepare_picture
    return replaced(predictor, "prepare_picture", lambda rgb, size, _: prepare(rgb, size, "area"))


def shifted_intrinsics() -> Plant:
    scale = predictor.scale_intrinsics
    shift = np.float32([[0, 0, 0.5], [0, 0, 0], [0, 0, 0]])
    return replaced(predictor, "scale_intrinsics", lambda *given: scale(*given) + shift)


XYZ, FEATURES, LOGITS = (("given/camera", output) for output in ("xyz", "image_features", "logits"))
DEPTH = ("zoe/2/0", "depth")


def text(model):
    return model.language_model.model


def zoe_layer(model):
    return model.vision_zoe_model.backbone.beit.layers[2]


# Error: the case and the output that must show it, and how it is planted in a model.
PLANTED: dict[str, tuple[str, str, Callable[[torch.nn.Module], Plant]]] = {
    "x and y of the points swapped": (*XYZ, lambda m: points_changed(m, lambda p: p[..., [1, 0, 2]])),
    "sub-rows and sub-columns swapped": (*XYZ, lambda m: points_changed(m, lambda p: p[:, :, [0, 2, 1, 3]])),
    "patches column by column": (
        *XYZ, lambda m: points_changed(m, lambda p: p.reshape(1, 16, 16, 4, 3).transpose(1, 2)),
    ),
    "half a pixel off": (*XYZ, lambda _: shifted_intrinsics()),
    "given depth a pixel to the right": (
        *XYZ, lambda _: replaced(predictor, "prepare_depth", lambda depth, *_: np.roll(depth, 1, axis=1)),
    ),
    "frequencies doubled": (
        *FEATURES, lambda m: replaced(m.position_embedding_3d, "frequencies", 2 * m.position_embedding_3d.frequencies),
    ),
    "points seen from a millimetre away": (
        *FEATURES, lambda m: replaced(m.position_embedding_3d, "centre", m.position_embedding_3d.centre + 0.001),
    ),
    "Ego3D's norm dropped": (*FEATURES, lambda m: skipped(m.position_embedding_3d.position_embedding_head[1])),
    "the encoder's last norm dropped": (*FEATURES, lambda m: not_normed(m.vision_tower.encoder.layers[-1])),
    "a layer of the encoder dropped": (
        *FEATURES,
        lambda m: replaced(
            m.vision_tower.encoder.layers[1],
            "forward",
            lambda hidden, normed, following, join: (hidden, following(hidden)),
        ),
    ),
    "red and blue swapped": (*FEATURES, lambda _: picture_changed(lambda rgb: rgb[::-1])),
    "picture a pixel to the right": (*FEATURES, lambda _: picture_changed(lambda rgb: np.roll(rgb, 1, axis=2))),
    "picture divided by 256": (*FEATURES, lambda _: picture_changed(lambda rgb: rgb * (255 / 256))),
    "the language model's last norm dropped": (*LOGITS, lambda m: skipped(text(m).norm)),
    "a norm of a layer dropped": (*LOGITS, lambda m: skipped(text(m).layers[1].post_feedforward_layernorm)),
    "a layer of the language model dropped": (*LOGITS, lambda m: skipped(text(m).layers[1])),
    "scores without the soft cap": (*LOGITS, lambda m: replaced(m.config.text, "final_logit_softcapping", None)),
    "attention without the soft cap": (
        *LOGITS, lambda m: replaced(text(m).layers[0].self_attn, "_cap", None),
    ),
    "a norm of ZoeDepth dropped": (*DEPTH, lambda m: skipped(zoe_layer(m).layernorm_after)),
    "a layer of ZoeDepth dropped": (*DEPTH, lambda m: skipped(zoe_layer(m))),
    "resized without aligned corners": (*DEPTH, lambda _: resized(align_corners=False)),
    "resized bilinearly": (*DEPTH, lambda _: resized(mode="bilinear")),
    "a pixel less of padding": (*DEPTH, lambda _: replaced(zoedepth, "padding", lambda _: 30)),
    "estimated depth a pixel down": (
        *DEPTH, lambda m: replaced(m, "estimate_depth", lambda x, run=m.estimate_depth: torch.roll(run(x), 1, dims=1)),
    ),
    "large picture resized by area": ("large", "depth", lambda _: resized_by_area()),
}  # fmt: skip


@pytest.mark.parametrize("error", PLANTED)
def test_planted_error_shows(policy, monkeypatch, error):
    case, output, plant = PLANTED[error]
    plant(policy.model)(monkeypatch)
    found = getattr(answer(policy, case), output)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        same(case, output, found)


@pytest.mark.parametrize("case", ["given/camera", "zoe/2/0"])
@pytest.mark.parametrize("step", range(12))
def test_a_token_one_bin_off_shows(policy, case, step):
    with recorded_scores() as scores:
        tokens = answer(policy, case).tokens.copy()
    tokens.ravel()[step] ^= 1
    # What is scored stays: the decoder takes a neighbour of the best.
    with pytest.raises(AssertionError, match=f"token {step}: "):
        same_tokens(case, tokens, scores)


@pytest.mark.parametrize("part", range(3))
def test_an_action_one_bin_off_shows(policy, part):
    tokens = GOLDEN["given/camera/tokens"].copy()
    tokens[1, part] ^= 1
    key = CASES["given/camera"][4]
    actions = policy.statistics[key].unnormalize(policy.action_tokenizer.decode(tokens))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_but_for_rounding(actions, GOLDEN["given/camera/actions"], 1, dtype=np.float64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", ["given/camera", "zoe/2/0"])
def test_weights_rounded_otherwise_do_not_show(policy, case, seed):
    generator = torch.Generator().manual_seed(seed)
    kept = {name: weight.clone() for name, weight in policy.model.named_parameters()}
    try:
        with torch.no_grad():
            for weight in policy.model.parameters():
                weight.mul_(1 + torch.finfo(weight.dtype).eps * torch.randn(weight.shape, generator=generator))
        with recorded_scores() as scores:
            found = answer(policy, case)
    finally:
        with torch.no_grad():
            for name, weight in policy.model.named_parameters():
                weight.copy_(kept[name])
    for output in ("depth", "xyz", "image_features", "logits"):
        same(case, output, getattr(found, output))
    same_tokens(case, found.tokens, scores)
