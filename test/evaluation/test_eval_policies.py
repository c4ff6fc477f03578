"""How evaluated policies are written."""

import json
from pathlib import Path

import pytest

from stvla_ros.acting.policy_texts import parse_policy, read_policies
from stvla_ros.acting.setup import EvaluatedPolicy, at_latencies, unique
from stvla_ros.errors import InputError
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.shared_files import default_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "spatialvla"}')
    return folder


def test_a_name_alone_is_that_policy_and_sees_nothing() -> None:
    for name in ("expert", "random"):
        policy = parse_policy(name)
        assert (policy.label, policy.policy, policy.sightless) == (name, name, True)


def test_a_folder_alone_is_a_checkpoint_of_stvla(checkpoint: Path) -> None:
    policy = parse_policy(str(checkpoint))
    assert (policy.label, policy.policy, policy.checkpoint) == ("ours", "stvla", str(checkpoint))
    assert (policy.inputs, policy.resolved_execution) == (InputsConfig(), "ensemble")
    assert not policy.sightless


def test_a_hub_id_is_a_checkpoint_of_stvla() -> None:
    policy = parse_policy("big=owner/some-model")
    assert (policy.label, policy.checkpoint) == ("big", "owner/some-model")


def test_fields_and_the_policys_own_parameters_follow_the_question_mark(checkpoint: Path) -> None:
    policy = parse_policy(f"a=stvla:{checkpoint}?traces=none,buffer=15,adaptive=false,resize=area,temperature=0.5")
    assert policy.label == "a"
    assert policy.inputs == InputsConfig(traces="none", buffer=15, adaptive=False, resize="area")
    assert policy.parameters == {"temperature": 0.5}


def test_without_depth_nothing_is_drawn(checkpoint: Path) -> None:
    policy = parse_policy(f"blind={checkpoint}?depth=constant")
    assert policy.inputs == InputsConfig(depth="constant", traces="none")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "policies: expected [label=]name"),
        ("=expert", "policies: expected [label=]name"),
        ("oracle", "policies: expected one of expert, random, stvla"),
        ("expert:somewhere", "policy expert: takes no checkpoint"),
        ("random?temperature=1", "policy random: takes no temperature"),
        ("expert?traces", "policies: expected key=value"),
        ("expert?parameters=3", "policies: parameters has a place of its own"),
        ("expert?label=a", "policies: label has a place of its own"),
        ("expert?traces=red", "policy expert: traces: expected one of none, depth, rgb"),
        ("expert?execution=fast", "policy expert: execution: expected one of"),
        ("expert?buffer=1", "policy expert: buffer: expected an integer of at least 2 frames"),
        ("expert?resize=area", "policy expert: takes no resize"),
        ("stvla?resize=none", "policy stvla: resize: expected one of bicubic, area"),
        ("expert?buffer=many", "policy expert: buffer"),
        ("expert?depth=sonar", "policy expert: depth: expected one of sensor, constant"),
        ("expert?depth=constant,traces=depth", "policy expert: traces: expected none or rgb with depth constant"),
        ("expert?added_latency=-1", "policy expert: added_latency: expected milliseconds"),
        ("expert?inference_latency=soon", "policy expert: inference_latency: expected measured or milliseconds"),
        ("expert?sticky_gripper=-1", "policy expert: sticky_gripper: expected control steps"),
        ("a b=expert", "policy label: expected letters"),
        ("../up=expert", "policy label: expected letters"),
    ],
)
def test_a_bad_text_is_one_line_that_names_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_policy(text)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_a_file_holds_policies_with_the_same_fields(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(
        "- {policy: expert}\n"
        f"- {{label: plain, checkpoint: {checkpoint}, traces: none, resize: area, parameters: {{temperature: 0.5}}}}\n"
    )
    expert, plain = read_policies(file)
    assert expert == parse_policy("expert")
    assert plain == parse_policy(f"plain={checkpoint}?traces=none,resize=area,temperature=0.5")


@pytest.mark.parametrize(
    "text", ["policy: expert", "- [expert]", "- {policy: expert, trace: none}", "- {policy: 3}", "{"]
)
def test_a_bad_file_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match="^policies_file .*policies.yaml: "):
        read_policies(file)


def test_a_checkpoint_is_shown_what_it_was_trained_with_unless_told_otherwise(checkpoint: Path) -> None:
    inputs = {"traces": "rgb", "depth": "zoedepth", "buffer": 15, "variant": "B", "adaptive": False, "resize": "area"}
    (checkpoint / "training.json").write_text(json.dumps({"inputs": inputs, "execution": "mean_ensemble"}))
    policy = parse_policy(str(checkpoint))
    assert policy.resolved_execution == "mean_ensemble"
    assert parse_policy(f"{checkpoint}?execution=chunk").resolved_execution == "chunk"
    assert policy.inputs == InputsConfig(**inputs)
    assert policy.notes() == ()
    other = parse_policy(f"{checkpoint}?buffer=7,resize=bicubic,depth=constant")
    given = {"buffer": 7, "resize": "bicubic", "depth": "constant", "traces": "none"}
    assert other.inputs == InputsConfig(**{**inputs, **given})
    assert other.notes()[0] == "traces: none is used, the checkpoint was trained with rgb"


def test_a_record_with_names_of_before_is_still_read(checkpoint: Path) -> None:
    record = {"data": {"statistics_key": "mine"}, "inputs": {"buffer": 7}, "execution": "chunk"}
    (checkpoint / "training.json").write_text(json.dumps(record))
    assert parse_policy(str(checkpoint)).inputs.buffer == 7


def test_stvla_alone_is_the_checkpoint_that_comes_along() -> None:
    if default_checkpoint().is_dir():
        policy = parse_policy("stvla")
        assert (policy.label, policy.checkpoint) == ("stvla", str(default_checkpoint()))
    else:
        with pytest.raises(InputError, match="^policies: stvla: expected a checkpoint after it"):
            parse_policy("stvla")


def test_a_broken_training_json_is_named(checkpoint: Path) -> None:
    (checkpoint / "training.json").write_text("[]")
    with pytest.raises(InputError, match="training.json: expected a training configuration"):
        parse_policy(str(checkpoint))


def test_equal_labels_are_refused() -> None:
    with pytest.raises(InputError, match="'expert' twice"):
        unique([parse_policy("expert"), parse_policy("expert?execution=chunk")])


def test_a_checkpoint_counts_by_its_content(checkpoint: Path) -> None:
    before = parse_policy(str(checkpoint)).identity()
    assert before == parse_policy(str(checkpoint)).identity()
    (checkpoint / "tokenizer.json").write_text("[]")
    assert before != parse_policy(str(checkpoint)).identity()


def test_every_policy_gets_every_execution_and_latency() -> None:
    made = at_latencies([parse_policy("expert")], ["chunk", "receding"], [0, 100])
    assert [policy.label for policy in made] == [
        "expert@chunk+0ms",
        "expert@chunk+100ms",
        "expert@receding+0ms",
        "expert@receding+100ms",
    ]
    assert {policy.pacing for policy in made} == {"realtime"}
    assert [policy.added_latency for policy in made] == [0.0, 100.0, 0.0, 100.0]


def test_the_expert_knows_when_to_grasp_and_a_network_does_not() -> None:
    assert EvaluatedPolicy("e", "expert").sticky_steps("google_robot") == 0
    assert EvaluatedPolicy("r", "random").sticky_steps("google_robot") == 10
    assert EvaluatedPolicy("r", "random", sticky_gripper=3).sticky_steps("google_robot") == 3
