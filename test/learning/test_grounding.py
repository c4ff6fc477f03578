"""Grounding data: what a simulator knows becomes questions and answers, and people's own are read as they are."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.learning.demonstrations.record import RecordArguments, main
from stvla_ros.learning.grounding.facts import (
    FEWEST_WAYPOINTS,
    MOST_WAYPOINTS,
    box_of,
    point_in,
    scene_facts,
    waypoints,
)
from stvla_ros.learning.grounding.questions import ask
from stvla_ros.learning.grounding.reading import GroundingQuestions, GroundingSample, read_grounding
from stvla_ros.learning.grounding.shuffling import with_answers_shuffled
from stvla_ros.learning.grounding.writing import SIZE, AskedPicture, stage, write_grounding
from stvla_ros.policy.grounding.places import PictureMove, box_text, moved_text, path_text, point_text
from stvla_ros.policy.grounding.wordings import FORMS
from stvla_ros.sim.environment import SeenThings

SIDE = st.integers(8, 60)
TENTHS = st.integers(0, 1000).map(lambda number: number / 10)


def numbers(text: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", re.sub(r"_2d", "", text))]


@st.composite
def masks(draw):
    """Some ragged shape in a picture of some size."""
    height, width = draw(SIDE), draw(SIDE)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = random.random((height, width)) < draw(st.floats(0.01, 0.9))
    mask[random.integers(height), random.integers(width)] = True
    return mask


@examples(quick=100)
@given(masks())
def test_a_box_is_the_smallest_around_its_mask(mask) -> None:
    x0, y0, x1, y1 = box_of(mask).astype(int)
    assert mask.sum() == mask[y0:y1, x0:x1].sum()
    for edge in (mask[y0, x0:x1], mask[y1 - 1, x0:x1], mask[y0:y1, x0], mask[y0:y1, x1 - 1]):
        assert edge.any()


@examples(quick=100)
@given(masks())
def test_a_point_lies_in_its_mask(mask) -> None:
    x, y = point_in(mask)
    assert mask[int(y), int(x)]


def test_a_ring_is_pointed_at_on_its_rim() -> None:
    ring = np.zeros((60, 60), bool)
    ring[5:55, 5:55] = True
    ring[15:45, 15:45] = False
    x, y = point_in(ring)
    assert ring[int(y), int(x)]


@examples(quick=100)
@given(st.lists(st.tuples(st.floats(0, 224), st.floats(0, 224)), min_size=2, max_size=40))
def test_waypoints_are_as_far_apart_along_the_way_and_keep_its_ends(way) -> None:
    way = np.array(way)
    found = waypoints(way, 224)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    if found is None:
        assert lengths[-1] < 0.04 * 224
        return
    assert FEWEST_WAYPOINTS <= len(found) <= MOST_WAYPOINTS
    np.testing.assert_allclose(found[[0, -1]], way[[0, -1]])
    # Each lies on the way: by the length at which it stands.
    at = np.linspace(0, lengths[-1], len(found))
    expected = np.stack([np.interp(at, lengths, axis) for axis in way.T], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("end", [(230.0, 10.0), (10.0, -3.0), (np.nan, 5.0)])
def test_a_way_out_of_the_picture_is_not_asked_for(end) -> None:
    assert waypoints(np.array([[10.0, 10.0], [100.0, 100.0], end]), 224) is None


def facts(**changes):
    block, plate = np.zeros((48, 64), bool), np.zeros((48, 64), bool)
    block[10:20, 5:12], plate[30:40, 40:60] = True, True
    things = {"green block": block, "plate": plate, "towel": np.zeros((48, 64), bool)}
    points = np.array([[0.0, 0.0, 1.0], [0.1, 0.1, 1.0], [0.05, -0.05, 1.0]])
    intrinsics = np.array([[64.0, 0, 31.5], [0, 64.0, 23.5], [0, 0, 1]])
    coming = np.linspace([0.05, -0.05, 1.0], [0.3, 0.2, 1.0], 9)
    given = {"moved": "green block", "goal": "plate", **changes}
    seen = SeenThings(things, given["moved"], given["goal"])
    return scene_facts("Put the green block on the plate.", seen, points, intrinsics, SIZE, coming)


def test_every_form_is_asked_and_its_answer_follows_from_the_scene() -> None:
    found = ask(facts(), np.random.default_rng(0))
    assert {each.form for each in found} == set(FORMS)
    boxes = [each for each in found if each.form == "box of a thing"]
    # Pixels of 64 x 48, as they are in 224 x 224; the towel does not show.
    assert [numbers(each.answer) for each in boxes] == [[18, 47, 42, 93], [140, 140, 210, 187]]
    gripper = next(each for each in found if each.form == "gripper")
    assert numbers(gripper.answer) == [round((32 + 64 * 0.05) * 3.5), round((24 - 64 * 0.05) * 224 / 48)]
    assert all(
        "{" not in each.text and "put the green block on the plate" in each.text
        for each in found
        if "task" in each.form
    )


def test_what_the_scene_does_not_tell_is_not_asked() -> None:
    found = ask(facts(moved="", goal=""), np.random.default_rng(0))
    assert {each.form for each in found} == {"box of a thing", "gripper", "way"}


def test_wordings_differ_and_follow_from_the_seed() -> None:
    asked = [[each.text for each in ask(facts(), np.random.default_rng(seed))] for seed in (0, 0, 1, 2)]
    assert asked[0] == asked[1] and len(set(map(tuple, asked))) == 3


# --- places move along ------------------------------------------------------------------------------------------------


def painted(folder: Path, box: tuple[int, int, int, int], size: tuple[int, int]) -> Path:
    """A file of one question about the only red thing in a picture."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = [0, 0, 255]
    cv2.imwrite(str(folder / "a.png"), picture)
    line = {"image": "a.png", "sentences": ["red"], "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
    (folder / "q.jsonl").write_text(json.dumps(line) + "\n")
    return folder / "q.jsonl"


@examples(quick=60)
@given(seed=st.integers(0, 2**32), width=st.integers(40, 300), height=st.integers(40, 300))
def test_the_answer_moves_along_with_the_picture(tmp_path_factory, seed, width, height) -> None:
    random = np.random.default_rng(seed)
    x0, y0 = int(random.integers(0, width // 2)), int(random.integers(0, height // 2))
    box = (x0, y0, x0 + int(random.integers(8, width // 2)), y0 + int(random.integers(8, height // 2)))
    samples = read_grounding(painted(tmp_path_factory.mktemp("painted"), box, (width, height)))
    seen = GroundingQuestions(samples, crop=0.5, flip=0.5).see(0, 112, random)
    shown = seen.rgb[..., 0] > 127
    # Bicubic pixels at the edges are half red: a pixel of the model's, and rounding.
    np.testing.assert_allclose(numbers(seen.answer)[:4], box_of(shown), atol=1.5)


def test_nothing_moves_without_an_augmentation(tmp_path: Path) -> None:
    samples = read_grounding(painted(tmp_path, (10, 20, 30, 60), (224, 224)))
    seen = GroundingQuestions(samples, crop=0.5, flip=1.0).see(0, 224)
    assert numbers(seen.answer)[:4] == [10, 20, 30, 60]
    assert (seen.rgb == cv2.imread(str(tmp_path / "a.png"))[..., ::-1]).all()


@examples(quick=100)
@given(TENTHS, TENTHS, st.booleans())
def test_every_place_of_a_text_moves_and_nothing_else_changes(x, y, mirrored) -> None:
    move = PictureMove((0.0, 0.0, 100.0, 100.0), (200, 50), mirrored)
    text = "Sure, 3 steps: [{}] <box>[[{}, {}, {}, {}]]</box> then ({}, {}) [1,2,3] [a, b]"
    said = text.format("5.0, 6", 10, 20, 30, 40, x, y)
    right = (lambda number: 200 - 2 * number) if mirrored else (lambda number: 2 * number)
    low, high = sorted([right(10), right(30)])
    at = [int(np.floor(right(5) + 0.5)), 3]
    end = [int(np.floor(right(x) + 0.5)), int(np.floor(y / 2 + 0.5))]
    moved = moved_text(said, move)
    assert moved == text.format(f"{at[0]}, {at[1]}", low, 10, high, 20, *end)


@pytest.mark.parametrize("text", ["box of the left cup", "put it to the RIGHT of [1, 2]"])
def test_what_names_left_or_right_is_not_mirrored(text) -> None:
    plain = PictureMove((0.0, 0.0, 10.0, 10.0), (10, 10))
    assert moved_text(text, plain) is not None
    assert moved_text(text, PictureMove(plain.window, plain.size, mirrored=True)) is None


@pytest.mark.parametrize(
    "text", [point_text((5, 5), "a"), box_text((0, 0, 40, 40), "a"), path_text([(60, 60), (5, 60)], "a")]
)
def test_a_picture_that_loses_the_answer_is_not_cut_so(text) -> None:
    assert moved_text(text, PictureMove((30.0, 30.0, 100.0, 100.0), (100, 100))) is None


# --- answers of other pictures ---


def scenes(count: int) -> list[GroundingSample]:
    random = np.random.default_rng(0)
    samples = []
    for number in range(count):
        block, plate, way = (random.integers(0, 90, (4, 2)) for _ in range(3))
        low, high = block[:2].min(axis=0), block[:2].max(axis=0) + 100
        texts = [box_text([*low, *high], "block"), point_text(plate[0], "plate"), path_text(way, "gripper")]
        samples += [GroundingSample(Path(f"{number}.png"), (224, 224), text[:12], text) for text in texts]
    return samples


@pytest.mark.parametrize("count", [2, 3, 11])
def test_a_shuffled_answer_has_the_same_words_and_another_pictures_places(count: int) -> None:
    samples = scenes(count)
    shuffled = with_answers_shuffled(samples, 3)
    assert [replace(each, answer="") for each in shuffled] == [replace(each, answer="") for each in samples]
    for kind in range(3):
        right, other = ([each.answer for each in some[kind::3]] for some in (samples, shuffled))
        assert sorted(right) == sorted(other) and all(a != b for a, b in zip(right, other, strict=True))
    assert with_answers_shuffled(samples, 3) == shuffled


def test_what_cannot_be_shuffled_is_left_out_and_nothing_left_is_refused() -> None:
    samples = scenes(3)
    alone = GroundingSample(Path("9.png"), (224, 224), "box of the spoon", box_text([1, 2, 3, 4], "spoon"))
    smaller = replace(samples[0], picture=Path("8.png"), size=(112, 112))
    assert len(with_answers_shuffled([*samples, alone, smaller], 0)) == len(samples)
    with pytest.raises(InputError, match="^grounding.shuffled: expected questions of one kind about several pictures"):
        with_answers_shuffled([alone], 0)


# --- files ------------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    questions = ask(facts(), random)
    pictures = [AskedPicture(random.integers(0, 256, (48, 64, 3), np.uint8), questions) for _ in range(3)]
    stage(tmp_path / "a.npz", pictures[:2])
    stage(tmp_path / "b.npz", pictures[2:])
    counts = write_grounding(tmp_path / "data" / "grounding", [tmp_path / "a.npz", tmp_path / "b.npz"])
    samples = read_grounding(tmp_path / "data")
    assert counts == (3, len(samples)) == (3, 3 * len(questions))
    assert [each.answer for each in samples[: len(questions)]] == [each.answer for each in questions]
    assert {each.size for each in samples} == {(SIZE, SIZE)}
    line = json.loads((tmp_path / "data/grounding/questions.jsonl").read_text().splitlines()[0])
    assert line["conversations"][0]["value"].startswith("<image>\n") and line["conversations"][1]["from"] == "gpt"


def turns(*said: str) -> list[dict]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(said)]


def test_other_peoples_conversations_are_read_turn_by_turn(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((100, 200, 3), np.uint8))
    said = turns("<image>\nWhat is it?", "A cup <box>[[1, 2, 3, 4]]</box>.", "Where?", "(7, 9)")
    (tmp_path / "own.jsonl").write_text(json.dumps({"image": "a.jpg", "conversations": said}) + "\n\n")
    samples = read_grounding(tmp_path / "own.jsonl")
    assert [(each.question, each.answer) for each in samples] == [
        ("What is it?", "A cup <box>[[1, 2, 3, 4]]</box>."),
        ("Where?", "(7, 9)"),
    ]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("[1]", "expected an object, got [1]"),
        ("{", "expected JSON"),
        ({}, "image, a file's name, got None"),
        ({"image": "none.png", "sentence": "a", "bbox": [0, 0, 1, 1]}, "image: cannot be read"),
        ({"image": "text.png", "sentence": "a", "bbox": [0, 0, 1, 1]}, "expected a PNG or JPEG"),
        ({"image": "a.png"}, "expected conversations (LLaVA) or sentences and bbox (RefCOCO)"),
        ({"image": "a.png", "sentences": [], "bbox": [0, 0, 1, 1]}, "expected texts that name one thing"),
        ({"image": "a.png", "sentence": "a", "bbox": [0, 0, 0, 1]}, "expected [x, y, width, height] in pixels"),
        ({"image": "a.png", "sentence": "a", "bbox": [0, 0, float("nan"), 1]}, "expected [x, y, width, height]"),
        ({"image": "a.png", "sentence": "a", "bbox": [0, 0, 50, 10]}, "within the picture's 40x30 pixels"),
        ({"image": "a.png", "conversations": turns("a")}, "expected turns of human and gpt"),
        ({"image": "a.png", "conversations": turns("a", "b")[::-1]}, "conversations[0]: expected a value (text) from"),
        ({"image": "a.png", "conversations": turns("<image>", "b")}, "expected questions of 1 to"),
        ({"image": "a.png", "conversations": turns("a", "[41, 3]")}, "within the picture's 40x30 pixels, got [41, 3]"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_it(tmp_path: Path, line, expected) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    file = tmp_path / "q.jsonl"
    good = json.dumps({"image": "a.png", "sentence": "a", "bbox": [0, 0, 1, 1]})
    file.write_text(f"{good}\n{line if isinstance(line, str) else json.dumps(line)}\n")
    with pytest.raises(InputError) as caught:
        read_grounding(file)
    message = str(caught.value)
    assert expected in message and "\n" not in message and str(tmp_path) in message
    assert re.search(r"(entry|line) 2", message)


def test_a_file_without_questions_and_a_folder_without_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder with questions.jsonl"):
        read_grounding(tmp_path)
    (tmp_path / "questions.jsonl").write_text("\n")
    with pytest.raises(InputError, match="expected at least one question"):
        read_grounding(tmp_path)


@pytest.mark.parametrize(
    "episodes, grounding, named", [(0, 0, "episodes, grounding"), (-1, 5, "episodes"), (3, -1, "grounding")]
)
def test_recording_nothing_is_refused(tmp_path: Path, episodes, grounding, named) -> None:
    with pytest.raises(InputError, match=f"^{named}: "):
        main(RecordArguments(episodes=episodes, grounding=grounding, output=str(tmp_path / "data")))
