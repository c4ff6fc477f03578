"""What `stvla sim` and `stvla robot` take, and with them the launch files: each field is an option."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PerceptionArguments:
    """What simulation and robot share."""

    policy: str = "stvla"
    """Policy that acts: stvla, expert (the simulator's scripted one) or random."""
    checkpoint: str = ""
    """stvla's checkpoint: a folder, an adapter's folder or a hub id; empty for the small one that comes along."""
    device: str = "auto"
    """Where the policy runs: auto, cpu, cuda or cuda:N."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the policy's weights."""
    unnorm_key: str = ""
    """Key of the checkpoint's action statistics; empty for the robot's own."""
    policy_parameters: str = "{}"
    """The policy's further parameters, as a YAML mapping."""
    traces: Literal["none", "depth", "rgb"] = "depth"
    """What the policy sees traces on: nothing (SpatialVLA), the depth (ST-VLA) or the picture (as TraceVLA)."""
    execution: Literal["auto", "receding", "chunk", "ensemble", "mean_ensemble", "adaptive_ensemble"] = "auto"
    """How the policy's chunks are executed: first action only, open loop, or averaged over the last 4 chunks (with the
    published weights, equal ones, by agreement); auto: what the checkpoint was trained for, else ensemble."""
    tracker: str = "lucas_kanade"
    """Tracker backend: lucas_kanade or cotracker."""
    tracker_parameters: str = "{}"
    """The tracker backend's own parameters, as a YAML mapping."""
    depth: str = "sensor"
    """Depth backend: sensor, constant (the same distance everywhere), zoedepth or depth_anything."""
    depth_parameters: str = "{}"
    """The depth backend's own parameters, as a YAML mapping."""
    variant: Literal["A", "B", "C"] = "C"
    """Depth at which traces are drawn: own (A), as it was (B), closest object (C)."""
    buffer: int = 30
    """Frames in the trace window."""
    adaptive: bool = True
    """Stretch the trace window while motion is slow."""
    fused: bool = False
    """Perception and policy in one process instead of separate nodes."""
    rviz: bool = False
    """Start rviz2 with config/stvla.rviz."""
    record: bool = False
    """Write an MCAP bag of the run."""
    params_file: str = ""
    """ROS 2 parameter file that overrides single parameters."""


@dataclass(frozen=True)
class SimArguments(PerceptionArguments):
    """Run the graph against a simulator: episodes of one task, a video and a summary."""

    task: str = "stack_cube"
    """Task, see `stvla tasks`."""
    episodes: int = 3
    """Episodes to run."""
    first_episode: int = 0
    """episode_id of the first one."""
    seed: int = 0
    """Seed of the simulator."""
    pacing: Literal["lockstep", "realtime"] = "lockstep"
    """Simulated time waits for each command, or runs on the clock."""
    joint_level: bool = False
    """Realtime, WidowX tasks: the robot's own driver moves the simulated joints, with its safety gate."""
    max_steps: int = 0
    """Time limit in control steps; 0 for the task's own."""
    video: bool = True
    """Write video.mp4."""
    output: str = "out/sim"
    """Folder for the runs; the newest is its `latest`."""


@dataclass(frozen=True)
class RobotArguments(PerceptionArguments):
    """Run the graph on a robot's camera, or on a recording in its place."""

    robot: str = "widowx"
    """Embodiment: widowx, google_robot, or a YAML file that describes one (config/robots)."""
    instruction: str = ""
    """What the robot shall do; empty: goals come from others, by the action execute_instruction."""
    use_fake_hardware: bool = False
    """A kinematic stand-in of the arm in place of the robot's own driver software."""
    dry_run: bool = False
    """Compute and show every motion, send none to the robot."""
    home_first: bool = False
    """Move to the home position as soon as the robot is up."""
    deadman: Literal["none", "joy", "service"] = "none"
    """What must be held while the arm may move: a joystick's button, or a service that is called again and again."""
    image_topic: str = "camera/color/image_raw"
    """Colour image of the camera driver."""
    camera_info_topic: str = "camera/color/camera_info"
    """Intrinsics of the colour image."""
    depth_topic: str = "camera/aligned_depth_to_color/image_raw"
    """Depth registered to the colour image (for depth:=sensor)."""
    replay: str = ""
    """Play this video, image folder or bag instead of a live camera; the run ends with it and leaves a video. A robot
    moves on it only as fake hardware."""
    replay_parameters: str = "{}"
    """Further parameters of the replay node, as a YAML mapping: image_topic, intrinsics, frame_rate, …"""
    output: str = "out/robot"
    """Folder for the runs; the newest is its `latest`."""
