"""Episodes through the live graph: which graphs are started, and what their summaries say."""

import json
from pathlib import Path

import pytest
import yaml

from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.results import EpisodeKey
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.evaluation.live import contiguous, read_summary, run_live, sim_arguments
from stvla_ros.graph.assemble import sim_graph
from stvla_ros.policy.inputs import InputsConfig


def _key(policy: str, episode: int, task: str = "panda_pick_cube") -> EpisodeKey:
    return EpisodeKey(task, policy, 0, episode)


def test_one_graph_runs_consecutive_episodes_of_one_policy_and_task() -> None:
    keys = [_key("a", episode) for episode in (3, 0, 1, 5, 4)] + [_key("b", 0), _key("a", 2, "stack_cube")]
    runs = [[(key.task, key.policy, key.episode) for key in run] for run in contiguous(keys)]
    task = "panda_pick_cube"
    assert runs == [
        [(task, "a", 0), (task, "a", 1)],
        [(task, "a", 3), (task, "a", 4), (task, "a", 5)],
        [(task, "b", 0)],
        [("stack_cube", "a", 2)],
    ]


def test_the_graph_gets_what_the_policy_says(tmp_path: Path) -> None:
    policy = EvaluatedPolicy(
        "ours",
        "stvla",
        "small",
        {"device": "cpu", "temperature": 0.5},
        InputsConfig(traces="rgb", variant="B", buffer=7, adaptive=False, resize="area"),
        "chunk",
        pacing="realtime",
    )
    graph = sim_graph(sim_arguments(policy, "panda_pick_cube", 4, 3, 17, video=False), tmp_path / "run")
    nodes = {
        name.removeprefix("/**/"): values["ros__parameters"]
        for name, values in yaml.safe_load(graph.parameter_files[0].read_text()).items()
    }
    bridge, server, perception = nodes["sim_bridge"], nodes["vla_server"], nodes["perception"]
    assert (bridge["first_episode"], bridge["episodes"], bridge["max_steps"]) == (4, 3, 17)
    assert (bridge["pacing"], server["pacing"]) == ("realtime", "realtime")
    assert (server["traces"], server["execution"], server["device"]) == ("rgb", "chunk", "cpu")
    assert server["resize"] == "area"
    assert yaml.safe_load(server["policy_parameters"]) == {"temperature": 0.5}
    assert (perception["variant"], perception["buffer"], perception["adaptive"]) == ("B", 7, False)


def test_a_summary_becomes_results(tmp_path: Path) -> None:
    episodes = [
        {"episode_id": 4, "instruction": "go", "success": True, "steps": 9, "reason": ""},
        {"episode_id": 5, "instruction": "go", "success": False, "steps": 60, "reason": "time limit"},
    ]
    stages = {"vla_server": {"processing_p50_ms": 12.5, "processing_p99_ms": 20.0}}
    file = tmp_path / "summary.json"
    file.write_text(json.dumps({"episodes": episodes, "stages": stages}))
    results = read_summary(file, "ours", "reach")
    won, lost = results[_key("ours", 4, "reach")], results[_key("ours", 5, "reach")]
    assert (won.success, won.steps, won.conditions_met) == (True, 9, 1.0)
    assert (lost.success, lost.steps, lost.conditions_met) == (False, 60, 0.0)
    assert won.inference_ms == {"p50": 12.5, "p99": 20.0}


@pytest.mark.slow
def test_the_expert_succeeds_in_the_live_graph(tmp_path: Path) -> None:
    keys = [_key("expert", 2), _key("expert", 3)]
    results, lines = [], []
    failed = run_live(keys, [parse_policy("expert")], 0, True, tmp_path, results.append, lines.append)
    assert not failed and not lines
    assert [result.key for result in results] == keys and all(result.success for result in results)
    assert (tmp_path / "live" / "expert_panda_pick_cube_002" / "video.mp4").stat().st_size > 1000
