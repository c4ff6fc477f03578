"""What an ablation varies, and what it leaves alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.atomic_files import write_json
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablate import AblateArguments, plan_ablation
from stvla_ros.evaluation.ablation_kinds import ABLATIONS, SCALE_NOTE, make_settings
from stvla_ros.evaluation.ablation_networks import (
    Trainings,
    by_arm,
    make_networks,
    record_demonstrations,
    with_corrections,
)
from stvla_ros.evaluation.ablation_plan import BOUND, PAPER, AblationPlan, write_ablation
from stvla_ros.evaluation.plan import EvalArguments
from stvla_ros.evaluation.presets import WIDOWX_TASKS
from stvla_ros.learning.training.config import read_config
from stvla_ros.policy.inputs import InputsConfig

OURS = EvaluatedPolicy("ours", "expert", inputs=InputsConfig(buffer=20), execution="receding")
CHANGES = {
    "buffer": [{"buffer": 30}, {"buffer": 15}, {"buffer": 7}],
    "variant": [{"variant": "C"}, {"variant": "B"}, {"variant": "A"}],
    "adaptive": [{"adaptive": True}, {"adaptive": False}],
    "depth": [{"depth": "sensor"}, {"depth": "constant", "traces": "none"}],
    "tracker": [{"tracker": "lucas_kanade"}, {"tracker": "cotracker"}, {"tracker": "tapnext"}],
    "data": [{}, {}, {}],
    "traces": [
        {"traces": "none"},
        {"traces": "depth", "variant": "C"},
        {"traces": "depth", "variant": "A"},
        {"traces": "beside"},
        {"traces": "none"},
    ],
    "grounding": [{}] * 7,
    "latent": [{}],
}


@pytest.mark.parametrize("kind", sorted(ABLATIONS))
def test_each_setting_changes_that_one_thing(kind: str) -> None:
    settings = make_settings(kind, OURS)
    assert len({setting.policy.label for setting in settings}) == len(settings)
    for setting, change in zip(settings, CHANGES[kind], strict=True):
        inputs = replace(OURS.inputs, **change)
        assert setting.policy == replace(OURS, label=f"{kind}-{setting.name}", inputs=inputs)


@pytest.mark.parametrize("traces", ["beside", "rgb", "none"])
def test_settings_that_the_policy_cannot_tell_apart_are_refused(traces: str) -> None:
    policy = replace(OURS, inputs=InputsConfig(traces=traces))
    with pytest.raises(InputError, match="^settings: the policy is shown the same with C and B: .*traces"):
        make_settings("variant", policy)
    assert len(make_settings("variant", policy, ["A"])) == 1
    assert len(make_settings("variant", policy, retrain=True)) == 3
    assert len(make_settings("depth", policy)) == 2


def test_without_retrain_only_data_what_tells_of_the_past_and_grounding_are_trained() -> None:
    trained = {kind: [setting.trained for setting in make_settings(kind, OURS)] for kind in ABLATIONS}
    assert trained.pop("data") == [True, True, False]
    assert all([*trained.pop("traces"), *trained.pop("grounding"), *trained.pop("latent")])
    assert not any(any(flags) for flags in trained.values())


@pytest.mark.parametrize("kind", sorted(ABLATIONS))
def test_a_training_configuration_takes_every_override(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("epochs: 1\ninputs: {buffer: 30}\n")
    for setting in make_settings(kind, OURS, retrain=True):
        config = read_config(file, setting.overrides)
        for name, value in CHANGES[kind][[s.name for s in make_settings(kind, OURS)].index(setting.name)].items():
            assert getattr(config.inputs, name) == value
        if kind == "traces":
            assert config.family_options().earlier_s == (1.0 if setting.name == "earlier" else 0.0)
        if kind == "data" and setting.trained:
            assert config.data.episodes == (0 if setting.name == "all" else int(setting.name))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("buffer", ("1",)),
        ("buffer", ("many",)),
        ("adaptive", ("yes",)),
        ("variant", ("D",)),
        ("depth", ("sonar",)),
        ("data", ("some",)),
        ("buffer", ("7", "7")),
        ("traces", ("depth-D",)),
        ("traces", ("rgb",)),
        ("traces", ("earlier-long",)),
        ("grounding", ("everything",)),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(kind: str, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as raised:
        make_settings(kind, OURS, names)
    assert "\n" not in str(raised.value)


def test_what_is_trained_needs_a_configuration() -> None:
    with pytest.raises(InputError, match="^config: expected a training configuration for data, got none"):
        plan_ablation(AblateArguments("data", "expert"))
    with pytest.raises(InputError, match="^config: .*there is no /nonexistent.yaml"):
        plan_ablation(
            AblateArguments("buffer", "expert?traces=depth,depth=sensor", retrain=True, config="/nonexistent.yaml")
        )


def test_how_long_ago_the_earlier_picture_was_can_be_told() -> None:
    [setting] = make_settings("traces", OURS, ("earlier-0.6",))
    assert setting.overrides == {"inputs.traces": "none", "family.options.earlier_s": 0.6}


def test_the_whole_experiment_with_traces_needs_no_argument() -> None:
    plan = plan_ablation(AblateArguments("traces"))
    evaluation = plan.eval_arguments
    assert evaluation.tasks == ("return_cube", "tap_both", *WIDOWX_TASKS)
    assert (plan.demonstrations, evaluation.episodes, evaluation.seeds) == (200, 24, (0, 1, 2))
    # Five settings, two protocols, three seeds.
    assert len({network.policy.label for network in plan.networks}) == len(plan.networks) == 30


def test_to_try_it_takes_next_to_nothing() -> None:
    plan = plan_ablation(AblateArguments("traces", try_out=True))
    assert len(plan.networks) == 10 and plan.eval_arguments.max_steps == 2 and plan.demonstrations < 10
    for network in plan.networks:
        assert network.overrides["steps"] == 2 and network.overrides["size"] == "tiny"
    assert plan.folder != plan_ablation(AblateArguments("traces")).folder


NOT_TRAINED, FEW = Path("from_nothing.yaml"), Path("few.yaml")
TRAININGS = Trainings(NOT_TRAINED, {"steps": 5}, (3, 8), 52, FEW, {"steps": 2})


def test_every_setting_has_a_network_for_each_seed_and_protocol() -> None:
    networks = make_networks(make_settings("traces", OURS, ("none", "earlier")), TRAININGS)
    assert [network.name for network in networks] == [
        "none-s3", "none-s8", "earlier-s3", "earlier-s8",
        "none-52-s3", "none-52-s8", "earlier-52-s3", "earlier-52-s8",
    ]  # fmt: skip
    assert [network.after for network in networks[4:]] == ["none-s3", "none-s8", "none-s3", "none-s8"]
    assert not any(network.after for network in networks[:4])
    first, last = networks[0], networks[-1]
    assert first.config == NOT_TRAINED and first.overrides == {"steps": 5, "seed": 3, "inputs.traces": "none"}
    assert last.config == FEW and last.overrides == {
        "steps": 2, "data.episodes": 52, "seed": 8, "inputs.traces": "none", "family.options.earlier_s": 1.0,
    }  # fmt: skip
    assert (last.arm, last.policy.label, last.number) == ("traces-earlier-52", "traces-earlier-52-s8", 1)


def test_every_network_learns_from_the_corrections_of_all_settings_of_its_seed() -> None:
    trainings = replace(TRAININGS, corrections=1, tuned=0)
    networks = make_networks(make_settings("traces", OURS, ("none", "beside")), trainings)
    corrected = networks[4:]
    assert [(network.name, network.after) for network in corrected] == [
        ("none-corrected-s3", "none-s3"), ("none-corrected-s8", "none-s8"),
        ("beside-corrected-s3", "beside-s3"), ("beside-corrected-s8", "beside-s8"),
    ]  # fmt: skip
    for network, earlier in zip(corrected, networks, strict=False):
        assert network.overrides == earlier.overrides and not earlier.corrections
        ending = network.name[-3:]
        assert network.corrections == (f"none{ending}", f"beside{ending}")


def test_corrections_come_beside_a_networks_own_data(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"size": "tiny", "steps": 2, "data": {"paths": ["shown"]}}))
    trainings = Trainings(config, {"data.cache": "kept"}, corrections=1)
    *first, network = make_networks(make_settings("traces", OURS, ("none", "beside")), trainings)
    folder = tmp_path / "training"
    for name in ("none", "beside"):
        (folder / name).mkdir(parents=True)
        write_json(folder / name / "finished.json", {"checkpoint": "checkpoint"})

    def record(checkpoint: str, output: Path) -> list[str]:
        assert checkpoint == str(folder / output.name / "checkpoint")
        return [f"corrections of {output.name}"]

    overrides = with_corrections(network, folder, record).overrides
    assert overrides["data.paths"] == ["shown", "corrections of none", "corrections of beside"]
    assert overrides["data.cache"] == "kept" and overrides["inputs.traces"] == "beside"
    assert with_corrections(first[0], folder, record) == first[0]


def test_networks_of_an_arm_count_like_seeds_of_its_placements() -> None:
    networks = make_networks(make_settings("traces", OURS, ("none", "beside")), TRAININGS)
    results = [
        EpisodeResult(EpisodeKey("tap_both", network.policy.label, seed, 7), network.number == 1, False, 10)
        for network in networks[:4]
        for seed in (0, 2)
    ]
    counted = by_arm(results, networks, (0, 2))
    assert [(each.key.policy, each.key.seed, each.success) for each in counted] == [
        (arm, seed, seed > 1) for arm in ("traces-none", "traces-beside") for seed in range(4)
    ]
    assert {each.key.episode for each in counted} == {7}


def test_several_seeds_need_settings_that_are_trained() -> None:
    with pytest.raises(InputError, match=r"\Atraining_seeds: expected none, setting 30 is not trained\Z"):
        make_networks(make_settings("buffer", OURS), Trainings(NOT_TRAINED, seeds=(0, 1)))
    with pytest.raises(InputError, match=r"\Atuned: expected none, setting 0 is not trained\Z"):
        make_networks(make_settings("data", OURS), Trainings(NOT_TRAINED, tuned=52))
    with pytest.raises(InputError, match=r"\Acorrections: expected none, setting 30 is not trained\Z"):
        make_networks(make_settings("buffer", OURS), Trainings(NOT_TRAINED, corrections=1))
    with pytest.raises(InputError, match="training_seeds: expected different ones"):
        make_networks(make_settings("traces", OURS), Trainings(NOT_TRAINED, seeds=(1, 1)))


@pytest.mark.parametrize("name", ["demonstrations", "corrections", "tuned", "steps", "tuning_steps"])
def test_negative_numbers_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: expected 0 or more, got -1"):
        plan_ablation(AblateArguments("traces", **{name: -1}))


def test_other_demonstrations_in_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tap_both/meta").mkdir(parents=True)
    (tmp_path / "tap_both/meta/info.json").write_text('{"total_episodes": 60}')
    assert record_demonstrations(["tap_both"], 60, 1, tmp_path) == [str(tmp_path / "tap_both")]
    with pytest.raises(InputError, match=r"demonstrations: .*tap_both has 60 episodes, asked for 50; choose another"):
        record_demonstrations(["tap_both"], 50, 1, tmp_path)


@pytest.mark.parametrize(("changed", "was", "asked"), [("seed", 3, 0), ("grounding", 100, 0), ("half", "left", "")])
def test_demonstrations_that_were_recorded_otherwise_are_refused(
    changed: str, was: object, asked: object, tmp_path: Path
) -> None:
    (tmp_path / "tap_both/meta").mkdir(parents=True)
    (tmp_path / "tap_both/meta/info.json").write_text('{"total_episodes": 60}')
    file = tmp_path / "tap_both/recording.json"
    file.write_text(json.dumps({"seed": 0, "grounding": 0, "half": ""}))
    assert record_demonstrations(["tap_both"], 60, 1, tmp_path)
    file.write_text(json.dumps({"seed": 0, "grounding": 0, "half": "", changed: was}))
    with pytest.raises(InputError, match=f"^demonstrations: .*recorded with {changed} {was!r}, asked for {asked!r}"):
        record_demonstrations(["tap_both"], 60, 1, tmp_path)


def _written(kind: str, task: str, tmp_path: Path, trainings: Trainings = Trainings(NOT_TRAINED)) -> tuple[str, Path]:
    settings = make_settings(kind, OURS)
    plan = AblationPlan(ABLATIONS[kind], tuple(settings), trainings, EvalArguments(output=str(tmp_path)))
    results = [
        EpisodeResult(EpisodeKey(task, network.policy.label, 0, episode), episode < 2, episode < 2, 10)
        for network in plan.networks
        for episode in range(4)
    ]
    return write_ablation(plan, plan.networks, [task], results), tmp_path


def test_the_papers_figures_stand_beside_ours_for_its_own_task(tmp_path: Path) -> None:
    text, folder = _written("variant", "spoon_on_towel", tmp_path)
    assert SCALE_NOTE in text
    header, _, c, b, a = text.splitlines()[:5]
    assert header.endswith(f"| {PAPER} |")
    assert [line.split("|")[-2].strip() for line in (c, b, a)] == ["36.4 %", "", "9.1 %"]
    assert (folder / "ablation.md").read_text() == text
    for ending in ("csv", "json", "png"):
        assert (folder / f"ablation.{ending}").stat().st_size > 100


def test_the_papers_figures_stand_beside_no_other_task(tmp_path: Path) -> None:
    text, _ = _written("variant", "panda_pick_cube", tmp_path)
    assert PAPER not in text and SCALE_NOTE in text


def test_the_bound_without_memory_stands_beside_each_arm_of_both_protocols(tmp_path: Path) -> None:
    text, folder = _written("traces", "return_cube", tmp_path, TRAININGS)
    header, _, *rows = text.split("\n\n")[0].splitlines()
    assert header.endswith(f"| {BOUND} |") and len(rows) == 10
    assert {row.split("|")[-2].strip() for row in rows} == {"4.1 %"}
    # Four arms of either protocol are compared with its first: all as good, and so with the correction.
    corrected = [row.split("|")[-3].strip() for row in rows]
    assert corrected == ["", "1", "1", "1", "1"] * 2
    assert "traces-beside-52 50.0, 50.0" in text
    assert (folder / "ablation.png").stat().st_size > 100


def test_other_tasks_have_no_bound(tmp_path: Path) -> None:
    assert BOUND not in _written("traces", "stack_cube", tmp_path)[0]


@pytest.mark.parametrize(
    "given, named",
    [
        ({"kind": "grounding", "corrections": 5}, "corrections: expected none for grounding, got 5"),
        ({"kind": "grounding", "tuned": 5}, "tuned: expected none for grounding, got 5"),
        ({"kind": "buffer", "policy": "expert", "grounding": 5}, "grounding: expected none for buffer, got 5"),
        ({"kind": "traces", "demonstrated": ("left",)}, r"demonstrated: expected none for traces, got \('left',\)"),
    ],
)
def test_what_another_ablation_is_asked_is_refused(given, named: str) -> None:
    with pytest.raises(InputError, match=rf"\A{named}\Z"):
        plan_ablation(AblateArguments(**given))
