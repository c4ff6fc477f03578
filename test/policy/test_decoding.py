"""Decoding against a plain loop over transformers' Gemma2ForCausalLM: no cache, the whole head, an explicit mask."""

import itertools
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tiny_checkpoint import ACTION_BEGIN, depth_map, picture
from tolerance import assert_same_but_for_rounding, rounding
from transformers import Gemma2ForCausalLM

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.spatialvla.decoding.decoder import NO_TOKEN, Accelerations, ChunkDecoder, gumbel_noise
from stvla_ros.policy.spatialvla.decoding.token_predictor import PADDED_TEXT_TOKENS, TokenPredictor
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor

LEGAL = ((0, 4096), (4096, 8192), (8192, 8194)) * 4
BRIDGE = "bridge_orig/1.0.0"
INSTRUCTIONS = ("put the spoon on towel", "x", "pick up the green block and stack it on the yellow block, then open")
COMBINATIONS = [Accelerations(*flags) for flags in itertools.product((False, True), repeat=4)]
# From the picture's features to a score: 3 layers of 7 matrix products, and the head.
PRODUCTS = 22
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module", autouse=True)
def inference_mode():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model(predictor):
    return predictor.model


def inputs_of(predictor, seed, instruction):
    """Picture, points and embedded text as the model takes them, on its device."""
    model = predictor.model
    pixels = torch.from_numpy(picture(seed).transpose(2, 0, 1).astype(np.float32) / 255)[None].to(model.device)
    k = torch.tensor([[[220.0, 0, 112], [0, 290, 112], [0, 0, 1]]], device=model.device)
    points = model.points(torch.from_numpy(depth_map())[None].to(model.device) * (1 + 0.2 * seed), k)
    ids = torch.from_numpy(predictor.prompt_tokenizer.encode(instruction))[None]
    return pixels, points, model.embed_text(ids[:, 256:])


@pytest.fixture(scope="module", params=range(len(INSTRUCTIONS)))
def case(request):
    return request.param


@pytest.fixture(scope="module")
def prompt(case, predictor, model):
    """(1, P, E) features of the picture and (1, n, E) text."""
    pixels, points, text = inputs_of(predictor, case, INSTRUCTIONS[case])
    return model.image_features(pixels, points), text


@pytest.fixture(scope="module")
def transformers_model(model):
    """transformers' network with the weights of ours."""
    with torch.inference_mode(False):
        language = Gemma2ForCausalLM(model.config.text).eval()
        language.load_state_dict(model.language_model.state_dict())
    return language


@pytest.fixture(scope="module")
def reference(prompt, case, predictor, model, transformers_model):
    ids = torch.from_numpy(predictor.prompt_tokenizer.encode(INSTRUCTIONS[case]))
    return reference_tokens(model, transformers_model, prompt[0][0], ids[256:])


def reference_tokens(model, language, features, ids):
    """The whole sequence from scratch at every step; embeddings and mask made here."""
    begin, width = model.config.action_token_begin, features.shape[-1]
    sequence = torch.cat([features, language.model.embed_tokens.weight[ids] * width**0.5])
    prefix, tokens = len(sequence), []
    for first, end in LEGAL:
        length = len(sequence)
        row, column = torch.arange(length)[:, None], torch.arange(length)
        visible = (column < prefix) | (column <= row)
        mask = torch.zeros(length, length).masked_fill(~visible, torch.finfo(torch.float32).min)
        logits = language(
            inputs_embeds=sequence[None],
            attention_mask=mask[None, None],
            position_ids=torch.arange(1, length + 1)[None],
            use_cache=False,
        ).logits[0, -1]
        scores = logits[begin + first : begin + end]
        best, second = scores.topk(2).values.tolist()
        assert best - second > 2 * rounding(scores, PRODUCTS), "tokens too close to compare: take another instruction"
        tokens.append(int(scores.argmax()) + first)
        sequence = torch.cat([sequence, model.spatial_embed_tokens.weight[tokens[-1]][None] * width**0.5])
    return tokens


@pytest.mark.parametrize("accelerations", COMBINATIONS, ids=str)
def test_tokens_are_those_of_the_plain_loop_with_every_acceleration_on_and_off(model, prompt, reference, accelerations):
    assert TokenPredictor(model, LEGAL, accelerations).decode(*prompt).offsets.tolist() == reference


def test_different_inputs_give_different_tokens(predictor, model):
    answers = [
        tuple(TokenPredictor(model, LEGAL)(*inputs_of(predictor, seed, text)).tolist())
        for seed, text in ((0, "open"), (1, "open"), (0, "close"))
    ]
    assert len(set(answers)) == 3


def test_padding_and_a_cache_used_before_change_nothing(predictor, model):
    prompts = [inputs_of(predictor, seed, text) for seed, text in enumerate(INSTRUCTIONS)]
    tokens = TokenPredictor(model, LEGAL)
    for longest in PADDED_TEXT_TOKENS[1:]:
        cache = tokens._decoder.static_cache(256 + longest)
        for pixels, points, text in [*prompts, *reversed(prompts)]:
            padded = torch.nn.functional.pad(text, (0, 0, 0, longest - text.shape[1]))
            embeddings = torch.cat([model.image_features(pixels, points), padded], dim=1)
            answer = tokens._decoder(embeddings, torch.tensor(256 + text.shape[1]), None, cache).offsets
            assert answer.tolist() == tokens(pixels, points, text).tolist()


def test_a_chunk_without_numbers_leaves_none_in_the_cache_for_the_next(predictor, model):
    pixels, points, text = inputs_of(predictor, 0, "open")
    decode = ChunkDecoder(model, LEGAL)
    embeddings = torch.cat([model.image_features(pixels, points), text], dim=1)
    cache = decode.static_cache(embeddings.shape[1])
    assert (decode(torch.full_like(embeddings, torch.nan), cache=cache).offsets == NO_TOKEN).all()
    assert decode(embeddings, cache=cache).offsets.tolist() == decode(embeddings).offsets.tolist()


def test_padding_changes_nothing_for_the_modules_own_forward(predictor, model):
    plain = Accelerations(False, False, False, False)
    for pixels, points, text in [inputs_of(predictor, seed, words) for seed, words in enumerate(INSTRUCTIONS)]:
        padded = torch.nn.functional.pad(text, (0, 0, 0, 40 - text.shape[1]))
        embeddings = torch.cat([model.image_features(pixels, points), padded], dim=1)
        answer = ChunkDecoder(model, LEGAL, plain)(embeddings, torch.tensor(256 + text.shape[1])).offsets
        assert answer.tolist() == TokenPredictor(model, LEGAL)(pixels, points, text).tolist()


def test_graphs_get_the_prompt_padded_to_the_first_length_that_it_fits(predictor, model):
    tokens = TokenPredictor(model, LEGAL)
    pixels, points, text = inputs_of(predictor, 0, "open")
    width = text.shape[-1]
    for length, expected in ((1, 32), (32, 32), (33, 192), (192, 192)):
        padded = tokens._padded_inputs(pixels, points, torch.zeros(1, length, width), None)
        assert padded[2].shape == (1, expected, width) and int(padded[3]) == 256 + length
    with pytest.raises(InputError, match="^instruction: expected at most 191 tokens"):
        tokens._padded_inputs(pixels, points, torch.zeros(1, 193, width), None)


def test_every_prompt_that_the_tokenizer_lets_through_fits_a_graph(predictor, model):
    *_, text = inputs_of(predictor, 0, "x" * 127)
    assert TokenPredictor(model, LEGAL)._padded_inputs(*[torch.zeros(1)] * 2, text, None)


@pytest.mark.parametrize("seed", range(5))
def test_twelve_legal_tokens_whatever_the_embeddings(model, seed):
    torch.manual_seed(seed)
    embeddings = torch.randn(1, 7 + seed, model.config.text.hidden_size) * 10.0 ** (seed - 2)
    offsets = ChunkDecoder(model, LEGAL)(embeddings, torch.tensor(embeddings.shape[1])).offsets
    assert offsets.shape == (12,) and offsets.dtype == torch.int64
    assert all(first <= offset < end for offset, (first, end) in zip(offsets.tolist(), LEGAL, strict=True))


@contextmanager
def rows_replaced(weight, rows, value):
    kept = weight[rows].clone()
    weight[rows] = value
    try:
        yield
    finally:
        weight[rows] = kept


def test_only_the_heads_rows_of_legal_tokens_are_read(model, prompt, reference):
    head = model.language_model.lm_head.weight
    with rows_replaced(head, slice(0, ACTION_BEGIN), float("nan")):
        assert TokenPredictor(model, LEGAL).decode(*prompt).offsets.tolist() == reference


def test_only_the_rows_legal_at_a_position_are_read_there(model):
    torch.manual_seed(0)
    embeddings, head = torch.randn(1, 9, model.config.text.hidden_size), model.language_model.lm_head.weight
    grippers = ((8192, 8194),) * 3
    expected = ChunkDecoder(model, grippers)(embeddings, torch.tensor(9)).offsets
    with rows_replaced(head, slice(0, ACTION_BEGIN + 8192), float("nan")):
        assert torch.equal(ChunkDecoder(model, grippers)(embeddings, torch.tensor(9)).offsets, expected)


@pytest.mark.parametrize("row", [0, 4095, 4096, 8191, 8193])
@pytest.mark.parametrize(
    "accelerations", [Accelerations(), Accelerations(False, False, False, False)], ids=["on", "off"]
)
def test_nan_among_the_scores_gives_no_token(model, prompt, row, accelerations):
    with rows_replaced(model.language_model.lm_head.weight, ACTION_BEGIN + row, float("nan")):
        assert (TokenPredictor(model, LEGAL, accelerations).decode(*prompt).offsets == NO_TOKEN).all()


def test_chunk_reads_each_decoded_token(model, prompt, reference):
    embeddings = model.spatial_embed_tokens.weight
    with rows_replaced(embeddings, reference[0], 5.0):
        changed = TokenPredictor(model, LEGAL).decode(*prompt).offsets.tolist()
    assert changed[0] == reference[0] and changed[1:] != reference[1:]


def test_hidden_state_is_the_one_that_scored_the_first_token(model, prompt, reference):
    decoded = TokenPredictor(model, LEGAL).decode(*prompt)
    assert decoded.hidden.shape == (1, model.config.text.hidden_size) and decoded.hidden.dtype == torch.float32
    assert int(model.logits(decoded.hidden, ACTION_BEGIN, ACTION_BEGIN + 4096).argmax()) == reference[0]


def test_partial_logits_are_the_whole_ones_rows(model):
    torch.manual_seed(0)
    hidden = torch.randn(2, model.config.text.hidden_size)
    assert_same_but_for_rounding(model.logits(hidden, 50, 80), model.logits(hidden)[:, 50:80], PRODUCTS)
    assert model.logits(hidden * 1e4).abs().max() <= 30.0  # Gemma's cap


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("legal", [(8192, 8194), (100, 108)], ids=["gripper", "eight translations"])
def test_sampled_tokens_follow_the_softmax_at_the_temperature(model, legal, temperature):
    torch.manual_seed(1)
    embeddings, length = torch.randn(1, 4, model.config.text.hidden_size), torch.tensor(4)
    hidden = ChunkDecoder(model, [legal])(embeddings, length).hidden
    head = model.language_model.lm_head.weight
    # Scores closer together than this head's, so that no token has it all.
    with rows_replaced(head, slice(None), head * 0.2):
        decode = ChunkDecoder(model, [legal])
        scores = model.logits(hidden, ACTION_BEGIN + legal[0], ACTION_BEGIN + legal[1])[0]
        expected = torch.softmax(scores.double() / temperature, -1).numpy()
        generator, samples = torch.Generator().manual_seed(0), 400
        counts = np.zeros(legal[1] - legal[0])
        for _ in range(samples):
            noise = temperature * gumbel_noise(1, legal[1] - legal[0], generator)
            counts[int(decode(embeddings, length, noise).offsets) - legal[0]] += 1
    assert (expected * samples >= 5).all()  # the chi-square test's own condition
    assert chisquare(counts, expected * samples).pvalue > 1e-3


def test_gumbel_noise_has_the_distributions_mean_and_deviation():
    noise = gumbel_noise(12, 8192, torch.Generator().manual_seed(0)).numpy()
    assert noise.shape == (12, 8192) and np.isfinite(noise).all()
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.02)
    assert noise.std() == pytest.approx(np.pi / 6**0.5, abs=0.02)


@pytest.fixture(scope="module")
def sample(predictor):
    """Tokens of the first ``calls`` chunks of a predictor of its own that shares the network."""

    def run(calls=1, **options):
        made = SpatialVlaPredictor(predictor.model, predictor.prompt_tokenizer, predictor.processor, **options)
        chunks = [made.predict(picture(1), "open", depth_map(), unnorm_key=BRIDGE).tokens for _ in range(calls)]
        return [chunk.tolist() for chunk in chunks]

    return run


@pytest.mark.parametrize("temperature", [0.3, 3.0])
def test_predictors_temperature_divides_the_scores(predictor, sample, temperature):
    logits = predictor.predict(picture(1), "open", depth_map(), unnorm_key=BRIDGE, return_details=True).logits
    scores = torch.from_numpy(logits[ACTION_BEGIN : ACTION_BEGIN + 4096]) / temperature
    for seed in range(5):
        noise = gumbel_noise(12, 4096, torch.Generator().manual_seed(seed))[0]
        assert sample(temperature=temperature, seed=seed)[0][0][0] == int((scores + noise).argmax())


def test_same_seed_gives_the_same_tokens(sample):
    assert sample(2, temperature=1.0, seed=3) == sample(2, temperature=1.0, seed=3)


def test_another_seed_gives_other_tokens(sample):
    assert sample(temperature=1.0, seed=3) != sample(temperature=1.0, seed=4)


def test_sampling_goes_on_from_chunk_to_chunk(sample):
    first, second = sample(2, temperature=1.0, seed=3)
    assert first != second


def test_sampling_leaves_torchs_own_generator_alone(sample):
    state = torch.random.get_rng_state()
    sample(temperature=1.0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_lowest_temperature_is_greedy(sample):
    assert sample(temperature=1e-6, seed=5) == sample()


def test_highest_temperature_is_legal(sample):
    tokens = np.array(sample(temperature=100.0)[0])
    low, high = np.array(LEGAL[:3]).T
    assert ((tokens >= low) & (tokens < high)).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", v) for v in (-0.1, 101, float("nan"), float("inf"), "hot", None)]
    + [("seed", v) for v in (-1, 2**63, 1.5, "a", None)]
    + [("resize", v) for v in ("", "nearest", 3)],
)
def test_sampling_option_out_of_range_is_refused_by_name(sample, option, value):
    with pytest.raises(InputError, match=rf"^{option}: expected [^\n]*, got "):
        sample(**{option: value})


@pytest.fixture(scope="module")
def on_cuda(checkpoint):
    def load(**options):
        return load_policy(str(checkpoint), "cuda", "float32", **options)

    return load


def test_in_bfloat16_scores_are_not_rounded_to_it(checkpoint):
    model = load_policy(str(checkpoint), dtype="bfloat16").model
    decode = ChunkDecoder(model, LEGAL)
    torch.manual_seed(0)
    hidden = decode(torch.randn(1, 9, model.config.text.hidden_size).bfloat16()).hidden
    scores = decode._legal_scores(hidden, 0, 4096)
    exact = hidden.double() @ model.head(ACTION_BEGIN, ACTION_BEGIN + 4096).double().T
    assert_same_but_for_rounding(scores, model.cap(exact).float(), 1)
    assert len(scores.unique()) > 4000 > len(scores.bfloat16().unique())


@needs_cuda
@pytest.mark.parametrize("off", ["cuda_graph", "compiled_parts"])
@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 2}], ids=["greedy", "sampled"])
def test_on_cuda_graph_and_compiled_parts_on_and_off_give_the_same_tokens(on_cuda, options, off):
    answers = []
    for accelerations in (Accelerations(), replace(Accelerations(), **{off: False})):
        policy = on_cuda(accelerations=accelerations, **options)
        policy.warm_up()
        policy.reset()
        answers.append([
            policy.predict(picture(seed), text, depth_map(), unnorm_key=BRIDGE).tokens.tolist()
            for seed, text in enumerate(INSTRUCTIONS)
        ])  # fmt: skip
    assert answers[0] == answers[1]


@needs_cuda
def test_warm_up_captures_all_that_calls_replay(on_cuda, monkeypatch):
    policy = on_cuda()
    policy.warm_up()

    def refuse(*_, **__):
        raise AssertionError("captured after the warm-up")

    monkeypatch.setattr("stvla_ros.policy.spatialvla.decoding.token_predictor.CudaGraph", refuse)
    for seed, text in enumerate((*INSTRUCTIONS, "x" * 127)):
        for depth in (depth_map(), None):
            assert policy.predict(picture(seed), text, depth, unnorm_key=BRIDGE).tokens.shape == (4, 3)


@needs_cuda
def test_cuda_gives_the_tokens_of_the_cpu(on_cuda, predictor):
    on_gpu = on_cuda().predict(picture(1), "open", depth_map(), unnorm_key=BRIDGE).tokens
    assert (on_gpu == predictor.predict(picture(1), "open", depth_map(), unnorm_key=BRIDGE).tokens).all()
