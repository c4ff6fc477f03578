"""ST4VLA through the common trainer: words first, then actions beside words."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import training_data
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stvla_ros.errors import InputError
from stvla_ros.learning.grounding.reading import GroundingQuestions, read_grounding
from stvla_ros.learning.training.asked_questions import GroundingConfig, ask_questions
from stvla_ros.learning.training.config import read_config
from stvla_ros.learning.training.loop import Trainer
from stvla_ros.learning.training.run import train
from stvla_ros.policy import load_policy
from stvla_ros.policy.families import ACTIONS, GROUNDING, find_family
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.kept_frames import PICTURES
from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.samples import Samples, SeenQuestion
from stvla_ros.policy.st4vla.create import create_checkpoint
from stvla_ros.policy.st4vla.training.options import St4VlaOptions
from stvla_ros.policy.st4vla.training.trainable import St4VlaTrainable
from stvla_ros.policy.training_record import resolve

PLAIN = InputsConfig(traces="none", depth="constant")
STAGES = [
    {"steps": 2, "objectives": {"grounding": 1.0}, "freeze": ["action_model"]},
    {"steps": 3, "objectives": {"actions": 1.0, "grounding": 0.1}},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("st4vla") / "tiny"
    create_checkpoint(folder, "tiny")
    return folder


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of questions about six pictures."""
    folder, random, lines = tmp_path_factory.mktemp("asked"), np.random.default_rng(0), []
    for number in range(6):
        x, y = (int(each) for each in random.integers(0, 180, 2))
        picture = random.integers(0, 60, (224, 224, 3), np.uint8)
        picture[y : y + 40, x : x + 40] = 255
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        lines += [
            json.dumps({"image": f"{number}.png", "sentence": f"white {kind}", "bbox": [x, y, 40, 40]})
            for kind in ("square", "thing")
        ]
    (folder / "questions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    training_data.usual(folder)
    return folder


def start(base: Path, **changes: Any):
    return training_data.start(base, **{"options": St4VlaOptions(), "inputs": PLAIN, **changes})


def samples(frames: int = 12) -> Samples:
    random = np.random.default_rng(0)
    made = training_data.demonstration(0, frames)
    return Samples(
        prepared={PICTURES: random.integers(0, 256, (frames, 224, 224, 3), np.uint8)},
        actions=made.action,
        executed=made.action,
        states=made.state,
        scene_points=made.scene_points,
        stamps=made.stamps,
        episode=np.zeros(frames, np.int64),
        last=np.full(frames, frames - 1),
        instructions=(made.instruction,),
    )


def ready(base: Path, **changes: Any) -> St4VlaTrainable:
    made = St4VlaTrainable(start(base, **changes))
    made.use(samples())
    return made


def questions(folder: Path) -> list[SeenQuestion]:
    read = GroundingQuestions(read_grounding(folder))
    return [read.see(number, 224) for number in range(4)]


def write_config(folder: Path, dataset: Path, asked: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    content = {
        "family": {"name": "st4vla", "options": {"repeats": 2}},
        "size": "tiny",
        "batch_size": 4,
        "precision": "float32",
        "device": "cpu",
        "save_every": 1,
        "log_every": 1,
        "validate_every": 100,
        "output": str(folder / "run"),
        "execution": "anchored",
        "inputs": {"traces": "none", "depth": "constant"},
        "data": {"paths": [str(dataset)], "cache": str(dataset.parent / "cache"), "validation_share": 0.1},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 1, "ema": 0.9},
        "augmentation": {"shift": 8, "zoom": 0.05},
        "grounding": {"paths": [str(asked)], "crop": 0.2, "flip": 0.5},
        "stages": STAGES,
        **changes,
    }
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset: Path, asked: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train(read_config(write_config(folder, dataset, asked)))
    return folder / "run"


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# --- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [ACTIONS, GROUNDING])
def test_the_loss_falls_on_one_batch(base: Path, asked: Path, objective: str) -> None:
    made = ready(base)
    batch = made.batch(np.arange(3)) if objective == ACTIONS else made.question_batch(questions(asked))
    optimizer = torch.optim.AdamW(made.module.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        torch.manual_seed(0)  # the same noise and times, so that nothing but the weights changes
        loss = made.losses(batch, {objective}).objectives[objective]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


def test_words_are_learnt_from_answers_alone(base: Path, asked: Path) -> None:
    """What is asked gets no loss: other labels there change nothing, one in an answer does."""
    made = ready(base)
    batch = made.question_batch(questions(asked))
    told = batch.ids[batch.answered]
    assert made._prompts.decode(told[: int(batch.answered[0].sum()) - 1].tolist()) == questions(asked)[0].answer
    assert (batch.ids[:, -1] == made._prompts.end).all() and batch.answered[:, -1].all()
    loss = made.losses(batch, {GROUNDING}).objectives[GROUNDING]
    state = made.network.last_state(*made_inputs(batch), batch.ids, batch.mask)
    scores = made.network.words(state).log_softmax(-1)
    expected = [
        -scores[row, place - 1, batch.ids[row, place]]
        for row, place in zip(*np.nonzero(batch.answered.numpy()), strict=True)
    ]
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-4, atol=1e-4)


def made_inputs(batch):
    from stvla_ros.policy.st4vla.encoder_inputs import patches

    return patches(batch.pictures.permute(0, 3, 1, 2).float() / 255.0)


def test_an_answer_does_not_depend_on_the_padding_beside_it(base: Path, asked: Path) -> None:
    made = ready(base)
    made.network.eval()
    some = questions(asked)[:2]
    longer = SeenQuestion(some[1].rgb, f"{some[1].question} that is a good deal longer than the other", some[1].answer)
    alone = made.losses(made.question_batch(some[:1]), {GROUNDING}).objectives[GROUNDING]
    both = made.question_batch([some[0], longer])
    state = made.network.last_state(*made_inputs(both), both.ids, both.mask)
    kept = both.answered[0, 1:]
    found = torch.nn.functional.cross_entropy(made.network.words(state[0, :-1][kept]), both.ids[0, 1:][kept])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_the_actions_gradient_into_the_language_model_is_weakened_as_told(base: Path, decay: float) -> None:
    def gradients(told: float) -> tuple[torch.Tensor, torch.Tensor]:
        made = ready(base, options=St4VlaOptions(gradient_decay=told))
        made.network.eval()
        # A new network finds no noise at all, and so passes no gradient on.
        torch.nn.init.ones_(made.network.action_model.net.final_layer.linear.weight)
        torch.manual_seed(0)
        made.losses(made.batch(np.arange(4)), {ACTIONS}).objectives[ACTIONS].backward()
        language = made.network.qwen_vl_interface.model.model.language_model.layers[0].mlp.up_proj.weight
        return language.grad, made.network.dino_pro.weight.grad

    (language, eyes), (whole, whole_eyes) = gradients(decay), gradients(1.0)
    assert whole.abs().max() > 0
    torch.testing.assert_close(language, decay * whole, rtol=1e-3, atol=1e-6 * float(whole.abs().max()))
    torch.testing.assert_close(eyes, whole_eyes)


@pytest.mark.parametrize("past_end", ["ignored", "zeros"])
def test_what_a_chunk_holds_past_the_end_is_a_setting(base: Path, past_end: str) -> None:
    made = ready(base, options=St4VlaOptions(past_end=past_end))
    batch = made.batch(np.array([10]))  # of 12: two actions are left of a chunk of four
    assert batch.valid.tolist() == [[True, True, *2 * [past_end == "zeros"]]]
    still = made._statistics.normalize(np.zeros(7))
    np.testing.assert_allclose(batch.normalized[0, 2:, :6], np.stack([still[:6]] * 2), rtol=1e-6)
    assert (batch.normalized[0, 2:, 6] == 0).all()


# --- runs -------------------------------------------------------------------------------------------------------------


def test_each_stage_learns_what_it_is_told_to(trained: Path) -> None:
    logged = entries(trained)
    steps = {entry["step"]: entry for entry in logged if "loss" in entry}
    assert set(steps) == set(range(5))
    assert all("answer" in steps[step] and "noise" not in steps[step] for step in (0, 1))
    for step in (2, 3, 4):
        assert steps[step]["loss"] == pytest.approx(steps[step]["noise"] + 0.1 * steps[step]["answer"], rel=1e-4)
    held_out = {name for entry in logged for name in entry if name.startswith("validation/")}
    assert {"validation/answer_tokens_right", "validation/translation_error_mm"} <= held_out
    assert (
        "12 about 6 pictures, 2 questions of them held out; 1 beside 4 samples"
        in (trained / "briefing.txt").read_text()
    )


def test_the_trained_checkpoint_acts_and_says_how(trained: Path) -> None:
    policy = load_policy(str(trained / "checkpoint"))
    chunk = policy.predict([np.zeros((120, 160, 3), np.uint8)], "put the spoon on the towel")
    assert list(policy.statistics) == ["stvla"] and np.isfinite(chunk.actions).all()
    found = resolve(str(trained / "checkpoint"), {})
    assert (found.execution, found.inputs.traces) == ("anchored", "none")


def test_a_run_that_was_ended_in_either_stage_goes_on_to_the_same_weights(
    trained: Path, dataset: Path, asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(write_config(tmp_path, dataset, asked))
    step = Trainer.train_step
    for at in (1, 3):

        def interrupted(trainer: Trainer, at: int = at) -> dict[str, float]:
            if trainer.step == at:
                raise KeyboardInterrupt
            return step(trainer)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Trainer, "train_step", interrupted)
            train(config)
    train(config)
    weights = [run / "checkpoint/model.safetensors" for run in (tmp_path / "run", trained)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_adapters_train_load_and_merge(base: Path, trained: Path, dataset: Path, asked: Path, tmp_path: Path) -> None:
    """Of the language model adapters alone, what is around it whole; merged or not, it acts the same."""
    changes = {
        "checkpoint": str(base),
        "lora": {"rank": 4, "alpha": 8.0, "merge": True},
        "gradient_checkpointing": True,
    }
    train(read_config(write_config(tmp_path, dataset, asked, **changes)))
    adapter, merged = tmp_path / "run/adapter", tmp_path / "run/checkpoint"
    stored = load_file(adapter / "adapter_model.safetensors")
    kinds = {"lora" if ".lora_" in name else name.split(".")[2] for name in stored}
    assert kinds == {"lora", "layer_qformer", "action_model", "dino_encoder", "dino_pro"}
    assert any(each.abs().max() > 0 for name, each in stored.items() if ".lora_B." in name)
    family = find_family("st4vla")
    assert [remark.level for remark in family.check(adapter)] == ["ok", "ok", "note"]
    assert family.inspect(adapter).base == base and family.inspect(merged).statistics == ("stvla",)
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    chunks = [
        load_policy(str(folder)).predict([picture], "put the spoon on the towel").normalized
        for folder in (adapter, merged)
    ]
    np.testing.assert_allclose(chunks[0], chunks[1], atol=1e-5)
    plain = load_policy(str(base)).predict([picture], "put the spoon on the towel").normalized
    assert np.abs(chunks[0] - plain).max() > 1e-3


def test_an_adapter_of_another_networks_shape_is_refused(
    base: Path, dataset: Path, asked: Path, tmp_path: Path
) -> None:
    made = ready(base, lora=LoraConfig(rank=2, alpha=2.0), base_name=str(base))
    made.save(tmp_path)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    name = next(each for each in stored if ".dino_pro.weight" in each)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as opened:
        metadata = opened.metadata()
    save_file({**stored, name: torch.zeros(3, 3)}, tmp_path / "adapter_model.safetensors", metadata)
    with pytest.raises(InputError, match=r"expected dino_pro.weight of shape \(32, 32\)"):
        load_policy(str(tmp_path))


def test_pictures_are_held_out_with_all_their_questions(asked: Path) -> None:
    found = ask_questions(GroundingConfig((str(asked),)), 0.3, seed=1)
    assert len(found.validation) == 4 and len(found.train) == 8
    assert {number // 2 for number in found.validation}.isdisjoint({number // 2 for number in found.train})


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"grounding": {}}, "grounding.paths: expected questions for the objective grounding, got none"),
        ({"grounding": {"paths": ["none"]}}, "expected a file of JSON lines, or a folder with questions.jsonl"),
        ({"grounding": {"paths": [], "share": 0}}, "grounding.share: expected more than 0"),
        ({"grounding": {"crop": 0.9}}, "grounding.crop: expected 0 to 0.8"),
        ({"family": {"name": "spatialvla"}}, "expected some of actions, scene, got 'grounding'"),
        ({"family": {"name": "st4vla", "options": {"repeats": 0}}}, "family.options.repeats: expected 1 to 64"),
        ({"family": {"name": "st4vla", "options": {"prompt": "go"}}}, "family.options.prompt: expected a text with"),
        ({"family": {"name": "st4vla", "options": {"gradient_decay": 2.0}}}, "gradient_decay: expected 0 to 1, got 2"),
        ({"inputs": {"traces": "depth"}}, "inputs.traces: expected none or rgb, networks of the family st4vla see no"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    tmp_path: Path, dataset: Path, asked: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        train(read_config(write_config(tmp_path, dataset, asked, **changes)))
    assert message in str(refused.value) and "\n" not in str(refused.value)
