"""The network as it acts, against ``features`` and ``sample``, which are held to the published code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_st4vla import CHUNK, picture

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.st4vla import chunk_pass
from stvla_ros.policy.st4vla.checkpoint import empty_model
from stvla_ros.policy.st4vla.chunk_pass import PADDED_TEXT_TOKENS, ChunkPass, Prompt
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.create import create_checkpoint
from stvla_ros.policy.st4vla.encoder_inputs import dino_pixels, patch_rows, patches
from stvla_ros.policy.st4vla.eyes import Eyes
from stvla_ros.policy.st4vla.predictor import St4VlaPredictor
from stvla_ros.policy.st4vla.sizes import config_of_size

INSTRUCTION = "put the spoon on the towel"
# Of the largest number: other orders of summation.
APART = 1e-5


@pytest.fixture(scope="module", params=["converted", "small"])
def predictor(request: pytest.FixtureRequest, converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = converted
    if request.param == "small":
        folder = tmp_path_factory.mktemp("small") / "checkpoint"
        create_checkpoint(folder, "small")
    loaded = load_policy(str(folder), dtype="float32")
    # A new network finds no noise at all: then any condition would give the same.
    torch.nn.init.normal_(loaded.model.action_model.net.final_layer.linear.weight, std=0.2)
    return loaded


def given(predictor: St4VlaPredictor, views: int, text: str = INSTRUCTION) -> tuple[torch.Tensor, ...]:
    """Pictures, token ids and noise."""
    pictures = predictor._prepared([picture(number + 1) for number in range(views)])
    noise = torch.randn(1, predictor.model.config.chunk, 7, generator=torch.Generator().manual_seed(4))
    return pictures, torch.from_numpy(predictor.prompts.encode(text, views))[None], noise


def straightforward(predictor: St4VlaPredictor, *inputs: torch.Tensor) -> torch.Tensor:
    pictures, ids, noise = inputs
    model = predictor.model
    condition = model.features(*patches(pictures), ids, torch.ones_like(ids), dino_pixels(pictures))
    return model.sample(condition, noise)


def passed(chunks: ChunkPass, pictures: torch.Tensor, ids: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return chunks(pictures, chunks.prompt(ids, len(pictures)), noise)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("views", [1, 2])
@torch.inference_mode()
def test_the_chunk_is_that_of_features_and_sampler(predictor: St4VlaPredictor, views: int) -> None:
    inputs = given(predictor, views)
    assert apart(passed(ChunkPass(predictor.model, 10, 1.5), *inputs), straightforward(predictor, *inputs)) < APART


@pytest.mark.parametrize("text", [INSTRUCTION, "stack it " * 20])
@torch.inference_mode()
def test_padding_changes_nothing(predictor: St4VlaPredictor, text: str) -> None:
    inputs = given(predictor, 1, text)
    right = passed(ChunkPass(predictor.model, 10, 1.5, pads=False), *inputs)
    padding = ChunkPass(predictor.model, 10, 1.5, pads=True)
    assert padding.prompt(inputs[1], 1).embedded.shape[1] > inputs[1].shape[1]
    assert apart(passed(padding, *inputs), right) < APART


@torch.inference_mode()
def test_padding_that_the_queries_saw_would_show(predictor: St4VlaPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = given(predictor, 1)
    right = passed(ChunkPass(predictor.model, 10, 1.5), *inputs)
    queried = predictor.model.queried
    monkeypatch.setattr(predictor.model, "queried", lambda states, seen, _: queried(states, seen))
    assert apart(passed(ChunkPass(predictor.model, 10, 1.5, pads=True), *inputs), right) > 10 * APART


@torch.inference_mode()
def test_windows_of_unequal_size_are_looked_at_as_published(converted: Path) -> None:
    """Pictures of 7 x 7 tokens have windows of 4 x 4, 4 x 3, 3 x 4 and 3 x 3."""
    visual = load_policy(str(converted), dtype="float32").model.qwen_vl_interface.model.model.visual
    pixels, grid = patches(torch.rand(2, 3, 196, 196, generator=torch.Generator().manual_seed(0)))
    right = visual(pixels, grid_thw=grid).pooler_output
    assert apart(Eyes(visual, 196)(pixels).flatten(0, 1), right) < APART


def test_nothing_is_asked_of_the_device_on_the_way() -> None:
    """A CUDA graph cannot be recorded of what waits for a number. Tensors without numbers have none to tell: the
    published shape, as it is recorded.
    """
    config = St4VlaConfig.from_dict(config_of_size("4b"))
    model = empty_model(config)
    with torch.inference_mode():
        chunks = ChunkPass(model, 10, 1.5, pads=True)
        length, tokens = 15 + 64 + 64, config.picture_tokens
        prompt = Prompt(
            torch.empty(1, length, 2048, dtype=model.dtype, device="meta"),
            torch.empty(3, 1, length, dtype=torch.long, device="meta"),
            torch.empty(tokens, dtype=torch.long, device="meta"),
            torch.empty(1, length, dtype=torch.bool, device="meta"),
            1,
        )
        pictures, noise = (torch.empty(*shape, device="meta") for shape in ((1, 3, 224, 224), (1, 16, 7)))
        chunk = chunks(pictures, prompt, noise)
    assert chunk.device.type == "meta" and chunk.shape == (1, 16, 7)


@torch.inference_mode()
def test_goals_share_a_graph_and_no_goal_records_one(
    predictor: St4VlaPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = []

    def record(run: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...], pool: Any) -> Callable:
        recorded.append([tuple(tensor.shape) for tensor in inputs])
        return run

    monkeypatch.setattr(chunk_pass, "CudaGraph", record)
    chunks = ChunkPass(predictor.model, 10, 1.5, pads=True)
    chunks._uses_graphs = True
    pictures, ids, noise = given(predictor, 1)
    chunks.warm_up(pictures, ids, noise)
    lengths = [shapes[2][1] for shapes in recorded]
    assert len(lengths) == len(set(lengths)) == len(PADDED_TEXT_TOKENS)
    for text in (INSTRUCTION, "stack it", "stack the green block " * 20):
        inputs = given(predictor, 1, text)
        assert apart(passed(chunks, *inputs), straightforward(predictor, *inputs)) < APART
    assert len(recorded) == len(lengths)


@torch.inference_mode()
def test_a_prompt_that_no_graph_has_room_for_is_named(
    predictor: St4VlaPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_pass, "PADDED_TEXT_TOKENS", (8,))
    _, ids, _ = given(predictor, 1)
    with pytest.raises(InputError, match="instruction: expected at most 8 tokens together with the checkpoint's"):
        ChunkPass(predictor.model, 10, 1.5, pads=True).prompt(ids, 1)


@torch.inference_mode()
def test_a_new_goal_is_answered_for_itself(predictor: St4VlaPredictor) -> None:
    """What was kept of the goal before is not used for the next."""
    answers = []
    for text in (INSTRUCTION, "stack the green block", INSTRUCTION):
        predictor.reset()
        answers.append(predictor.predict([picture(1)], text, next(iter(predictor.statistics))).normalized)
    np.testing.assert_array_equal(answers[0], answers[2])
    assert not np.allclose(answers[0], answers[1]) and answers[0].shape[0] in (CHUNK, 8)


def test_patches_are_twice_the_same_picture() -> None:
    """Which the encoder relies on: it multiplies one by the sum of both's weights."""
    rows = patch_rows(torch.rand(1, 3, 56, 56)).view(-1, 3, 2, 196)
    assert torch.equal(rows[:, :, 0], rows[:, :, 1])
