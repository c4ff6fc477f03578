"""The one description of the node graph. `stvla sim|robot` (supervisor.py) and the launch files both start what is
described here.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import PerceptionArguments, RobotArguments, SimArguments, check_topics, given_inputs
from stvla_ros.graph.driver_nodes import LATCHES, driver_node, driver_nodes, robot_name
from stvla_ros.graph.finish import finish, rviz_config
from stvla_ros.graph.replays import image_subscribers, look_at, replay_pacing, without_sensor
from stvla_ros.graph.specification import Graph, NodeSpec, Parameters
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.perception.geometry import parse_pose
from stvla_ros.policy.registry import check_answers, check_loads, check_policy, given_parameters
from stvla_ros.policy.training_record import Resolved, checkpoint_of, resolve
from stvla_ros.robots.drivers import DriverNeeds
from stvla_ros.robots.embodiments import Embodiment, find_embodiment
from stvla_ros.settings import one_line_yaml, read_mapping
from stvla_ros.sim.tasks import check_episodes, find_task, resolve_task

# A real camera's noise changes every picture. A simulator's still scene does not, so this check is off there.
FROZEN_PICTURE_S = 1.0


def sim_graph(arguments: SimArguments, run_directory: Path) -> Graph:
    """The graph of `sim.launch.py`. :raises InputError: naming the bad argument."""
    task, task_note = resolve_task(arguments.task)
    simulated = find_task(task)
    if arguments.policy == "expert" and not simulated.has_expert:
        raise InputError(f"policy: the scripted expert cannot do task {task}; it can do the WidowX and Panda tasks")
    check_episodes(task, arguments.first_episode, arguments.episodes)
    embodiment = find_embodiment(simulated.robot)
    resolved = _resolve(arguments, embodiment)
    lockstep = arguments.pacing == "lockstep"
    # In lockstep every frame counts and time does not: the server may take as long as it needs.
    sensor = {"sensor_reliability": "reliable" if lockstep else "best_effort"}
    driven = embodiment.driver if arguments.joint_level else None
    server = {
        **_server(arguments, resolved, simulated.robot, embodiment),
        "control_hz": simulated.control_hz,
        "pacing": arguments.pacing,
        # The bridge sends the goals. A bridge that was killed and restarted finds its former goal still running.
        "allow_preemption": True,
        "commands_per_observation": driven.limits.commands_per_observation if driven else 0,
        **({"stall_timeout": 0.0} if lockstep else {}),
    }
    bridge = {
        "task": task,
        "episodes": arguments.episodes,
        "first_episode": arguments.first_episode,
        "seed": arguments.seed,
        "pacing": arguments.pacing,
        "max_steps": arguments.max_steps,
        "joint_level": arguments.joint_level,
        "reset_services": ["perception/reset" if arguments.fused else "tracker/reset"],
        "awaited_subscribers": _recorders(arguments.record, arguments.video),
    }
    recorder = {
        "output": str(run_directory),
        "video": arguments.video,
        "fps": 2.0 * simulated.control_hz,
        **_run_facts(arguments, resolved),
        "pacing": arguments.pacing,
        "of_episodes": True,
    }
    nodes = [
        *_perception_and_server(arguments, resolved, sensor, server, {}),
        NodeSpec("sim_bridge", {"sim_bridge": bridge}, part="sim"),
        NodeSpec("episode_recorder", {"episode_recorder": recorder}, ends_graph=True, part="sim"),
        *_optional(arguments, resolved, run_directory, server["base_frame"], {}),
    ]
    if arguments.joint_level:
        if lockstep:
            raise InputError("joint_level: expected pacing realtime, a driver does not wait for a simulator")
        driver = {"robot": simulated.robot, "latch_folder": str(run_directory / LATCHES)}
        nodes.append(driver_node(embodiment, driver))
    notes = ((task_note,) if task_note else ()) + resolved.notes
    return finish(nodes, arguments, run_directory, simulated=True, notes=notes)


def robot_graph(arguments: RobotArguments, run_directory: Path) -> Graph:
    """The graph of `robot.launch.py`. :raises InputError: naming the bad argument."""
    check_topics(arguments)
    embodiment = find_embodiment(arguments.robot)
    replayed = look_at(arguments.replay, arguments.replay_parameters) if arguments.replay else None
    resolved = _resolve(arguments, embodiment)
    if replayed and not replayed.has_depth:
        resolved = without_sensor(arguments, resolved)
    robot = robot_name(arguments)
    server = {**_server(arguments, resolved, robot, embodiment), "frozen_picture_timeout": FROZEN_PICTURE_S}
    server["allow_preemption"] = arguments.allow_preemption
    if embodiment.driver is not None:
        server["commands_per_observation"] = embodiment.driver.limits.commands_per_observation
    remappings = {
        "image": arguments.image_topic,
        "camera_info": arguments.camera_info_topic,
        "sensor_depth": arguments.depth_topic,
    }
    needs = embodiment.driver.needs() if embodiment.driver else DriverNeeds()
    base_frame = needs.frame_prefix + embodiment.base_frame
    # Where the robot's own bring-up has them. On a shared topic a driver may hear only the arm's part of the joints.
    robots_own = {"robot_description": needs.description_topic}
    if not needs.shared_topic:
        robots_own["joint_states"] = needs.joint_states_topic
    remappings |= {name: topic for name, topic in robots_own.items() if topic not in ("", name)}
    pacing = replay_pacing(arguments)
    sensor: dict[str, Any] = {"image_transport": arguments.image_transport}
    if replayed and pacing == "lockstep":
        sensor["sensor_reliability"] = "reliable"
    nodes = _perception_and_server(arguments, resolved, sensor, server, remappings)
    if arguments.camera_pose:
        pose = _camera_pose(arguments.camera_pose, embodiment.base_frame)
        nodes = [_with_camera_pose(node, pose, base_frame) for node in nodes]
    nodes += driver_nodes(arguments, robot, embodiment, run_directory)
    # A robot's graph survives the loss of a part: the driver holds the arm until the part is back.
    nodes = [replace(node, on_failure="restart") for node in nodes]
    if replayed:
        replay = {
            "source": arguments.replay,
            "pacing": pacing,
            "use_sim_time": False,
            "min_subscribers": image_subscribers(arguments.fused, resolved.inputs),
            "awaited_subscribers": _recorders(arguments.record, video=True),
            **replayed.given,
        }
        recorder = {
            "output": str(run_directory),
            **_run_facts(arguments, resolved),
            "pacing": pacing,
            "show_depth": resolved.inputs.depth != NO_DEPTH,
            # A real arm is seen in the room; of a stand-in there is nothing else to see.
            "show_arm": robot if arguments.use_fake_hardware else "",
            # The recorder's smallest and largest rate.
            "fps": min(max(replayed.frame_rate, 1.0), 120.0),
        }
        nodes.append(NodeSpec("replay", {"replay": replay}, remappings, ends_graph=True, part="sim"))
        nodes.append(NodeSpec("episode_recorder", {"episode_recorder": recorder}, remappings, part="sim"))
    # Neither the recorder nor rviz is worth stopping a robot for. A replay waits for its recorder.
    for extra in _optional(arguments, resolved, run_directory, base_frame, remappings, arguments.instruction):
        awaited = arguments.replay and extra.executable == "bag_recorder"
        nodes.append(replace(extra, on_failure="stop" if awaited else "ignore"))
    # A recording carries its own time, which the replay publishes as the clock.
    return finish(nodes, arguments, run_directory, replayed=bool(arguments.replay), notes=resolved.notes)


def _recorders(record: bool, video: bool) -> list[str]:
    """The subscriptions that a simulation or a replay waits for before it begins, so that no frame is missed."""
    of_bag = [f"bag_recorder {topic}" for topic in ("image", "camera_info", "sensor_depth") if record]
    of_video = [f"episode_recorder {topic}" for topic in ("image", "overlay", "traced_depth") if video]
    return [*of_bag, *of_video] or [""]


def _resolve(arguments: PerceptionArguments, embodiment: Embodiment) -> Resolved:
    """The policy's inputs, and the execution of its chunks.

    :raises InputError: for arguments that the policy refuses, or a checkpoint's record that cannot be used.
    """
    texts = {name: getattr(arguments, name) for name in ("checkpoint", "device", "dtype", "unnorm_key")}
    given = given_inputs(arguments)
    parameters = given_parameters("policy_parameters", arguments.policy_parameters, **texts)
    parameters |= {name: given[name] for name in given.keys() & {"resize"}}
    if checkpoint := checkpoint_of(arguments.policy, arguments.checkpoint):
        check_loads(checkpoint, arguments.unnorm_key, embodiment.unnorm_key)
    check_policy(arguments.policy, parameters)
    if arguments.explain:
        check_answers("explain", arguments.policy, arguments.checkpoint)
    resolved = resolve(checkpoint, given, arguments.execution)
    resolved.inputs.check_backends()
    return resolved


def _server(arguments: PerceptionArguments, resolved: Resolved, robot: str, embodiment: Embodiment) -> dict[str, Any]:
    """The action server's parameters.

    :param robot: name of the embodiment, or its file.
    """
    return {
        "policy": arguments.policy,
        "checkpoint": _checkpoint(arguments),
        **{name: getattr(arguments, name) for name in ("device", "dtype", "unnorm_key", "policy_parameters")},
        "fallback_unnorm_key": embodiment.unnorm_key,
        "traces": resolved.inputs.traces,
        "resize": resolved.inputs.resize,
        "execution": resolved.execution,
        "ensembled_chunks": arguments.ensembled_chunks,
        "explain": arguments.explain,
        # The expert knows when to grasp; a network is unsteady.
        "sticky_gripper": 0 if arguments.policy == "expert" else embodiment.sticky_gripper_steps,
        "robot": robot,
        "base_frame": embodiment.base_frame,
        "control_hz": embodiment.control_hz,
    }


def _checkpoint(arguments: PerceptionArguments) -> str:
    folder = Path(arguments.checkpoint).expanduser()
    return str(folder.resolve()) if arguments.checkpoint and folder.is_dir() else arguments.checkpoint


def _run_facts(arguments: PerceptionArguments, resolved: Resolved) -> dict[str, Any]:
    """The run's facts for the summary."""
    facts = {name: getattr(arguments, name) for name in ("policy", "checkpoint", "fused")}
    return {**facts, "traces": resolved.inputs.traces, "execution": resolved.execution}


def _perception_and_server(
    arguments: PerceptionArguments,
    resolved: Resolved,
    sensor: Parameters,
    server: Parameters,
    remappings: Mapping[str, str],
) -> list[NodeSpec]:
    inputs = resolved.inputs
    selection = inputs.perception().tracking.selection
    tracking = {
        "max_traces": selection.max_traces,
        "min_difference": selection.min_difference,
        "tracker": inputs.tracker,
        "tracker_parameters": one_line_yaml(inputs.tracker_parameters),
        "buffer": inputs.buffer,
        "adaptive": inputs.adaptive,
    }
    depth = {"depth": inputs.depth, "depth_parameters": one_line_yaml(inputs.depth_parameters)}
    drawing = inputs.perception().compositor
    compositor = {"variant": inputs.variant}
    if inputs.traces == "depth":
        compositor |= {name: getattr(drawing, name) for name in inputs.drawing}
    if arguments.fused:
        perception = {**tracking, **depth, **compositor, **sensor}
        both = {"perception": perception, "vla_server": {**server, **sensor}}
        return [NodeSpec("fused", both, remappings, part="server")]
    stages: dict[str, Parameters] = {"tracker": tracking, "depth": depth, "compositor": compositor}
    return [
        *(NodeSpec(name, {name: {**own, **sensor}}, remappings, part="perception") for name, own in stages.items()),
        NodeSpec("vla_server", {"vla_server": {**server, **sensor}}, remappings, part="server"),
    ]


def _camera_pose(given: str, base_frame: str) -> str:
    """The pose as nodes take it.

    :param given: six numbers, or a YAML file with them under ``camera_pose``, and maybe their ``frame``.
    :param base_frame: the robot's.
    :raises InputError: for anything else, and for a pose in another frame: a camera on the hand does not stand still.
    """
    if given.endswith((".yaml", ".yml")):
        content = read_mapping(Path(given).expanduser(), "camera_pose")
        numbers = content.get("camera_pose")
        if (frame := content.get("frame", base_frame)) != base_frame:
            raise InputError(f"camera_pose {given}: expected a pose in {base_frame}, it is one in {frame}")
        if not isinstance(numbers, list):
            raise InputError(f"camera_pose {given}: expected camera_pose: [x, y, z, roll, pitch, yaw], got {numbers!r}")
        given = " ".join(map(str, numbers))
    parse_pose("camera_pose", given)
    return given


def _with_camera_pose(node: NodeSpec, pose: str, base_frame: str) -> NodeSpec:
    """The node with the camera's pose among its parameters, if it may need it; one node of a graph publishes it."""
    needing = {"tracker": {"camera_pose": pose}}
    needing |= {name: {"camera_pose": pose, "camera_parent": base_frame} for name in ("compositor", "perception")}
    told = {name: {**values, **needing.get(name, {})} for name, values in node.parameters.items()}
    return replace(node, parameters=told)


def _optional(
    arguments: PerceptionArguments,
    resolved: Resolved,
    run_directory: Path,
    base_frame: str,
    remappings: Mapping[str, str],
    instruction: str = "",
) -> list[NodeSpec]:
    nodes = []
    if arguments.record:
        # The sensor's depth in metres only repeats its own topic.
        exclude = ["depth" if resolved.inputs.depth == "sensor" else ""]
        recorder = {"output": str(run_directory / "bag"), "exclude_topics": exclude}
        if instruction:
            recorder["instruction"] = instruction
        # Remapped as the others, it writes down which topics the graph's are.
        # It belongs to what is recorded: of the parts of a graph that are started one by one, one has it.
        live = isinstance(arguments, RobotArguments) and not arguments.replay
        part: Literal["sim", "driver"] = "driver" if live else "sim"
        nodes.append(NodeSpec("bag_recorder", {"bag_recorder": recorder}, remappings, part=part))
    if arguments.rviz:
        command = ("rviz2", "rviz2", "-d", str(rviz_config(arguments, run_directory)), "-f", base_frame)
        # rviz2's node is called rviz. It looks at the camera's own topics, in the recording's time.
        nodes.append(NodeSpec("rviz2", {"rviz": {}}, remappings, command=command))
    return nodes
