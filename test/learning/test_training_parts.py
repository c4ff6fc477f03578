"""The pieces of a training step, each against its definition."""

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from tolerance import assert_same_but_for_rounding, rounding

from stvla_ros.learning.training.augmentation import DrawnAugmentation
from stvla_ros.learning.training.config_sections import AugmentationConfig
from stvla_ros.learning.training.order import batch_indices
from stvla_ros.policy.spatialvla.actions.bin_fitting import PUBLISHED_GAUSSIANS, bins_from_gaussians
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations, ChunkDecoder
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor
from stvla_ros.policy.spatialvla.training.forward import legal_scores, run_known_tokens
from stvla_ros.policy.spatialvla.training.new_actions import smooth_embeddings
from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions
from stvla_ros.policy.spatialvla.training.scene_loss import SceneHeads
from stvla_ros.policy.spatialvla.training.token_loss import ChunkLoss

# From the picture to a hidden state: the encoder (2 layers of 6, and 3 about them) and the language model (3 of 7).
PRODUCTS = 36
TOKENIZER = bins_from_gaussians(PUBLISHED_GAUSSIANS)


def augment(
    pictures: np.ndarray, depths: np.ndarray, k: np.ndarray, config: AugmentationConfig, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return DrawnAugmentation(config, len(pictures), random)(pictures, depths, k)


def inputs(predictor: SpatialVlaPredictor, instructions: list[str]) -> tuple[torch.Tensor, ...]:
    """Pixels, points, padded prompts and their lengths."""
    model, generator = predictor.model, torch.Generator().manual_seed(0)
    size, count = model.config.image_size, len(instructions)
    pixels = torch.rand(count, 3, size, size, generator=generator)
    depth = 0.5 + torch.rand(count, size, size, generator=generator)
    k = torch.tensor([[200.0, 0.0, 112.0], [0.0, 200.0, 112.0], [0.0, 0.0, 1.0]]).expand(count, 3, 3)
    prompts = [torch.from_numpy(predictor.prompt_tokenizer.encode(text)) for text in instructions]
    ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=int(prompts[0][-1]))
    return pixels, model.points(depth, k), ids, torch.tensor([len(prompt) for prompt in prompts])


def test_one_pass_scores_every_token_as_decoding_does(predictor: SpatialVlaPredictor) -> None:
    """What decoding would choose after its own tokens is what the pass with these tokens scores best, also in a batch
    whose prompts differ in length.
    """
    model = predictor.model
    pixels, points, ids, lengths = inputs(
        predictor, ["pick up the red cube", "stack the green block on the yellow block"]
    )
    ranges = predictor.action_tokenizer.legal_ranges
    plain = Accelerations(legal_rows=True, static_cache=False, fused_layers=False, cuda_graph=False)
    decoder = ChunkDecoder(model, ranges * predictor.action_tokenizer.chunk_size, plain)
    with torch.inference_mode():
        features = model.image_features(pixels, points)
        decoded = []
        for row, length in enumerate(lengths):
            prompt = model.embed_prompt(ids[row : row + 1, :length], features[row : row + 1])
            decoded.append(decoder(prompt, length).offsets)
        offsets = torch.stack(decoded)
        scores = legal_scores(model, run_known_tokens(model, pixels, points, ids, lengths, offsets).answers, ranges)
    for number, (kind, (first, _)) in enumerate(zip(scores, ranges, strict=True)):
        chosen = kind.gather(-1, offsets.reshape(2, -1, 3)[..., number : number + 1] - first)
        behind = (kind.max(dim=-1, keepdim=True).values - chosen).max()
        # Both passes are rounded, each in its own way.
        assert behind <= 2 * rounding(kind, PRODUCTS)
        # Not so for a token beside it.
        assert (kind.max(dim=-1).values - kind.median(dim=-1).values).min() > 20 * rounding(kind, PRODUCTS)


def test_a_token_does_not_see_those_after_it(predictor: SpatialVlaPredictor) -> None:
    pixels, points, ids, lengths = inputs(predictor, ["pick up the red cube"])
    one = torch.zeros(1, 12, dtype=torch.long)
    other = one.clone()
    other[0, 6:] = 7
    with torch.inference_mode():
        a = run_known_tokens(predictor.model, pixels, points, ids, lengths, one).answers
        b = run_known_tokens(predictor.model, pixels, points, ids, lengths, other).answers
    assert_same_but_for_rounding(a[:, :7], b[:, :7], PRODUCTS)
    assert (a[:, 7:] - b[:, 7:]).abs().amax(dim=-1).min() > 2 * rounding(a, PRODUCTS)


@examples(quick=20)
@given(st.integers(0, 2**31 - 1), st.sampled_from([0.0, 0.1]))
def test_the_loss_is_smallest_for_the_right_answer(seed: int, smoothing: float) -> None:
    random = np.random.default_rng(seed)
    actions = np.concatenate([random.uniform(-1, 1, (1, 4, 6)), random.integers(0, 2, (1, 4, 1))], axis=-1)
    offsets = torch.from_numpy(TOKENIZER.encode(actions))
    loss = ChunkLoss(TOKENIZER, SpatialVlaOptions(smoothing=smoothing), torch.device("cpu"))
    normalized, valid = torch.from_numpy(actions).float(), torch.ones(1, 4, dtype=torch.bool)

    def scores(of: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made = [torch.zeros(1, 4, end - first) for first, end in TOKENIZER.legal_ranges]
        for kind, (first, _) in enumerate(TOKENIZER.legal_ranges):
            made[kind].scatter_(2, (of[..., kind : kind + 1] - first), 6.0)
        return tuple(made)

    right = loss(scores(offsets), offsets, normalized, valid).total
    for kind, columns in enumerate((slice(0, 3), slice(3, 6), slice(6, 7))):
        first, end = TOKENIZER.legal_ranges[kind]
        own = int(offsets[0, 0, kind])
        others = {own - 1, own + 1, int(random.integers(first, end))} & set(range(first, end)) - {own}
        for other in others:
            wrong = offsets.clone()
            wrong[0, 0, kind] = other
            stand_for = [TOKENIZER.decode(each.numpy())[0, 0, columns] for each in (offsets, wrong)]
            errors = [np.linalg.norm(each - actions[0, 0, columns]) for each in stand_for]
            # With smoothing one that stands for nearly as near an action is nearly as right.
            if not smoothing or errors[1] > errors[0] + 0.1:
                assert right < loss(scores(wrong), offsets, normalized, valid).total


@examples(quick=10)
@given(st.integers(0, 2**31 - 1), st.sampled_from([0.05, 0.1, 0.4]))
def test_the_smoothed_loss_is_the_divergence_from_a_gaussian_over_what_the_tokens_stand_for(
    seed: int, smoothing: float
) -> None:
    random = np.random.default_rng(seed)
    action = np.concatenate([random.uniform(-1, 1, (1, 1, 6)), random.integers(0, 2, (1, 1, 1))], axis=-1)
    offsets, normalized = torch.from_numpy(TOKENIZER.encode(action)), torch.from_numpy(action).float()
    loss = ChunkLoss(TOKENIZER, SpatialVlaOptions(smoothing=smoothing), torch.device("cpu"))
    valid = torch.ones(1, 1).bool()
    ranges = TOKENIZER.legal_ranges
    logs = []
    # Rotations count half in the distance.
    for kind, columns, scale in ((0, slice(0, 3), 1.0), (1, slice(3, 6), 0.5)):
        rows = np.tile([first for first, _ in ranges], (ranges[kind][1] - ranges[kind][0], 1))
        rows[:, kind] = np.arange(*ranges[kind])
        distance = scale * np.linalg.norm(TOKENIZER.decode(rows)[:, columns] - action[0, 0, columns], axis=1)
        logs.append(-(distance**2) / (2.0 * smoothing**2))
    gripper = torch.zeros(1, 1, 2)
    exact = (*(torch.from_numpy(each).float()[None, None] for each in logs), gripper)
    flat = (*(torch.zeros_like(each) for each in exact[:2]), gripper)
    best, plain = (loss(scores, offsets, normalized, valid).parts for scores in (exact, flat))
    for name, each in zip(("translation", "rotation"), logs):
        wanted = np.exp(each - each.max()) / np.exp(each - each.max()).sum()
        divergence = np.sum(wanted * np.log(np.maximum(wanted, 1e-300) * len(wanted)))
        assert float(plain[name]) == pytest.approx(divergence, rel=1e-3, abs=1e-3)
        assert float(best[name]) == pytest.approx(0.0, abs=1e-3)


def test_smoothing_counts_a_neighbour_as_nearly_right() -> None:
    action = np.zeros((1, 1, 7))
    action[..., 0] = 0.5
    offsets = torch.from_numpy(TOKENIZER.encode(action))
    loss = ChunkLoss(TOKENIZER, SpatialVlaOptions(smoothing=0.1), torch.device("cpu"))
    first, end = TOKENIZER.legal_ranges[0]
    places = TOKENIZER.decode(np.stack([np.arange(first, end), np.full(end, end), np.full(end, 8192)], axis=-1))[:, :3]
    by_distance = np.argsort(np.linalg.norm(places - [0.5, 0, 0], axis=1))
    losses = []
    for token in (by_distance[0], by_distance[1], by_distance[-1]):
        scores = [torch.zeros(1, 1, e - f) for f, e in TOKENIZER.legal_ranges]
        scores[0][0, 0, token] = 4.0
        parts = loss(tuple(scores), offsets, torch.from_numpy(action).float(), torch.ones(1, 1, dtype=torch.bool)).parts
        losses.append(float(parts["translation"]))
    assert losses[0] <= losses[1] < losses[2]


def test_actions_after_the_episode_do_not_count() -> None:
    action = np.zeros((1, 4, 7))
    offsets = torch.from_numpy(TOKENIZER.encode(action))
    random = torch.Generator().manual_seed(0)
    scores = [torch.randn(1, 4, e - f, generator=random) for f, e in TOKENIZER.legal_ranges]
    loss = ChunkLoss(TOKENIZER, SpatialVlaOptions(smoothing=0.1), torch.device("cpu"))
    valid = torch.tensor([[True, True, False, False]])
    before = loss(tuple(scores), offsets, torch.from_numpy(action).float(), valid).total
    for each in scores:
        each[:, 2:] = 100.0 * torch.randn(each[:, 2:].shape, generator=random)
    assert loss(tuple(scores), offsets, torch.from_numpy(action).float(), valid).total == before


@examples(quick=25)
@given(st.integers(0, 2**31 - 1))
def test_a_shift_leaves_every_point_where_it_is(seed: int) -> None:
    """A pixel's point in the camera's frame is the same before and after."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    depths = random.uniform(0.5, 1.5, (2, 64, 64)).astype(np.float32)
    k = np.array([[60.0, 0.0, 32.0], [0.0, 55.0, 30.0], [0.0, 0.0, 1.0]], np.float32)[None].repeat(2, 0)
    moved_pictures, moved_depths, moved_k = augment(pictures, depths, k, AugmentationConfig(shift=8), random)
    for row in range(2):
        dx, dy = np.round(moved_k[row, :2, 2] - k[row, :2, 2]).astype(int)
        assert (moved_k[row, [0, 1], [0, 1]] == k[row, [0, 1], [0, 1]]).all()
        assert moved_depths[row, 32 + dy, 32 + dx] == depths[row, 32, 32]
        assert (moved_pictures[row, 32 + dy, 32 + dx] == pictures[row, 32, 32]).all()


@examples(quick=25)
@given(st.integers(0, 2**31 - 1))
def test_a_zoom_leaves_every_point_where_it_is(seed: int) -> None:
    """A depth map that says of each pixel where its ray points: it must still be right after zoom and shift."""
    random = np.random.default_rng(seed)
    size, k = 32, np.array([[30.0, 0.0, 17.0], [0.0, 28.0, 15.0], [0.0, 0.0, 1.0]], np.float32)[None]

    def rays(k: np.ndarray, axis: int) -> np.ndarray:
        places = (np.arange(size, dtype=np.float32) + 0.5 - k[0, axis, 2]) / k[0, axis, axis]
        return np.broadcast_to(places if axis == 0 else places[:, None], (size, size))[None]

    pictures = np.zeros((1, size, size, 3), np.uint8)
    inside = (0, slice(10, 22), slice(10, 22))  # what comes from outside is the border's
    entropy = random.integers(2**31)
    for axis in (0, 1):
        config = AugmentationConfig(zoom=0.3, shift=2)
        _, depths, moved = augment(pictures, rays(k, axis).copy(), k, config, np.random.default_rng(entropy))
        half_a_pixel = 0.5 / 28.0
        assert np.abs(depths - rays(moved, axis))[inside].max() < 1.01 * half_a_pixel
        assert np.abs((depths - rays(moved, axis))[inside].mean()) < 0.7 * half_a_pixel


def test_colours_change_as_asked_and_only_they() -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(60, 180, (8, 16, 16, 3), dtype=np.uint8)
    depths, k = np.ones((8, 16, 16), np.float32), np.eye(3, dtype=np.float32)[None].repeat(8, 0)
    changed, same_depths, same_k = augment(pictures, depths, k, AugmentationConfig(colour=0.2), random)
    assert (same_depths == depths).all() and (same_k == k).all()
    ratios = changed.mean(axis=(1, 2, 3)) / pictures.mean(axis=(1, 2, 3))
    assert ratios.min() < 0.95 and ratios.max() > 1.05
    assert (np.abs(ratios - 1.0) < 0.21).all()


def grey(level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """16 pictures of one grey, with depths and intrinsics."""
    k = np.eye(3, dtype=np.float32)[None].repeat(16, 0)
    return np.full((16, 32, 32, 3), level, np.uint8), np.ones((16, 32, 32), np.float32), k


@given(st.integers(0, 2**32), st.sampled_from([0.2, 0.6]))
@examples(quick=5)
def test_another_lamp_is_no_brighter_than_allowed_and_leaves_the_depth(entropy: int, light: float) -> None:
    pictures, depths, k = grey(60)
    lit, *rest = augment(pictures, depths, k, AugmentationConfig(light=light), np.random.default_rng(entropy))
    assert all((a == b).all() for a, b in zip(rest, (depths, k), strict=True))
    # Brightness whole, its colour and both edges half each.
    most = np.exp(2.5 * light)
    assert lit.max() <= min(60 * most, 255) and lit.min() >= 60 / most - 1


def test_another_lamp_has_a_colour_and_stands_at_a_side() -> None:
    lit, _, _ = augment(*grey(60), AugmentationConfig(light=0.6), np.random.default_rng(0))
    middle = lit[:, 16, 16].astype(int)
    assert (np.ptp(middle, axis=1) > 2).mean() > 0.7
    assert (np.abs(lit[:, 16, 0].astype(int) - lit[:, 16, -1]).max(axis=1) > 2).mean() > 0.7


def test_black_stays_black_and_white_at_most_white_in_any_light() -> None:
    for level in (0, 255):
        lit, _, _ = augment(*grey(level), AugmentationConfig(light=2.0), np.random.default_rng(1))
        assert lit.max() == level


@given(st.integers(0, 2**32))
@examples(quick=5)
def test_a_texture_is_no_more_opaque_than_allowed(entropy: int) -> None:
    pictures, depths, k = grey(128)
    mixed, *rest = augment(pictures, depths, k, AugmentationConfig(texture=0.25), np.random.default_rng(entropy))
    assert all((a == b).all() for a, b in zip(rest, (depths, k), strict=True))
    assert (np.abs(mixed.astype(int) - 128) <= 0.25 * 128 + 1).all()
    assert np.ptp(mixed, axis=(1, 2, 3)).max() > 10


def test_no_augmentation_changes_nothing() -> None:
    pictures, depths = np.full((2, 8, 8, 3), 7, np.uint8), np.ones((2, 8, 8), np.float32)
    k = np.eye(3, dtype=np.float32)[None].repeat(2, 0)
    same = augment(pictures, depths, k, AugmentationConfig(), np.random.default_rng(0))
    assert all((a == b).all() for a, b in zip(same, (pictures, depths, k), strict=True))


def test_an_epoch_has_every_frame_once() -> None:
    indices = np.arange(100, 137)
    seen = np.concatenate([batch_indices(3, number, 8, indices) for number in range(37)])
    for epoch in range(8):
        assert sorted(seen[epoch * 37 : (epoch + 1) * 37]) == sorted(indices)


def test_scene_heads_learn_only_from_frames_that_know_the_answer(predictor: SpatialVlaPredictor) -> None:
    pixels, points, ids, lengths = inputs(predictor, ["pick up the red cube"] * 2)
    k = torch.tensor([[200.0, 0.0, 112.0], [0.0, 200.0, 112.0], [0.0, 0.0, 1.0]]).expand(2, 3, 3)
    hidden = run_known_tokens(predictor.model, pixels, points, ids, lengths, torch.zeros(2, 12, dtype=torch.long))
    heads = SceneHeads(predictor.model.config.text.hidden_size, predictor.model.config.image_size)
    known = torch.tensor([[0.0, 0.0, 0.6], [0.1, 0.0, 0.6], [0.0, 0.1, 0.5]])
    unknown = torch.full((3, 3), float("nan"))
    one = heads(hidden, points, k, torch.stack([known, unknown]))
    both = heads(hidden, points, k, torch.stack([known, known]))
    assert all(torch.isfinite(value.detach()) for value in one.values())
    assert float(one["relations"].detach()) != pytest.approx(float(both["relations"].detach()), rel=1e-6)
    nothing = heads(hidden, points, k, torch.stack([unknown, unknown]))
    assert all(float(value.detach()) == 0.0 for value in nothing.values())


def test_smooth_embeddings_are_alike_for_actions_that_are_alike(predictor: SpatialVlaPredictor) -> None:
    import copy

    model, tokenizer = copy.deepcopy(predictor.model), predictor.action_tokenizer
    smooth_embeddings(model, tokenizer, 0)
    first, end = tokenizer.legal_ranges[0]
    rows = torch.nn.functional.normalize(model.spatial_embed_tokens.weight[first:end].float(), dim=-1)
    offsets = np.stack([np.arange(first, end), np.full(end, end), np.full(end, tokenizer.num_tokens - 1)], axis=-1)
    places = tokenizer.decode(offsets)[:, :3]
    distances = np.linalg.norm(places - places[0], axis=1)
    alike = (rows @ rows[0]).numpy()
    assert alike[(distances > 0) & (distances < 0.1)].min() > alike[distances > 1.0].max() - 0.2
    assert alike[(distances > 0) & (distances < 0.1)].mean() > 0.7
