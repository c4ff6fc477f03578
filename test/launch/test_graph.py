"""The description of the graph: what is started with which arguments, and bad arguments."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from graph_parts import names_of, node_of, parameters_of, take_for_a_recording

from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments, SimArguments, field_docstrings, given_inputs, input_arguments
from stvla_ros.graph.assemble import robot_graph, sim_graph
from stvla_ros.graph.specification import Graph
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.shared_files import default_checkpoint
from stvla_ros.sim.maniskill.assets import find_assets
from stvla_ros.sim.maniskill.tasks import ZERO_DOWNLOAD_TASK

BAD_SIM_ARGUMENTS = {
    "task": SimArguments(task="stack_cub"),
    "policy": SimArguments(policy="oracle"),
    "tracker": SimArguments(tracker="kalman"),
    "depth": SimArguments(depth="sonar"),
    "params_file": SimArguments(params_file="/nonexistent.yaml"),
    "device": SimArguments(device="gpu"),
    "policy_parameters": SimArguments(policy_parameters="[1]"),
    "policy_parameters: resize has an argument of its own": SimArguments(policy_parameters="{resize: area}"),
    "tracker_parameters": SimArguments(tracker_parameters="[1]"),
    "depth_parameters": SimArguments(depth_parameters="{"),
    "buffer": SimArguments(buffer=1),
    "traces: expected none or rgb with depth constant": SimArguments(traces="depth", depth="constant"),
    "policy expert: takes no resize": SimArguments(policy="expert", resize="area"),
    "checkpoint: expected a folder": SimArguments(checkpoint="/nowhere"),
    "policy expert: takes no checkpoint": SimArguments(policy="expert", checkpoint="somewhere"),
    "policy expert: takes no dtype": SimArguments(policy="expert", dtype="float16"),
    "policy expert: takes no temperature": SimArguments(policy="expert", policy_parameters="{temperature: 0.5}"),
}


@pytest.mark.parametrize("name", BAD_SIM_ARGUMENTS)
def test_a_bad_simulation_argument_is_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match=f"^{name}\\b") as raised:
        sim_graph(BAD_SIM_ARGUMENTS[name], run)
    assert "\n" not in str(raised.value)
    assert not run.exists()


def test_an_unknown_robot_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="^robot: expected one of fr3, google_robot, panda, so101, ur5e_robotiq, widowx"
    ):
        robot_graph(RobotArguments(robot="r2d2"), tmp_path)


def test_the_command_refuses_a_bad_argument_with_one_line_and_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stvla_ros.cli", "sim", "--tracker", "kalman", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: tracker: expected one of lucas_kanade, kinematic, cotracker, tapnext, got 'kalman'"
    ]
    assert done.stdout == ""


def test_the_stages_are_separate_processes_unless_fused(tmp_path: Path) -> None:
    separate = sim_graph(SimArguments(), tmp_path)
    assert names_of(separate) == ["tracker", "depth", "compositor", "vla_server", "sim_bridge", "episode_recorder"]
    fused = sim_graph(SimArguments(fused=True), tmp_path)
    assert names_of(fused) == ["fused", "sim_bridge", "episode_recorder"]
    assert set(node_of(fused, "fused").parameters) == {"perception", "vla_server"}


def test_fused_and_separate_stages_get_the_same_parameters(tmp_path: Path) -> None:
    arguments = {"traces": "depth", "buffer": 7, "variant": "A", "drawing": "{line_width: 1, age_step: 1}"}
    arguments["tracker_parameters"] = "{num_points: 50}"
    separate, fused = (sim_graph(SimArguments(fused=f, **arguments), tmp_path) for f in (False, True))
    names = ("tracker", "depth", "compositor")
    stages = {k: v for name in names for k, v in node_of(separate, name).parameters[name].items()}
    assert node_of(fused, "fused").parameters["perception"] == stages
    assert stages["buffer"] == 7
    assert (stages["variant"], stages["line_width"], stages["age_step"]) == ("A", 1, 1.0)
    assert isinstance(stages["age_step"], float), "a node refuses a whole number"


def test_lockstep_loses_no_frame_and_has_no_time_limits(tmp_path: Path) -> None:
    lockstep = node_of(sim_graph(SimArguments(), tmp_path), "vla_server").parameters["vla_server"]
    assert lockstep["sensor_reliability"] == "reliable"
    assert (lockstep["pacing"], lockstep["stall_timeout"]) == ("lockstep", 0.0)
    realtime = node_of(sim_graph(SimArguments(pacing="realtime"), tmp_path), "vla_server").parameters["vla_server"]
    assert realtime["sensor_reliability"] == "best_effort"
    assert realtime["pacing"] == "realtime"
    assert "stall_timeout" not in realtime


def test_the_robots_gripper_and_statistics_reach_the_network_and_the_expert_keeps_its_gripper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stvla_ros.hub.check_id", lambda what, repository: None)

    def server(arguments: SimArguments | RobotArguments) -> dict:
        graph = (sim_graph if isinstance(arguments, SimArguments) else robot_graph)(arguments, tmp_path)
        return node_of(graph, "vla_server").parameters["vla_server"]

    network = {"policy": "stvla", "checkpoint": "some/hub-id"}
    google = server(RobotArguments(robot="google_robot", **network))
    assert (google["sticky_gripper"], google["fallback_unnorm_key"]) == (10, "fractal20220817_data/0.1.0")
    assert server(SimArguments(policy="expert"))["sticky_gripper"] == 0
    try:
        find_assets(download=False)
    except InputError as error:
        pytest.skip(str(error))  # the Panda takes the WidowX' place
    widowx = server(SimArguments(**network))
    assert (widowx["sticky_gripper"], widowx["fallback_unnorm_key"]) == (1, "bridge_orig/1.0.0")


def test_a_checkpoint_folder_is_found_from_anywhere_and_a_hub_id_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").symlink_to(default_checkpoint())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stvla_ros.hub.check_id", lambda what, repository: None)
    for given, passed in (("model", str(default_checkpoint())), ("small", "small"), ("some/hub-id", "some/hub-id")):
        graph = sim_graph(SimArguments(policy="stvla", checkpoint=given), tmp_path / "run")
        assert node_of(graph, "vla_server").parameters["vla_server"]["checkpoint"] == passed


TRAINED = {"traces": "none", "buffer": 7, "depth": "constant", "resize": "area", "adaptive": False}


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A copy of the small checkpoint that was trained with something else."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in default_checkpoint().iterdir():
        (folder / file.name).symlink_to(file)
    record = json.loads((folder / "training.json").read_text())
    record["inputs"] |= TRAINED
    record["execution"] = "mean_ensemble"
    (folder / "training.json").unlink()
    (folder / "training.json").write_text(json.dumps(record))
    return str(folder)


def _shown(graph: Graph) -> dict[str, Any]:
    """What the graph's nodes are told about the policy's inputs, as they read it from the parameter file."""
    nodes = [values["ros__parameters"] for values in parameters_of(graph).values()]
    names = {"traces", "tracker", "buffer", "adaptive", "depth", "depth_parameters", "variant", "resize"}
    # The recorder is told, too.
    told = [{name: values[name] for name in names & values.keys()} for values in nodes]
    together = {name: value for values in told for name, value in values.items()}
    assert all(values.items() <= together.items() for values in told)
    return together


def _graph(kind: type[SimArguments | RobotArguments], run: Path, **arguments: Any) -> Graph:
    """Of a task whose files are always at hand, so that no note says otherwise."""
    if kind is RobotArguments:
        return robot_graph(RobotArguments(**arguments), run)
    return sim_graph(SimArguments(task=ZERO_DOWNLOAD_TASK, **arguments), run)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [SimArguments, RobotArguments])
def test_the_graph_shows_a_policy_what_its_checkpoint_was_trained_with(
    kind: type[SimArguments | RobotArguments], fused: bool, checkpoint: str, tmp_path: Path
) -> None:
    graph = _graph(kind, tmp_path / "run", checkpoint=checkpoint, fused=fused)
    assert _shown(graph) == {"tracker": "lucas_kanade", "variant": "C", "depth_parameters": "{}", **TRAINED}
    assert node_of(graph, "fused" if fused else "vla_server").parameters["vla_server"]["execution"] == "mean_ensemble"
    assert graph.notes == ()


@pytest.mark.parametrize("kind", [SimArguments, RobotArguments])
def test_what_the_user_gives_wins_and_a_line_says_where_it_differs(
    kind: type[SimArguments | RobotArguments], checkpoint: str, tmp_path: Path
) -> None:
    given = {"traces": "depth", "depth": "sensor", "buffer": 15, "adaptive": "true", "resize": "bicubic"}
    graph = _graph(kind, tmp_path / "run", checkpoint=checkpoint, execution="chunk", **given)
    assert _shown(graph).items() >= {**given, "adaptive": True}.items()
    assert graph.notes == (
        "traces: depth is used, the checkpoint was trained with none",
        "depth: sensor is used, the checkpoint was trained with constant",
        "buffer: 15 is used, the checkpoint was trained with 7",
        "adaptive: true is used, the checkpoint was trained with false",
        "resize: bicubic is used, the checkpoint was trained with area",
        "execution: chunk is used, the checkpoint was trained for mean_ensemble",
    )


@pytest.mark.parametrize("fused", [False, True])
def test_traces_beside_the_depth_are_one_a_body_and_reach_a_policy_that_was_trained_so(
    fused: bool, checkpoint: str, tmp_path: Path
) -> None:
    arguments = SimArguments(
        task=ZERO_DOWNLOAD_TASK, checkpoint=checkpoint, traces="beside", depth="sensor", fused=fused
    )
    with pytest.raises(
        InputError, match=f"traces: expected none, depth or rgb, checkpoint {checkpoint} was not trained"
    ):
        sim_graph(arguments, tmp_path / "run")
    record = Path(checkpoint) / "training.json"
    record.write_text(json.dumps({"inputs": {"traces": "beside"}}))
    graph = sim_graph(SimArguments(task=ZERO_DOWNLOAD_TASK, checkpoint=checkpoint, fused=fused), tmp_path / "run")
    parameters = {name: each for node in graph.nodes for name, each in node.parameters.items()}
    assert parameters["vla_server"]["traces"] == "beside"
    tracker = parameters["perception" if fused else "tracker"]
    assert (tracker["max_traces"], tracker["min_difference"]) == (3, 0.25)


def test_the_evaluation_and_the_graph_show_a_policy_the_same(checkpoint: str, tmp_path: Path) -> None:
    for given in ({}, {"traces": "rgb"}, {"depth": "sensor", "traces": "depth", "variant": "A"}):
        graph = sim_graph(SimArguments(checkpoint=checkpoint, **given), tmp_path / "run")
        text = ",".join(f"{name}={value}" for name, value in given.items())
        inputs = asdict(parse_policy(f"{checkpoint}?{text}").inputs)
        assert _shown(graph).items() <= {**inputs, "depth_parameters": "{}"}.items()


def test_a_policy_without_a_network_has_its_traces_drawn_for_people(tmp_path: Path) -> None:
    for policy in ("expert", "random"):
        graph = _graph(SimArguments, tmp_path / "run", policy=policy)
        assert _shown(graph).items() >= {"traces": "depth", "depth": "sensor", "buffer": 30}.items()
        assert graph.notes == ()


def test_a_broken_training_record_is_one_line_that_names_it(checkpoint: str, tmp_path: Path) -> None:
    Path(checkpoint, "training.json").write_text('{"inputs": {"buffer": "many"}}')
    with pytest.raises(InputError, match="training.json: inputs.buffer: expected int, got 'many'$"):
        robot_graph(RobotArguments(checkpoint=checkpoint), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_helps_words_on_auto_are_the_defaults_of_the_record() -> None:
    texts = field_docstrings(SimArguments)
    for name, default in input_arguments(InputsConfig(), "stvla", "").items():
        told = "none" if default == "{}" else str(default)
        assert texts[name].endswith(f"trained, else {told}."), name
        assert SimArguments.__dataclass_fields__[name].default == "auto"


def test_the_arguments_offer_what_the_record_takes() -> None:
    taken, offered = get_type_hints(InputsConfig), get_type_hints(SimArguments)
    for name, kind in taken.items():
        if get_origin(kind) is Literal:
            assert get_args(offered[name]) == ("auto", *get_args(kind)), name


def test_inputs_go_through_arguments_and_come_back(tmp_path: Path) -> None:
    for inputs in (
        InputsConfig(),
        InputsConfig(
            "rgb",
            "zoedepth",
            {"checkpoint": "a" * 200},
            "cotracker",
            {"a": [1, 2.5]},
            7,
            "B",
            {"line_width": 1},
            False,
            "area",
        ),
    ):
        given = given_inputs(SimArguments(**input_arguments(inputs, "stvla", "")))
        assert given.keys() == asdict(inputs).keys()
        assert InputsConfig(**given) == inputs


def test_a_recording_waits_for_every_node_that_takes_its_pictures(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = take_for_a_recording(monkeypatch)
    record = json.loads(Path(checkpoint, "training.json").read_text())
    record["inputs"] |= {"traces": "rgb"}
    Path(checkpoint, "training.json").write_text(json.dumps(record))
    cases = (({}, 5), ({"traces": "rgb"}, 4), ({"checkpoint": checkpoint}, 4), ({"fused": True}, 2))
    for arguments, count in cases:
        graph = robot_graph(RobotArguments(replay=film, **arguments), tmp_path)
        assert node_of(graph, "replay").parameters["replay"]["min_subscribers"] == count


def test_no_frame_is_published_before_who_records_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = take_for_a_recording(monkeypatch)
    bag = {f"bag_recorder {topic}" for topic in ("image", "camera_info", "sensor_depth")}
    for graph, source in (
        (sim_graph(SimArguments(record=True), tmp_path), "sim_bridge"),
        (robot_graph(RobotArguments(record=True, replay=film), tmp_path), "replay"),
    ):
        awaited = node_of(graph, source).parameters[source]["awaited_subscribers"]
        assert bag < set(awaited) and "episode_recorder image" in awaited
        assert {pair.split()[0] for pair in awaited} == {name for name in names_of(graph) if "recorder" in name}
        # One that cannot record must not leave the others waiting.
        assert node_of(graph, "bag_recorder").on_failure == "stop"
    plain = sim_graph(SimArguments(video=False), tmp_path)
    assert node_of(plain, "sim_bridge").parameters["sim_bridge"]["awaited_subscribers"] == [""]
    live = robot_graph(RobotArguments(record=True), tmp_path)
    assert node_of(live, "bag_recorder").on_failure == "ignore"


def test_the_sensors_depth_is_recorded_once(tmp_path: Path) -> None:
    def excluded(**arguments: Any) -> list[str]:
        graph = robot_graph(RobotArguments(record=True, **arguments), tmp_path)
        return node_of(graph, "bag_recorder").parameters["bag_recorder"]["exclude_topics"]

    assert excluded() == ["depth"], "in metres what sensor_depth says"
    assert excluded(depth="constant", traces="none") == [""], "nowhere else to be had"


def test_the_run_folder_keeps_the_parameters_of_each_node_in_any_namespace(tmp_path: Path) -> None:
    graph = sim_graph(SimArguments(episodes=5), tmp_path)
    assert graph.parameter_files == (tmp_path / "parameters.yaml",)
    assert parameters_of(graph)["/**/sim_bridge"]["ros__parameters"]["episodes"] == 5


def test_the_users_parameter_file_comes_last(tmp_path: Path) -> None:
    extra = tmp_path / "mine.yaml"
    extra.write_text("/compositor: {ros__parameters: {line_width: 3}}")
    graph = sim_graph(SimArguments(params_file=str(extra)), tmp_path / "run")
    assert graph.parameter_files == (tmp_path / "run" / "parameters.yaml", extra)


def test_only_the_recorder_ends_a_simulation(tmp_path: Path) -> None:
    graph = sim_graph(SimArguments(record=True), tmp_path)
    assert "bag_recorder" in names_of(graph)
    assert [node.executable for node in graph.nodes if node.ends_graph] == ["episode_recorder"]


def test_a_robots_stops_outlive_the_run_and_a_stand_ins_do_not(tmp_path: Path) -> None:
    def folder(**arguments: Any) -> str:
        graph = robot_graph(RobotArguments(policy="random", **arguments), tmp_path / "run")
        return parameters_of(graph)["/**/widowx_driver"]["ros__parameters"]["latch_folder"]

    assert folder() == "", "the user's state"
    assert folder(use_fake_hardware=True) == str(tmp_path / "run" / "latches")
    for given in ({"use_fake_hardware": True}, {}):
        assert folder(latch_folder=str(tmp_path / "kept"), **given) == str(tmp_path / "kept")


@pytest.mark.parametrize("fused", [False, True])
def test_the_cameras_pose_reaches_all_that_may_need_the_robot(fused: bool, tmp_path: Path) -> None:
    pose = "0.1 0 0.6 3.14 0 0"
    graph = robot_graph(RobotArguments(camera_pose=pose, fused=fused), tmp_path)
    told = {name: p["camera_pose"] for node in graph.nodes for name, p in node.parameters.items() if "camera_pose" in p}
    assert told == dict.fromkeys(["perception"] if fused else ["tracker", "compositor"], pose)
    parents = [p["camera_parent"] for node in graph.nodes for p in node.parameters.values() if "camera_parent" in p]
    assert parents == ["wx250s/base_link"], "one node publishes it, in the frame that Interbotix' URDF has"
    with pytest.raises(InputError, match="^camera_pose: expected x y z roll pitch yaw"):
        robot_graph(RobotArguments(camera_pose="above"), tmp_path)


def test_the_cameras_pose_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "camera.yaml"
    file.write_text("camera_pose: [0.1, 0, 0.6, 3.14, 0, 0]")
    graph = robot_graph(RobotArguments(camera_pose=str(file)), tmp_path)
    told = {p["camera_pose"] for node in graph.nodes for p in node.parameters.values() if "camera_pose" in p}
    assert told == {"0.1 0 0.6 3.14 0 0"}
    file.write_text("camera: 3")
    with pytest.raises(InputError, match=r"^camera_pose .*: expected camera_pose: \[x, y, z"):
        robot_graph(RobotArguments(camera_pose=str(file)), tmp_path)


def test_the_robots_own_topics_are_those_of_its_bring_up(tmp_path: Path) -> None:
    (tracker, *_) = [each for each in robot_graph(RobotArguments(), tmp_path).nodes if each.executable == "tracker"]
    assert tracker.remappings["joint_states"] == "wx250s/joint_states"
    assert tracker.remappings["robot_description"] == "wx250s/robot_description"
    (tracker, *_) = [
        each for each in robot_graph(RobotArguments(robot="fr3"), tmp_path).nodes if each.executable == "tracker"
    ]
    # The arm's own topic lacks the fingers.
    assert not {"joint_states", "robot_description"} & tracker.remappings.keys()
