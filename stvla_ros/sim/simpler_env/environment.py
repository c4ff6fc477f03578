"""The original SimplerEnv behind `Environment`. Runs in SimplerEnv's own interpreter.

docs/how-to/set-up-simpler-env.md says how to get it.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import mani_skill2_real2sim
import numpy as np
import simpler_env
from mani_skill2_real2sim.utils.registration import REGISTERED_ENVS

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.sim import expert
from stvla_ros.sim.environment import Environment, EnvironmentInfo, Observation, StepResult
from stvla_ros.sim.simpler_env import controller_commands, placements
from stvla_ros.sim.simpler_env.experts import EXPERTISE, expert_state, matrices
from stvla_ros.sim.simpler_env.scene import SceneOptions, configured_scene
from stvla_ros.sim.simpler_env.tasks import PREFIX, task_named

# Part of the seeds of demonstrations, so that none equals the seed of an official episode.
_RANDOM_PLACEMENT = 0x5EED
_CAMERAS = {"widowx": "3rd_view_camera", "google_robot": "overhead_camera"}


def create_environment(task: str, image_size: list[int] | None = None, render: bool = True) -> "SimplerEnvEnvironment":
    """Make a `SimplerEnvEnvironment` from JSON values; called in the worker process."""
    return SimplerEnvEnvironment(task, None if image_size is None else (image_size[0], image_size[1]), render)


class SimplerEnvEnvironment(Environment):
    """One of ``simpler_env.ENVIRONMENTS`` in its prepackaged visual-matching configuration.

    WidowX: the action is a delta from the controller's target pose. Google robot: upstream's controller starts every
    control step from the *measured* pose, so the action is a delta from that, as in the benchmark.

    :param task: name of the task in SimplerEnv.
    :param image_size: (width, height) in pixels; the benchmark's by default.
    :param render: whether pictures are rendered; without, ``rgb`` and ``depth`` are empty (0 x 0) and a step costs only
        the physics.
    :raises InputError: for an unknown task, or when its assets are missing.
    """

    def __init__(self, task: str, image_size: tuple[int, int] | None = None, render: bool = True) -> None:
        known = task_named(task)
        self._task = known.simulator_id
        self._camera = _CAMERAS[known.robot]
        self._render = render
        self._conditions: Mapping[str, bool] = {}
        scene_id, arguments = simpler_env.ENVIRONMENT_MAP[known.simulator_id]
        # The scene class rather than simpler_env.make, which overrides shader_dir and camera_cfgs.
        scene_class = configured_scene(REGISTERED_ENVS[scene_id].cls, SceneOptions(self._camera, image_size))
        try:
            self._scene = scene_class(obs_mode="image" if render else "none", prepackaged_config=True, **arguments)
        except FileNotFoundError as error:
            self._assets_missing(error)
        urdf = mani_skill2_real2sim.format_path(self._scene.agent.get_default_config().urdf_path)
        self.info = EnvironmentInfo(
            task=known.name,
            robot=known.robot,
            control_hz=float(self._scene.control_freq),
            max_steps=known.max_steps,
            num_episodes=known.num_episodes,
            base_frame=self._scene.agent.robot.get_links()[0].name,
            camera_frame=f"{self._camera}_optical_frame",
            urdf=Path(urdf),
        )

    def reset(self, episode_id: int, seed: int = 0) -> Observation:
        return self._start(placements.episode(self._task, episode_id), [seed, episode_id])

    def reset_random(self, seed: int, half: str = "") -> Observation:
        if half:
            self.half()
        for attempt in itertools.count():
            entropy = [_RANDOM_PLACEMENT, seed, attempt]
            episode = placements.random_episode(self._task, np.random.default_rng(entropy))
            observation = self._start(episode, entropy)
            if placements.has_settled(episode, self._scene.obj.pose.p, self._scene.obj.pose.q):
                return observation
        raise AssertionError("unreachable")

    def _start(self, episode: placements.Episode, entropy: list[int]) -> Observation:
        # This seed decides what the episode does not fix (the arm's recolouring, the object of pick_object).
        scene_seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        self._scene.episode = episode
        self._conditions = {}
        try:
            # A rebuilt scene has no history: nothing from an earlier episode can influence this one.
            observation, _ = self._scene.reset(seed=scene_seed, options={**episode.options, "reconfigure": True})
        except FileNotFoundError as error:
            self._assets_missing(error)
        return self._observation(observation)

    def step(self, action: EndEffectorAction) -> StepResult:
        command = self._command(action)
        # Upstream's dtype is float32; the arm's target is kept in that precision too.
        observation, _, success, _, info = self._scene.step(command.astype(np.float32))
        if "lifted_object" in info:
            self._conditions = {"grasped": bool(info["is_grasped"]), "lifted": bool(success)}
        return StepResult(self._observation(observation), bool(success))

    @property
    def instruction(self) -> str:
        return self._scene.get_language_instruction()

    def expert_action(self) -> EndEffectorAction | None:
        known = EXPERTISE.get(self._task)
        if known is None:
            return None
        return expert.expert_action(expert_state(self._scene, known, self._opening()), known.plan, known.axes)

    def goal_conditions(self) -> Mapping[str, bool]:
        return self._conditions

    def scene_points(self) -> np.ndarray | None:
        known = EXPERTISE.get(self._task)
        if known is None:
            return None
        state = expert_state(self._scene, known, self._opening())
        points = np.stack([state.object_position, state.goal_position, state.base_from_gripper[:3, 3]])
        return (points - self._base_from_camera[:3, 3]) @ self._base_from_camera[:3, :3]

    def close(self) -> None:
        self._scene.close()

    def _command(self, action: EndEffectorAction) -> np.ndarray:
        controllers = self._scene.agent.controller.controllers
        arm, gripper = controllers["arm"], controllers["gripper"]
        if self.info.robot == "widowx":
            measured = arm.compute_fk(arm.qpos)  # exactly the pose that the controller will turn about
            translation = controller_commands.ee_align2_translation(
                action.translation, action.rotation, arm._target_pose.p, measured.p
            )
            opening = controller_commands.widowx_gripper(action.gripper)
        else:
            # ee_align already turns about the tool point.
            translation = action.translation
            opening = controller_commands.google_gripper(
                action.gripper,
                float(np.mean(gripper._last_drive_qpos_targets)),
                float(np.mean(gripper._target_qpos)),
            )
        return np.concatenate([translation, action.rotation, [opening]])

    def _opening(self) -> float:
        return float(np.clip(1.0 - self._scene.agent.get_gripper_closedness(), 0.0, 1.0))

    def _observation(self, observation: dict[str, Any]) -> Observation:
        agent = self._scene.agent
        # A scene is rebuilt at every reset, and its links with it.
        links = agent.robot.get_links()
        poses = matrices([link.pose for link in links])
        base_from_world = np.linalg.inv(poses[0])
        base_from_link = dict(zip([link.name for link in links], base_from_world @ poses, strict=True))
        rgb, depth, camera = self._pictures(observation)
        self._base_from_camera = base_from_world @ np.linalg.inv(camera["extrinsic_cv"].astype(np.float64))
        return Observation(
            rgb=rgb,
            depth=depth,
            intrinsics=controller_commands.centred_intrinsics(camera["intrinsic_cv"]),
            base_from_camera=self._base_from_camera,
            base_from_gripper=base_from_link[self._scene.tcp.name],
            joint_names=tuple(joint.name for joint in agent.robot.get_active_joints()),
            joint_positions=agent.robot.get_qpos().astype(np.float64),
            gripper=self._opening(),
            base_from_link=base_from_link,
        )

    def _pictures(self, observation: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Picture (H, W, 3) uint8, depth (H, W) float32 metres, and the camera's matrices."""
        if not self._render:
            self._scene.update_render()  # moves the cameras along with the robot
            parameters = self._scene.get_camera_params()[self._camera]
            return np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.float32), parameters
        images = observation["image"][self._camera]
        # Exactly upstream's rgbd wrapper: truncated, not rounded.
        rgb = np.clip(images["Color"][..., :3] * 255, 0, 255).astype(np.uint8)
        # OpenGL camera coordinates look along -z; z is 0 where no surface was hit.
        depth = np.maximum(-images["Position"][..., 2], 0.0)
        return rgb, depth, observation["camera_param"][self._camera]

    def _assets_missing(self, error: FileNotFoundError) -> NoReturn:
        what = str(error).split(" is not found")[0]
        raise InputError(
            f"task {PREFIX}{self._task}: asset {what} is missing; MS2_REAL2SIM_ASSET_DIR must name "
            "SimplerEnv's data folder (docs/how-to/set-up-simpler-env.md)"
        ) from error
