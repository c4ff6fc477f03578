"""`stvla ablate grounding`: what its arms are trained for, and how what they say is measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablate import AblateArguments, plan_ablation
from stvla_ros.evaluation.ablation_grounding import ArmNetwork, GroundingPlan
from stvla_ros.evaluation.grounding_arms import ACTING, ARMS, FIRST, SECOND, SPATIALVLA, equal_steps, two_stages
from stvla_ros.evaluation.grounding_errors import answer_error, chosen_questions, errors_of, write_errors
from stvla_ros.learning.grounding.official import OfficialQuestions
from stvla_ros.learning.training.config import TrainingConfig, read_config
from stvla_ros.policy.families import ACTIONS, GROUNDING
from stvla_ros.policy.grounding.answers import BOXES, POINTS, WAY
from stvla_ros.policy.grounding.places import box_text, path_text, point_text

pytestmark = pytest.mark.usefixtures("scenes")


def plan(**given) -> GroundingPlan:
    made = plan_ablation(AblateArguments("grounding", **given))
    assert isinstance(made, GroundingPlan)
    return made


def trained(network: ArmNetwork) -> TrainingConfig:
    return read_config(network.config, {"grounding.paths": ["looks"], **network.overrides})


# --- what the arms are trained for --------------------------------------------------------------------------------


def test_the_whole_experiment_needs_no_argument() -> None:
    made = plan()
    assert (made.demonstrations, made.grounding, made.demonstrated) == (50, 4000, ("all", "left"))
    assert made.eval_arguments.seeds == (0, 1, 2) and made.eval_arguments.episodes == 24
    acting = [network for network in made.networks if network.acts]
    # Seven arms, two parts of the table, two seeds; beside them stage 1 with right and with shuffled answers.
    assert len({network.policy.label for network in acting}) == len(acting) == 28
    assert len(made.networks) == 28 + 8


def test_the_arms_differ_in_what_they_are_named_for() -> None:
    networks = {network.name: network for network in plan(settings=tuple(ARMS), training_seeds=(3,)).networks}
    configs = {name: trained(network) for name, network in networks.items() if network.part == "all"}
    full = configs["full-s3"]
    [stage] = full.stages
    assert stage.objectives == {ACTIONS: 1.0, GROUNDING: 0.1}
    [first] = configs["stage1-s3"].stages
    assert first.objectives == {GROUNDING: 1} and not networks["stage1-s3"].acts
    after = {name: networks[name].after for name in configs}
    with_first = {"full", "no-prompt", "padded-prompt", "decay-0", "decay-1", "left-alone"}
    assert {name.removesuffix("-s3") for name in configs if after[name] == "stage1-s3"} == with_first
    assert after["shuffled-s3"] == "stage1-shuffled-s3" and not after["vanilla-s3"] and not after["guided-s3"]
    asked = {name.removesuffix("-s3") for name, each in configs.items() if GROUNDING in each.all_objectives()}
    assert asked == {*ARMS, "stage1", "stage1-shuffled"} - {"vanilla", "vanilla-longer", "left-alone", SPATIALVLA}
    without_prompt = {name for name, each in configs.items() if each.family.options.get("prompt") == "{instruction}"}
    assert {name.removesuffix("-s3") for name in without_prompt} == {
        "vanilla", "vanilla-longer", "co-trained", "no-prompt", "left-alone",
    }  # fmt: skip
    shuffled = {name for name, each in configs.items() if each.grounding.shuffled}
    assert shuffled == {"shuffled-s3", "stage1-shuffled-s3"}
    assert configs["decay-1-s3"].family.options["gradient_decay"] == 1.0
    assert configs[f"{SPATIALVLA}-s3"].family.name == "spatialvla"
    for name, config in configs.items():
        assert config.seed == 3
        if networks[name].config == networks["full-s3"].config:
            assert (config.optimizer, config.augmentation, config.batch_size) == (
                full.optimizer, full.augmentation, full.batch_size,
            )  # fmt: skip
            assert [each.steps for each in config.stages] == [first.steps if "stage1" in name else stage.steps]


def test_a_half_has_networks_of_its_own_from_its_own_stage_1() -> None:
    networks = plan(demonstrated=("right",), settings=("full",), training_seeds=(0,)).networks
    assert [network.name for network in networks] == ["stage1-right-s0", "full-right-s0"]
    assert networks[1].after == "stage1-right-s0"
    assert (networks[1].arm, networks[1].policy.label) == ("grounding-full-right", "grounding-full-right-s0")


def test_as_long_as_the_full_method_counts_both_stages() -> None:
    made = plan(settings=("full", "vanilla-longer", SPATIALVLA), training_seeds=(0,), demonstrated=("all",), steps=100)
    costs = {FIRST: 2.0, SECOND: 3.0, ACTING: 2.5, SPATIALVLA: 0.5}
    networks = {each.name: each for each in made._networks({"all": {"grounding.paths": ["looks"]}}, costs)}
    assert trained(networks["vanilla-longer-s0"]).stages[0].steps == 200
    assert trained(networks[f"{SPATIALVLA}-s0"]).steps == 1000
    assert trained(networks["full-s0"]).stages[0].steps == 100


def test_equal_steps_are_never_none() -> None:
    config = read_config(Path("config/train/st4vla_small.yaml"), {"grounding.paths": ["looks"]})
    first, second = two_stages(config, 1)
    assert equal_steps({FIRST: 0.1, SECOND: 0.1}, first, second, 100.0) == 1


@pytest.mark.parametrize(
    "stages",
    [
        [{"steps": 1, "objectives": {GROUNDING: 1}}],
        [{"steps": 1, "objectives": {ACTIONS: 1}}, {"steps": 1, "objectives": {ACTIONS: 1, GROUNDING: 1}}],
        [{"steps": 1, "objectives": {GROUNDING: 1}}, {"steps": 1, "objectives": {ACTIONS: 1}}],
    ],
)
def test_a_configuration_without_the_two_stages_is_refused(tmp_path: Path, stages) -> None:
    content = yaml.safe_load(Path("config/train/st4vla_small.yaml").read_text())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**content, "stages": stages}))
    with pytest.raises(InputError, match="^config: stages: expected two, for grounding and for actions and grounding"):
        plan(config=str(tmp_path / "other.yaml"))


@pytest.mark.parametrize(
    "given, named",
    [
        ({"demonstrations": 0}, "demonstrations: expected at least 1"),
        ({"grounding": 0}, "grounding: expected at least 1"),
        ({"demonstrated": ("left", "left")}, "demonstrated: expected different ones"),
        ({"spatialvla_config": "/nonexistent.yaml"}, "spatialvla_config: expected a training configuration"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(given, named: str) -> None:
    with pytest.raises(InputError, match=f"^{named}") as caught:
        plan(**given)
    assert "\n" not in str(caught.value)


def test_the_half_that_no_demonstration_shows_has_a_table_of_its_own(tmp_path: Path, monkeypatch) -> None:
    made = plan(
        settings=("full", "vanilla"), training_seeds=(0,), demonstrated=("left",), tasks=("stack_cube",),
        episodes=4, seeds=(0,), output=str(tmp_path),
    )  # fmt: skip
    halves = ("left", "right", "right", "left")
    monkeypatch.setitem(made.__dict__, "_official", {"stack_cube": OfficialQuestions(tmp_path, halves)})
    acting = [network for network in made.networks if network.acts]
    # The full one succeeds everywhere, the other where its demonstrations were.
    results = []
    for network in acting:
        for episode, half in enumerate(halves):
            done = half == "left" or network.name.startswith("full")
            key = EpisodeKey("stack_cube", network.policy.label, 0, episode)
            results.append(EpisodeResult(key, done, done, 10))
    (tmp_path / "answers").mkdir()
    entry = {"picture": "a/0.png", "form": "f", "side": 224, "right": "[1, 2, 3, 4]", "said": "[1, 2, 3, 4]"}
    for network in made.networks:
        (tmp_path / "answers" / f"{network.name}.json").write_text(json.dumps({"answers": [entry]}))
    made.write(acting, ["stack_cube"], results)
    unseen, seen = ((tmp_path / f"ablation-left-{half}.md").read_text() for half in ("right", "left"))
    assert "| grounding-vanilla-left | stack_cube | **0.0 %** (0/2) |" in unseen
    assert "| grounding-vanilla-left | stack_cube | **100.0 %** (2/2) |" in seen
    assert "that no demonstration shows" in unseen and "of the demonstrations" in seen
    assert (tmp_path / "ablation-left-right.png").stat().st_size > 100


# --- what networks say --------------------------------------------------------------------------------------------


@examples(quick=100)
@given(st.lists(st.integers(0, 224), min_size=8, max_size=8))
def test_the_overlap_is_that_of_counted_pixels(numbers) -> None:
    drawn = np.array(numbers).reshape(2, 2, 2)
    low, high = drawn.min(axis=1), drawn.max(axis=1)
    if (low >= high).any():
        return
    boxes = [[*a, *b] for a, b in zip(low, high, strict=True)]
    kind, overlap = answer_error(box_text(boxes[0], "a"), box_text(boxes[1], "b"), 224)
    masks = np.zeros((2, 224, 224), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    assert kind == BOXES
    np.testing.assert_allclose(overlap, (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum(), rtol=1e-12)


def test_of_two_boxes_both_have_to_be_said() -> None:
    one, other = box_text([10, 10, 50, 50], "a"), box_text([100, 100, 150, 140], "b")
    assert answer_error(f"[{one}, {other}]", f"[{other}, {one}]", 224) == (BOXES, 1.0)
    assert answer_error(f"[{one}, {other}]", one, 224) == (BOXES, 0.5)


def test_points_and_ways_have_distances() -> None:
    assert answer_error(point_text([10, 10], "a"), point_text([13, 14], "a"), 224) == (POINTS, 5.0)
    way = [[10, 10], [60, 10], [110, 10], [160, 10], [210, 10]]
    kind, distance = answer_error(path_text(way, "gripper"), path_text([[10, 20], [210, 20]], "gripper"), 224)
    assert kind == WAY
    # Another number of waypoints is no error.
    np.testing.assert_allclose(distance, 10.0, rtol=1e-12)


@pytest.mark.parametrize("said", ["", "I do not know", '{"bbox_2d": [1, 2', point_text([3, 4], "a")])
def test_an_answer_without_what_was_asked_for_counts_as_none(said: str) -> None:
    assert answer_error(box_text([1, 2, 30, 40], "a"), said, 224) == (BOXES, None)


def answered(said: str, count: int = 4) -> list[dict]:
    right = [box_text([10, 10, 60, 60], "a"), point_text([50, 50], "a"), path_text([[9, 9], [90, 90]], "gripper")]
    return [
        {"picture": f"t/{number}.png", "form": "", "side": 224, "right": text, "said": said or text}
        for number in range(count)
        for text in right
    ]


def test_the_errors_of_right_answers_are_none_and_missing_ones_are_as_large_as_can_be() -> None:
    right, nothing = errors_of(answered("")), errors_of(answered("?"))
    assert (right.overlap, right.right.value, right.point, right.way, right.readable) == (1.0, 1.0, 0.0, 0.0, 1.0)
    assert (nothing.overlap, nothing.right.value, nothing.point, nothing.way, nothing.readable) == (0, 0, 224, 224, 0)


def test_the_table_has_each_arm_before_and_after(tmp_path: Path) -> None:
    for name, said in (("stage1-s0", ""), ("full-s0", ""), ("left-alone-s0", "?"), ("vanilla-s0", "?")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"answers": answered(said)}))
    arms = {
        "full-s0": ("full", "stage1-s0"),
        "left-alone-s0": ("left-alone", "stage1-s0"),
        "vanilla-s0": ("vanilla", ""),
    }
    lines = write_errors(arms, tmp_path, tmp_path).splitlines()
    full, left, vanilla = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:5])
    assert full[:3] == ["full", "1.00", "1.00"] and left[:3] == ["left-alone", "1.00", "0.00"]
    assert vanilla[:3] == ["vanilla", "", "0.00"] and vanilla[5:7] == ["", "224.0"]
    assert (tmp_path / "grounding.png").stat().st_size > 100
    assert len((tmp_path / "grounding.csv").read_text().splitlines()) == 6


def test_questions_of_all_forms_are_chosen_evenly(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    for part in ("one", "two"):
        lines = [
            {
                "image": "../a.png",
                "conversations": [{"from": "human", "value": f"{part} {n}"}, {"from": "gpt", "value": "[1, 2]"}],
                "form": form,
            }
            for n in range(10)
            for form in ("gripper", "way")[: 1 + (n == 0)]
        ]
        (tmp_path / part).mkdir()
        (tmp_path / part / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    chosen = chosen_questions([tmp_path / "one", tmp_path / "two"], 4)
    assert [each.form for each in chosen] == ["gripper"] * 4 + ["way"] * 2
    assert [each.question for each in chosen][:4] == ["one 0", "one 6", "two 3", "two 9"]
    assert replace(chosen[0], form="") != chosen[0]
