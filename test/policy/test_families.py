"""Which family a checkpoint is of, and what `stvla model inspect` tells of it."""

import json
from pathlib import Path

import pytest

from stvla_ros.cli import main
from stvla_ros.errors import InputError
from stvla_ros.policy.commands import CreateArguments, create, describe
from stvla_ros.policy.families import FAMILIES, family_of, find_family
from stvla_ros.policy.registry import check_policy, make_policy
from stvla_ros.policy.spatialvla.policy import SpatialVlaPolicy
from stvla_ros.shared_files import default_checkpoint


def folder_with(folder: Path, **files: object) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        family_of(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_record_of_the_training_names_the_family(tmp_path: Path) -> None:
    assert family_of(folder_with(tmp_path, training={"family": "spatialvla"})).name == "spatialvla"


def test_without_a_record_the_model_type_tells(tmp_path: Path) -> None:
    assert family_of(folder_with(tmp_path, config={"model_type": "spatialvla"})).name == "spatialvla"


def test_an_adapter_is_of_its_checkpoints_family(tmp_path: Path) -> None:
    base = folder_with(tmp_path / "base", config={"model_type": "spatialvla"})
    adapter = folder_with(tmp_path / "adapter", adapter_config={"base_model_name_or_path": str(base)})
    assert family_of(adapter).name == "spatialvla"


def test_an_adapter_of_itself_is_refused(tmp_path: Path) -> None:
    assert "got an adapter" in refusal(folder_with(tmp_path, adapter_config={"base_model_name_or_path": str(tmp_path)}))


def test_another_models_checkpoint_is_one_line_with_what_is_known(tmp_path: Path) -> None:
    message = refusal(folder_with(tmp_path, config={"model_type": "llama"}))
    assert message == f"{tmp_path}/config.json: expected model_type 'spatialvla' or 'st4vla' or 'ssm_vla', got 'llama'"


@pytest.mark.parametrize("family", ["nobody", 3, ["spatialvla"]])
def test_an_unknown_family_is_named_with_those_that_exist(tmp_path: Path, family: object) -> None:
    message = refusal(folder_with(tmp_path, training={"family": family}))
    assert message.startswith(f"{tmp_path}/training.json: family: expected one of spatialvla")
    assert repr(family) in message


def test_a_folder_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    assert "expected a file config.json, there is none" in refusal(tmp_path)


def test_families_are_listed_and_found_without_torch() -> None:
    import subprocess
    import sys

    program = "import sys; from stvla_ros.policy.families import FAMILIES, find_family; "
    program += "[find_family(name).policy for name in FAMILIES.built_in()]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"stvla_ros.policy.spatialvla.policy", "stvla_ros.policy.st4vla.policy"} <= set(loaded)
    assert not {"torch", "transformers", "peft"} & set(loaded)


def test_the_policy_stvla_is_the_checkpoints() -> None:
    made = make_policy("stvla", {"threads": 1, "no_such": 2})
    assert type(made) is SpatialVlaPolicy
    assert not made.draws_at_random and make_policy("stvla", temperature=0.5).draws_at_random


def test_a_checkpoint_that_was_not_downloaded_is_not_asked_for_its_parameters() -> None:
    check_policy("stvla", {"checkpoint": "nobody/no-such-model", "anything": 1})


def test_inspect_tells_family_inputs_statistics_and_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["model", "inspect", "--checkpoint", str(default_checkpoint())])
    assert not ended.value.code
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["family"] == "spatialvla" and told["statistics"] == "stvla" and told["execution"] == "anchored_mean"
    assert json.loads(told["inputs"])["traces"] == "beside"
    parts = find_family("spatialvla").inspect(default_checkpoint()).parts
    assert sum(parts.values()) == pytest.approx(10.3e6, rel=0.05) and set(parts) < set(told)


def test_inspect_of_another_family_is_refused() -> None:
    with pytest.raises(InputError, match="family: expected one of spatialvla"):
        describe(default_checkpoint(), "nobody")


def test_create_of_an_unknown_family_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="family: expected one of"):
        create(CreateArguments(family="nobody", output=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


def test_these_families_come_along() -> None:
    assert FAMILIES.built_in() == ("spatialvla", "st4vla", "ssm_vla")
