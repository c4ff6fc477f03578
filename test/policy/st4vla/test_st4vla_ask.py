"""Answers in words: greedy, with kept keys and values, and the command around them."""

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stvla_ros.acting.ask import AskArguments, main
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.spatialvla.create import create_checkpoint as create_spatialvla
from stvla_ros.policy.st4vla.create import create_checkpoint
from stvla_ros.policy.st4vla.encoder_inputs import patches


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("st4vla") / "tiny"
    create_checkpoint(made, "tiny")
    return made


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


@torch.inference_mode()
def test_the_answer_is_the_likeliest_token_again_and_again(folder: Path, picture: np.ndarray) -> None:
    """Against whole forward passes, one for each token, without anything kept."""
    predictor = load_policy(str(folder))
    model, prompts = predictor.model, predictor.prompts
    pixels, grid = patches(predictor._prepared([picture]))
    ids = torch.from_numpy(prompts.encode_question("box of the plate"))[None]
    said: list[int] = []
    for _ in range(12):
        scores = model.words(model.last_state(pixels, grid, ids, torch.ones_like(ids))[:, -1])[0]
        best, second = scores.topk(2).values.tolist()
        assert best - second > 1e-4  # else another order of sums could choose the other
        said.append(int(scores.argmax()))
        ids = torch.cat([ids, torch.tensor([[said[-1]]])], dim=1)
    assert predictor.ask([picture], "box of the plate", 12) == prompts.decode(said)


def test_an_answer_ends_with_its_turn(folder: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that is said third is made the one that ends a turn."""
    predictor = load_policy(str(folder))
    ids = torch.from_numpy(predictor.prompts.encode_question("what is it?"))[None]
    pixels, grid = patches(predictor._prepared([picture]))
    said = predictor.model.answer(pixels, grid, ids, torch.ones_like(ids), predictor.prompts.end, 6)[0].tolist()
    last = said.index(said[2])
    monkeypatch.setattr(predictor.prompts, "end", said[2])
    assert predictor.ask([picture], "what is it?", 6) == predictor.prompts.decode(said[:last])


def test_several_questions_at_once_get_the_answers_of_each_alone(folder: Path, picture: np.ndarray) -> None:
    predictor = load_policy(str(folder))
    torch.manual_seed(0)
    # A new network says the same whatever it is asked.
    network = predictor.model.qwen_vl_interface.model
    for matrix in [each for each in network.model.language_model.layers.parameters() if each.dim() == 2]:
        torch.nn.init.normal_(matrix, std=0.3)
    network.lm_head.weight = torch.nn.Parameter(torch.randn_like(network.lm_head.weight))
    pictures = [picture, picture[::-1], picture]
    asked = ["box of the plate", "Which way will the gripper go to put the spoon on the towel?", "x"]
    alone = [predictor.ask([each], question, 6) for each, question in zip(pictures, asked, strict=True)]
    assert len(set(alone)) == 3
    assert predictor.ask_each(pictures, asked, 6) == alone


@pytest.mark.parametrize("pictures, questions", [(1, 2), (0, 0)])
def test_each_question_needs_a_picture(folder: Path, picture: np.ndarray, pictures: int, questions: int) -> None:
    with pytest.raises(InputError, match=f"^pictures: expected one for each question, got {pictures} for {questions}"):
        load_policy(str(folder)).ask_each([picture] * pictures, ["box of the plate"] * questions)


def test_who_is_asked_beside_has_the_same_weights_and_modules_of_its_own(folder: Path, picture: np.ndarray) -> None:
    predictor = load_policy(str(folder), device="cpu")
    beside = predictor.beside()
    tensors = [dict(each.model.named_parameters()) for each in (predictor, beside)]
    assert all(tensors[0][name] is tensors[1][name] for name in tensors[0])
    assert not set(predictor.model.modules()) & set(beside.model.modules())
    beside.ask([picture], "box of the plate", 2)
    # What transformers keeps between two calls.
    kept = [each.model.qwen_vl_interface.model.model.rope_deltas for each in (predictor, beside)]
    assert kept[0] is None and kept[1] is not None


def test_what_is_answered_beside_changes_no_action(folder: Path, picture: np.ndarray) -> None:
    predictor = load_policy(str(folder), device="cpu")
    torch.nn.init.normal_(predictor.model.action_model.net.final_layer.linear.weight, std=0.2)
    beside, over = predictor.beside(), threading.Event()
    alone = [predictor.predict([picture], "stack it").normalized for _ in range(4)]
    answers: list[str] = []

    def ask() -> None:
        while not over.is_set():
            answers.append(beside.ask([picture], "box of the plate", 64, over.is_set))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        predictor.reset()
        for right in alone:
            np.testing.assert_array_equal(predictor.predict([picture], "stack it").normalized, right)
    finally:
        over.set()
        asking.join()
    assert answers


def test_an_answer_is_cut_off_where_nobody_waits_for_it(folder: Path, picture: np.ndarray) -> None:
    predictor = load_policy(str(folder), device="cpu")
    said = predictor.ask([picture], "box of the plate", 12)
    told = iter([False, False, True])
    assert predictor.ask([picture], "box of the plate", 12, lambda: next(told)) == predictor.ask(
        [picture], "box of the plate", 3
    )
    assert said.startswith(predictor.ask([picture], "box of the plate", 3))


def test_the_command_prints_places_in_pixels_of_the_picture_and_draws_them(
    folder: Path, picture: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stvla_ros.policy.st4vla.predictor import St4VlaPredictor

    cv2.imwrite(str(tmp_path / "seen.png"), picture[..., ::-1])
    said = (
        '{"bbox_2d": [56, 56, 112, 168], "label": "plate"}, {"trajectory_2d": [[0, 0], [224, 224]], "label": "gripper"}'
    )
    monkeypatch.setattr(St4VlaPredictor, "ask", lambda *_: said)
    arguments = AskArguments("box of the plate", str(tmp_path / "seen.png"), str(folder), str(tmp_path / "a/drawn.png"))
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "answer": said,
        "boxes": [{"at": [40.0, 30.0, 80.0, 90.0], "label": "plate"}],
        "way": [[0.0, 0.0], [160.0, 120.0]],
    }
    drawn = cv2.imread(str(tmp_path / "a/drawn.png"))[..., ::-1]
    changed = (drawn != picture).any(axis=2)
    assert changed[60, 40] and changed[90, 60] and not changed[100, 20]


def test_the_command_asks_the_network_itself(folder: Path, picture: np.ndarray, tmp_path: Path, capsys) -> None:
    cv2.imwrite(str(tmp_path / "seen.png"), picture[..., ::-1])
    arguments = AskArguments("box of the plate", str(tmp_path / "seen.png"), str(folder), device="cpu", most_tokens=4)
    assert main(arguments) == 0
    right = load_policy(str(folder)).ask([picture], "box of the plate", 4)
    assert json.loads(capsys.readouterr().out)["answer"] == right


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image": "none.png"}, "image none.png: cannot be read"),
        ({"image": "{folder}/config.json"}, "expected a PNG or JPEG"),
        ({"question": "x" * 10_000_000}, "question: expected at most 4000 characters, got 10000000"),
        ({"question": " "}, "question: expected a question in words, got a blank text"),
        ({"question": "is <|image_pad|> it?"}, "question: expected plain words, it contains the reserved token"),
        ({"most_tokens": 0}, "most_tokens: expected 1 to 1024, got 0"),
        ({"output": "drawn.jpg"}, "output: expected a file with the ending .png"),
        ({"checkpoint": "{other}"}, "expected one that answers in words, family spatialvla does not"),
    ],
)
def test_what_cannot_be_asked_is_one_line(folder: Path, picture: np.ndarray, tmp_path: Path, changes, message) -> None:
    cv2.imwrite(str(tmp_path / "seen.png"), picture)
    if "checkpoint" in changes:
        create_spatialvla(tmp_path / "other", "tiny")
    usual = {"question": "where?", "image": str(tmp_path / "seen.png"), "checkpoint": str(folder), "device": "cpu"}
    told = {**usual, **changes}
    told = {
        name: str(value).format(folder=folder, other=tmp_path / "other") if isinstance(value, str) else value
        for name, value in told.items()
    }
    with pytest.raises(InputError) as refused:
        main(AskArguments(**told))
    assert message in str(refused.value) and "\n" not in str(refused.value)
