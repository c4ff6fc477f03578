"""The arguments of `stvla eval`, checked before anything runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stvla_ros.errors import InputError
from stvla_ros.evaluation.plan import EvalArguments, plan_evaluation
from stvla_ros.shared_files import default_checkpoint
from stvla_ros.sim.maniskill.tasks import ZERO_DOWNLOAD_TASK

BOTH = ("expert", "random")


def test_every_policy_task_seed_and_episode_is_planned() -> None:
    arguments = EvalArguments(BOTH, tasks=(ZERO_DOWNLOAD_TASK,), episodes=3, seeds=(0, 1))
    evaluation = plan_evaluation(arguments)
    assert len(evaluation.keys) == 2 * 2 * 3
    assert [policy.label for policy in evaluation.policies] == list(BOTH)


def test_latencies_and_executions_multiply_the_policies() -> None:
    evaluation = plan_evaluation(
        EvalArguments(
            ("expert",),
            tasks=(ZERO_DOWNLOAD_TASK,),
            pacing="realtime",
            latency="0,100",
            executions="receding,chunk",
            inference_latency="30",
        )
    )
    assert len(evaluation.policies) == 4
    assert {policy.inference_latency for policy in evaluation.policies} == {30.0}
    assert set(evaluation.at_latency.values()) == {"expert, receding", "expert, chunk"}
    assert evaluation.at_latency["expert@chunk+100ms"] == "expert, chunk"


def test_the_preset_is_the_published_protocol(scenes: Path, tmp_path: Path) -> None:
    network = tmp_path / "ours"
    network.mkdir()
    (network / "config.json").write_text('{"model_type": "spatialvla"}')
    (network / "model.safetensors").touch()
    shutil.copy(default_checkpoint() / "processor_config.json", network)
    (network / "training.json").write_text('{"inputs": {}, "execution": "mean_ensemble"}')
    asked = f"asked={network}?execution=mean_ensemble"
    policies = ("expert", str(network), f"other={network}?resize=bicubic,execution=chunk", asked)
    evaluation = plan_evaluation(EvalArguments(policies, preset="simplerenv-widowx"))
    assert evaluation.episodes == dict.fromkeys(evaluation.tasks, 24)
    assert set(evaluation.tasks) == {"spoon_on_towel", "carrot_on_plate", "stack_cube", "eggplant_in_basket"}
    assert evaluation.until_limit
    expert, ours, other, asked = evaluation.policies
    assert asked.execution == "mean_ensemble"
    assert (ours.execution, ours.inputs.resize, ours.sticky_steps("widowx")) == ("ensemble", "area", 1)
    assert (other.execution, other.inputs.resize) == ("chunk", "bicubic")
    assert not expert.parameters
    assert evaluation.notes == (
        "ours: execution: ensemble is used, the checkpoint was trained for mean_ensemble",
        "other: execution: chunk is used, the checkpoint was trained for mean_ensemble",
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"policies": ()}, "policies: expected at least one"),
        ({"policies": ("expert", "expert")}, "policies: expected different labels"),
        ({"tasks": ("stack_cub",)}, "task 'stack_cub': no such task"),
        ({"tasks": ()}, "tasks: expected at least one"),
        ({"episodes": 0}, "episodes: expected a whole number from 1"),
        ({"episodes": 25}, f"episodes: task {ZERO_DOWNLOAD_TASK} has 24, asked for 25"),
        ({"seeds": (0, 0)}, "seeds: expected different whole numbers"),
        ({"seeds": (-1,)}, "seeds: expected a whole number from 0"),
        ({"workers": 0}, "workers: expected a whole number from 1"),
        ({"image_size": (0, 5)}, "image_size: expected 0 0"),
        ({"preset": "libero"}, "preset: expected one of simplerenv-widowx"),
        ({"latency": "0,100"}, "latency, executions: expected pacing realtime"),
        ({"latency": "fast", "pacing": "realtime"}, "latency: expected different numbers of milliseconds"),
        ({"latency": "100,100", "pacing": "realtime"}, "latency: expected different numbers of milliseconds"),
        ({"executions": "quick", "pacing": "realtime"}, "policy expert@quick+0ms: execution: expected one of"),
        ({"inference_latency": "soon"}, "inference_latency: expected different numbers of milliseconds"),
        ({"policies_file": "/nonexistent.yaml"}, "policies_file /nonexistent.yaml: expected a YAML file"),
        ({"live": True, "until_limit": True}, "live: expected no until_limit"),
        ({"live": True, "seeds": (1,)}, "live: expected seeds 0"),
        ({"live": True, "image_size": (64, 64)}, "live: expected no image_size"),
        ({"live": True, "policies": ("expert?sticky_gripper=2",)}, "live: policy expert: sticky_gripper"),
        ({"live": True, "policies": ("expert?added_latency=50,pacing=realtime",)}, "live: policy expert: expected no"),
    ],
)
def test_a_bad_argument_is_one_line_that_names_it(changed: dict, said: str) -> None:
    with pytest.raises(InputError) as raised:
        plan_evaluation(EvalArguments(**{"policies": ("expert",), "tasks": (ZERO_DOWNLOAD_TASK,), **changed}))
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_a_task_that_the_expert_cannot_do_is_refused_for_it() -> None:
    task = "simpler/google_robot_open_drawer"
    with pytest.raises(InputError) as refused:
        plan_evaluation(EvalArguments(("expert",), tasks=(task,), episodes=1))
    assert str(refused.value) == f"policies: the scripted expert cannot do task {task}"


def test_the_command_loads_neither_torch_nor_matplotlib_nor_a_simulator() -> None:
    code = (
        "import sys, stvla_ros.evaluation.evaluate, stvla_ros.evaluation.ablate\n"
        "print([name for name in ('torch', 'matplotlib', 'mani_skill', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"
