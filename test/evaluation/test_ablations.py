"""What an ablation varies, and what it leaves alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablate import PAPER, AblateArguments, plan_ablation, write_ablation
from stvla_ros.evaluation.ablation_kinds import ABLATIONS, SCALE_NOTE, make_settings
from stvla_ros.evaluation.plan import EvalArguments, evaluation_of
from stvla_ros.evaluation.tables import make_table
from stvla_ros.learning.training.config import read_config
from stvla_ros.policy.inputs import InputsConfig

OURS = EvaluatedPolicy("ours", "expert", inputs=InputsConfig(buffer=20), execution="receding")
CHANGES = {
    "buffer": [{"buffer": 30}, {"buffer": 15}, {"buffer": 7}],
    "variant": [{"variant": "C"}, {"variant": "B"}, {"variant": "A"}],
    "adaptive": [{"adaptive": True}, {"adaptive": False}],
    "depth": [{"depth": "sensor"}, {"depth": "constant", "traces": "none"}],
    "tracker": [{"tracker": "lucas_kanade"}, {"tracker": "cotracker"}],
    "data": [{}, {}, {}],
}


@pytest.mark.parametrize("kind", sorted(ABLATIONS))
def test_each_setting_changes_that_one_thing(kind: str) -> None:
    settings = make_settings(kind, OURS)
    assert len({setting.policy.label for setting in settings}) == len(settings)
    for setting, change in zip(settings, CHANGES[kind], strict=True):
        inputs = replace(OURS.inputs, **change)
        assert setting.policy == replace(OURS, label=f"{kind}-{setting.name}", inputs=inputs)


def test_without_retrain_only_the_amount_of_data_is_trained() -> None:
    trained = {kind: [setting.trained for setting in make_settings(kind, OURS)] for kind in ABLATIONS}
    assert trained.pop("data") == [True, True, False]
    assert not any(any(flags) for flags in trained.values())


@pytest.mark.parametrize("kind", sorted(ABLATIONS))
def test_a_training_configuration_takes_every_override(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("epochs: 1\ninputs: {buffer: 30}\n")
    for setting in make_settings(kind, OURS, retrain=True):
        config = read_config(file, setting.overrides)
        for name, value in CHANGES[kind][[s.name for s in make_settings(kind, OURS)].index(setting.name)].items():
            assert getattr(config.inputs, name) == value
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


def _written(kind: str, task: str, tmp_path: Path) -> tuple[str, Path]:
    settings = make_settings(kind, OURS)
    results = [
        EpisodeResult(EpisodeKey(task, setting.policy.label, 0, episode), episode < 2, episode < 2, 10)
        for setting in settings
        for episode in range(4)
    ]
    policies = [setting.policy for setting in settings]
    evaluation = evaluation_of(policies, EvalArguments(tasks=("panda_pick_cube",), episodes=4))
    table = make_table(results, [policy.label for policy in policies], [task])
    return write_ablation(ABLATIONS[kind], settings, evaluation, table, tmp_path), tmp_path


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
