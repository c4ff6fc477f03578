"""`stvla ablate latent`: which networks its proofs train, and what its tables say of what they answered."""

import json
from pathlib import Path

import numpy as np
import pytest

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.errors import InputError, NothingLearnt
from stvla_ros.evaluation import ablation_latent
from stvla_ros.evaluation.ablate import AblateArguments, plan_ablation
from stvla_ros.evaluation.ablate import main as ablate
from stvla_ros.evaluation.ablation_latent import LatentPlan
from stvla_ros.evaluation.latent_arms import LAM_ARMS, POLICY_ARMS, LamArm
from stvla_ros.evaluation.latent_networks import LatentNetwork
from stvla_ros.learning.training.config import TrainingConfig, read_config

pytestmark = pytest.mark.usefixtures("scenes")


def plan(**given) -> LatentPlan:
    made = plan_ablation(AblateArguments("latent", **given))
    assert isinstance(made, LatentPlan)
    return made


def configured(network: LatentNetwork) -> TrainingConfig:
    after = {"checkpoint": "", "size": "tiny"} if network.after else {}  # what it continues from is not there yet
    return read_config(network.config, {"data.paths": ["seen"], **network.overrides, **after})


# --- networks -----------------------------------------------------------------------------------------------------


def test_the_whole_experiment_needs_no_argument() -> None:
    made = plan()
    assert (made.demonstrations, made.asked, made.labelled) == (200, 40, (10, 52))
    assert made.eval_arguments.seeds == (0, 1, 2) and made.eval_arguments.episodes == 24
    assert made.tasks == ["stack_cube"]
    # Twelve for each of actions and depth, and four that farsighted does not share with actions.
    lams = {network.arm for network in made.networks if network.lam}
    assert len(lams) == 12 + 12 + 4
    # Six ways with each number of labels, all labels, and the policy that sees others' pictures.
    acting = [network for network in made.networks if network.acts]
    assert len({network.policy.label for network in acting}) == len(acting) == 3 * (2 * 6 + 2)


def test_a_network_stands_after_those_that_it_needs() -> None:
    seen: set[str] = set()
    for network in plan().networks:
        assert network.name not in seen
        assert {network.after, network.inferred_by} - {""} <= seen
        seen.add(network.name)


@pytest.mark.parametrize("proof", LAM_ARMS)
def test_latent_action_models_differ_in_what_they_are_named_for(proof: str) -> None:
    networks = plan(proofs=(proof,), training_seeds=(3,)).networks
    assert {network.lam for network in networks} == set(LAM_ARMS[proof]) and not any(each.acts for each in networks)
    for network in networks:
        config, options = configured(network), configured(network).family.options
        sees, quantiser = network.name.split("-")[0], network.lam.quantiser
        assert options["depth"] == {"rgb": "none", "target": "target", "rgbd": "both"}[sees]
        assert (config.inputs.depth == "constant") == (sees == "rgb")
        assert options["quantiser"] == quantiser and f"-{quantiser}" in network.name
        assert tuple(options["keyframes_s"]) == network.lam.keyframes_s and config.seed == 3
        assert config.steps == configured(networks[0]).steps and config.needs_actions is False


def test_ways_to_learn_differ_in_what_they_are_named_for() -> None:
    networks = {each.name: each for each in plan(proofs=("pretraining",), training_seeds=(0,), labelled=(10,)).networks}
    acting = {name: configured(each) for name, each in networks.items() if each.acts}
    assert set(acting) == {f"{name}-10-s0" for name in POLICY_ARMS if name != "all"} | {"all-s0"}
    few = {name for name, config in acting.items() if config.data.episodes == 10}
    assert few == set(acting) - {"all-s0", "pseudo-10-s0"} and acting["all-s0"].data.episodes == 0
    beside = {name: set(config.all_objectives()) - {"actions"} for name, config in acting.items()}
    assert beside["vision-10-s0"] == {"vision"} and beside["latent-10-s0"] == {"codes"}
    assert beside["both-10-s0"] == beside["both-rgb-10-s0"] == {"vision", "codes"}
    assert not beside["labels-10-s0"] | beside["all-s0"] | beside["pseudo-10-s0"]
    assert networks["both-10-s0"].after == "ahead-both-s0" and networks["labels-10-s0"].after == "rgbd-three-vq-s0"
    ahead = configured(networks["ahead-both-s0"])
    assert not ahead.needs_actions and ahead.data.episodes == 0
    assert networks["ahead-both-rgb-s0"].after == "rgb-three-vq-s0"
    assert networks["pseudo-10-s0"].inferred_by == "inverse-10-s0" and not networks["inverse-10-s0"].acts
    assert configured(networks["inverse-10-s0"]).data.episodes == 10


def test_chosen_arms_bring_what_they_need_and_nothing_else() -> None:
    made = plan(proofs=("picture",), training_seeds=(0,), labelled=(10, 52), quantiser="none")
    assert [network.name for network in made.networks] == [
        "rgbd-three-none-s0", "ahead-both-s0", "both-10-s0", "both-52-s0", "other-picture-52-s0",
    ]  # fmt: skip
    few = plan(proofs=("actions", "farsighted"), settings=("rgbd-three-vq", "rgbd-pair-0.2-vq"), training_seeds=(0,))
    assert [network.arm for network in few.networks] == ["rgbd-three-vq", "rgbd-pair-0.2-vq"]


def test_a_policy_that_is_gone_on_with_keeps_its_size() -> None:
    """Another size is refused where the checkpoint has a policy."""
    for network in plan(proofs=("pretraining",), try_out=True).networks:
        told = network.overrides.get("family.options.policy_size")
        assert told == ("tiny" if network.after.startswith("rgb") else None), network.name


@pytest.mark.parametrize(
    "given, named",
    [
        ({"demonstrations": 2}, "demonstrations: expected at least 3"),
        ({"asked": 0}, "asked: expected at least 3"),
        ({"labelled": (10, 10)}, "labelled: expected different numbers"),
        ({"labelled": (10, 201)}, "labelled: expected 1 to 200"),
        ({"proofs": ("depth", "depth")}, "proofs: expected different ones"),
        ({"proofs": ("actions",), "settings": ("both",)}, "settings: expected some of rgb-pair-0.8-vq"),
        ({"policy_config": "/nonexistent.yaml"}, "policy_config: expected a training configuration"),
        ({"tuned": 5}, "tuned: expected none for latent"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(given, named: str) -> None:
    with pytest.raises(InputError, match=f"^{named}") as caught:
        plan(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name, value", [("proofs", ("actions",)), ("labelled", (3,)), ("asked", 4)])
def test_other_ablations_have_no_proofs(name: str, value) -> None:
    with pytest.raises(InputError, match=f"^{name}: expected none for buffer"):
        plan_ablation(AblateArguments("buffer", **{name: value}))


def test_a_training_in_vain_is_a_result_and_nothing_is_built_on_it(tmp_path: Path, monkeypatch) -> None:
    made = plan(proofs=("pretraining",), training_seeds=(0,), output=str(tmp_path))
    lam, later = (next(each for each in made.networks if each.name == name) for name in ("rgbd-three-vq-s0", "all-s0"))

    def ends(*given):
        raise NothingLearnt("training: expected at least 4 of 32 codes in use")

    monkeypatch.setattr(ablation_latent, "trained_network", ends)
    (tmp_path / "training" / lam.name).mkdir(parents=True)
    assert made.trained(lam) is None
    for name in ("trained_network", "trained_policy"):
        monkeypatch.setattr(ablation_latent, name, lambda *given: pytest.fail("it is not trained"))
    assert made.trained(lam) is None and made.trained(made.corrected(later)) is None
    why = json.loads((tmp_path / "training/all-s0/ended.json").read_text())["why"]
    assert why.startswith("rgbd-three-vq-s0, which it needs: training: expected at least 4")


# --- tables -------------------------------------------------------------------------------------------------------


def errors(left: float, episodes: int = 12, seed: int = 0) -> dict[str, list]:
    """As they are stored: of a whole of 1 a frame, ``left`` is left of each target, more or less."""
    drawn = left + 0.02 * np.random.default_rng(seed).normal(size=(episodes, 8))
    whole = np.ones((episodes, 8))
    return {"left": drawn.tolist(), "whole": whole.tolist(), "frames": np.full((episodes, 8), 10).tolist()}


def answered(folder: Path, name: str, content: dict) -> None:
    (folder / "answers").mkdir(exist_ok=True)
    (folder / "answers" / f"{name}.json").write_text(json.dumps(content))


def cells(text: str, name: str, seconds: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {name} | {seconds} |")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_three_keyframes_are_compared_with_each_pair(tmp_path: Path) -> None:
    made = plan(proofs=("farsighted",), training_seeds=(0, 1), output=str(tmp_path))
    for network in made.networks:
        better = network.lam.keyframes == "three"
        left = {f"{each:g}": errors(0.4 if better else 0.7, seed=network.number) for each in network.lam.keyframes_s}
        if network.name != "rgbd-pair-2.4-vq-s1":  # one seed's training ended, the other's did not
            answered(tmp_path, network.name, left)
    answered(tmp_path, "controls", {"PCA of the change, colour": {"0.2": errors(0.5)}})
    text = made.write([], [], [])
    for seconds in ("0.2", "0.8", "2.4"):
        three, pair = (cells(text, f"rgbd-{name}-none", seconds) for name in ("three", f"pair-{seconds}"))
        assert three[2].startswith("0.60 (0.") and pair[2].startswith("0.30 (0.")
        assert 0 < float(three[-2]) <= float(three[-1]) < 0.05 and pair[-1] == ""
    assert cells(text, "PCA of the change, colour", "0.2")[2].startswith("0.50 (")
    assert (tmp_path / "farsighted.png").stat().st_size > 100
    assert (tmp_path / "farsighted.csv").read_text().startswith("told_from,keyframe_s,target,r2,low,high")


def test_latent_actions_are_compared_with_those_of_an_untrained_model(tmp_path: Path) -> None:
    arm = "rgbd-pair-0.8-vq"
    made = plan(proofs=("actions",), settings=(arm, "rgb-pair-0.8-vq"), training_seeds=(0,), output=str(tmp_path))
    answered(tmp_path, f"{arm}-s0", {"0.8": errors(0.3)})
    answered(tmp_path, f"{arm}-s0-untrained", {"0.8": errors(0.8, seed=1)})
    ended = tmp_path / "training/rgb-pair-0.8-vq-s0/ended.json"
    ended.parent.mkdir(parents=True)
    ended.write_text(json.dumps({"why": "its codes died"}))
    text = made.write([], [], [])
    assert cells(text, arm, "0.8")[2].startswith("0.70") and float(cells(text, arm, "0.8")[-1]) < 0.01
    assert cells(text, f"{arm}, untrained", "0.8")[2].startswith("0.20")
    assert cells(text, "rgb-pair-0.8-vq", "0.8")[2] == "ended" and "rgb-pair-0.8-vq-s0: its codes died" in text


def test_depth_is_compared_with_colours_alone_of_the_same_light(tmp_path: Path) -> None:
    made = plan(proofs=("depth",), training_seeds=(0,), output=str(tmp_path))
    for network in made.networks:
        left = {"rgb": 0.9, "target": 0.6, "rgbd": 0.3}[network.lam.sees]
        answered(tmp_path, network.name, {f"{each:g}": errors(left) for each in network.lam.keyframes_s})
    text = made.write([], [], [])
    assert cells(text, "rgb-three-vq-light", "0.8")[-1] == ""
    assert float(cells(text, "rgbd-three-vq-light", "0.8")[-1]) < 0.05
    assert LamArm("rgb", "three", "vq", changing=True).name == "rgb-three-vq-light"


def test_policies_are_compared_with_those_of_as_many_labels(tmp_path: Path) -> None:
    made = plan(
        proofs=("pretraining", "picture"), training_seeds=(0,), seeds=(0,), episodes=6, labelled=(10,),
        output=str(tmp_path),
    )  # fmt: skip
    acting = [network for network in made.networks if network.acts]
    results = []
    for network in acting:
        good = not network.arm.startswith(("labels", "other"))
        told = {"wrong_mm": 20.0 if good else 50.0, "frames": 10, "left": [0.5, 0.25], "whole": [1.0, 1.0]}
        answered(tmp_path, network.name, {"episodes": [{**told, "wrong_mm": told["wrong_mm"] + n} for n in range(12)]})
        results += [
            EpisodeResult(EpisodeKey("stack_cube", network.policy.label, 0, episode), good, good, 10)
            for episode in range(6)
        ]
    text = made.write(acting, ["stack_cube"], results)
    lines = text.splitlines()
    both = next(line for line in lines if line.startswith("| both-10 | 2.55 ("))
    assert 0 < float(both.split("|")[-2]) < 0.05
    assert next(line for line in lines if line.startswith("| labels-10 | 5.55 (")).endswith("|  |  |")
    assert any(line.startswith("| both-10 | 0.50 (") and "| 0.75 (" in line for line in lines)
    pretraining, picture = ((tmp_path / f"{name}.md").read_text() for name in ("pretraining", "picture"))
    assert "| both-10 | stack_cube | **100.0 %** (6/6) |" in pretraining and "| all |" in pretraining
    assert "| other-picture-10 | stack_cube | **0.0 %** (0/6) |" in picture and "labels" not in picture
    assert (tmp_path / "picture.png").stat().st_size > 100


# --- all of it ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_steps_run_with_almost_nothing_and_go_on_where_they_were(tmp_path: Path, capsys) -> None:
    lams = ("rgb-three-vq", "rgbd-three-vq", "rgbd-three-vq-light", "rgbd-pair-0.2-vq")
    asked = AblateArguments(
        "latent", settings=(*lams, "labels", "both", "pseudo"), try_out=True, pictures="none", workers=1,
        output=str(tmp_path / "tried"),
    )  # fmt: skip
    assert ablate(asked) == 0
    capsys.readouterr()
    before = {file: file.read_bytes() for file in (tmp_path / "tried").glob("*.md")}
    names = {"actions", "depth", "farsighted", "pretraining", "pretraining-errors", "picture", "picture-errors"}
    assert names <= {file.stem for file in before}
    assert ablate(asked) == 0
    said = capsys.readouterr().out
    assert "training for" not in said and "asking" not in said and "recording" not in said
    assert all(file.read_bytes() == content for file, content in before.items())
