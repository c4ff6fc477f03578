"""ManiSkill 3: SimplerEnv's WidowX tasks and the Panda's tasks that need no download."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.gripper import opening_of
from stvla_ros.errors import InputError
from stvla_ros.sim import expert
from stvla_ros.sim.environment import Environment, EnvironmentInfo, Observation, SeenThings, StepResult
from stvla_ros.sim.maniskill.placements import Placements, make_placements
from stvla_ros.sim.maniskill.preparation import ROBOTS, gripper_action, make_gym, one_thread, quiet
from stvla_ros.sim.maniskill.things import GRIPPER, THINGS
from stvla_ros.sim.memory_tasks import Course
from stvla_ros.sim.task import Task

# Part of the seeds of demonstrations, so that none equals the seed of an official episode.
_RANDOM_PLACEMENT = 0x5EED


class ManiSkillEnvironment(Environment):
    """One of ManiSkill's environments on one CPU.

    RGB of the WidowX tasks is a real photograph with the simulated robot and objects in front of it, as the benchmark
    defines it. Depth shows the simulated scene everywhere: behind the robot and objects it is the depth of the
    simulated table or sink, not of the photograph's.

    :param image_size: (width, height) in pixels, None for 640 x 480. The picture is scaled, not cropped.
    :param render: whether pictures are rendered.
    :raises InputError: when the task's files are not available.
    """

    def __init__(self, task: Task, *, image_size: tuple[int, int] | None = None, render: bool = True) -> None:
        self._task = task
        self._robot = ROBOTS[task.robot]
        self._render = render
        width, height = image_size or self._robot.image_size
        self._env = make_gym(task, self._robot, width, height, render)
        self._placements: Placements | None = None
        self._conditions: Mapping[str, bool] = {}
        self.info = EnvironmentInfo(
            task=task.name,
            robot=task.robot,
            control_hz=task.control_hz,
            max_steps=task.max_steps,
            num_episodes=task.num_episodes,
            base_frame=self._env.agent.robot.root.name,
            camera_frame="camera_optical_frame",
            urdf=Path(self._env.agent.urdf_path),
            fixed_start=task.fixed_start,
        )

    def reset(self, episode_id: int, seed: int = 0) -> Observation:
        if not 0 <= episode_id < self._task.num_episodes:
            last = self._task.num_episodes - 1
            raise InputError(f"episode_id: expected 0 to {last} for {self._task.name}, got {episode_id}")
        # If episodes have no configurations of their own, the id is part of the seed.
        return self._start(episode_id, [seed, episode_id])

    def reset_random(self, seed: int, half: str = "") -> Observation:
        placements = self._random_placements
        for attempt in itertools.count():
            entropy = [_RANDOM_PLACEMENT, seed, attempt]
            with placements.drawn(np.random.default_rng(entropy), half):
                observation = self._start(0, entropy)
            if placements.is_usable():
                return observation
        raise AssertionError("unreachable")

    def half(self) -> str:
        return self._random_placements.half()

    @property
    def _random_placements(self) -> Placements:
        if self._placements is None:
            self._placements = make_placements(self._env, self._task, self.reset)
        return self._placements

    def _start(self, episode_id: int, entropy: list[int]) -> Observation:
        import torch

        episode_seed = int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
        # Without a rebuilt scene, the last episode's arm would stand among the new objects while they settle.
        options = {"episode_id": torch.tensor([episode_id]), "reconfigure": True}
        with quiet(), one_thread():
            observation, _ = self._env.reset(seed=[episode_seed], options=options)
            if self._task.robot == "panda":
                # ManiSkill hides the goal from cameras and gives it as a state; here the camera is the only source.
                for goal in self._env._hidden_objects:
                    goal.show_visual()
                self._env._hidden_objects.clear()
                observation = self._env.get_obs()
        # The Panda's controller would clip rotations to 0.1 rad and, because it scales by its lower limit, turn the
        # other way.
        self._arm_controller._normalize_action = False
        self._conditions = {}
        return self._observe(observation)

    def drive(self, joints: np.ndarray, gripper: float, seconds: float) -> None:
        import torch

        controllers = self._env.agent.controller.controllers
        opening = torch.tensor([[gripper_action(gripper, self._robot)]], dtype=torch.float32)
        with one_thread():
            controllers["arm"].set_drive_targets(torch.as_tensor(joints, dtype=torch.float32)[None])
            controllers["gripper"].set_action(opening)
            for _ in range(max(1, round(seconds * self._env.sim_freq))):
                self._env.scene.step()
            # The expert's answers are relative to the arm's target; here only the driver knows it.
            controllers["arm"]._target_pose = controllers["arm"].ee_pose_at_base

    def observe(self) -> StepResult:
        with one_thread():
            info = self._env.get_info()
            return self._result(self._env.get_obs(info), info)

    def arm_state(self) -> tuple[np.ndarray, float]:
        return self._arm_controller.qpos[0].cpu().numpy().astype(np.float64), self._opening()

    def step(self, action: EndEffectorAction) -> StepResult:
        # ManiSkill takes the rotation as intrinsic XYZ angles; frame and centre are those of EndEffectorAction.
        angles = Rotation.from_rotvec(action.rotation).as_euler("XYZ")
        values = np.concatenate([action.translation, angles, [gripper_action(action.gripper, self._robot)]])
        with one_thread():
            observation, _, _, _, info = self._env.step(values.astype(np.float32))
        return self._result(observation, info)

    def _result(self, observation: Any, info: Mapping[str, Any]) -> StepResult:
        success = bool(info["success"].item())
        grasped = bool(info["is_grasped" if self._task.robot == "panda" else "is_src_obj_grasped"].item())
        self._conditions = {"grasped": grasped, "placed": success} if self.course is None else self.course.conditions()
        return StepResult(self._observe(observation), success)

    @property
    def instruction(self) -> str:
        return self._task.instruction or self._env.get_language_instruction()[0]

    def goal_conditions(self) -> Mapping[str, bool]:
        return self._conditions

    def scene_points(self) -> np.ndarray:
        tool = self._links[self._robot.tool_link]
        if self.course is None:
            aims = tuple(self._base_from(body)[:3, 3] for body in (self._moved_object, self._goal_object))
        else:
            aims = self.course.points()
        points = [*aims, self._base_from(tool)[:3, 3]]
        camera = self._base_from_camera()
        return (np.array(points) - camera[:3, 3]) @ camera[:3, :3]

    def seen_things(self) -> SeenThings | None:
        if not self._render:
            return None
        numbers: dict[str, list[int]] = {GRIPPER: []}
        for number, body in self._env.segmentation_id_map.items():
            if name := GRIPPER if body.name in self._robot.hand else THINGS.get(body.name):
                numbers.setdefault(name, []).append(number)
        masks = {name: np.isin(self.segmentation, bodies) for name, bodies in numbers.items()}
        if self.course is not None:  # the object to move and its goal change during the episode
            return SeenThings(masks)
        moved, goal = (THINGS.get(body.name, "") for body in (self._moved_object, self._goal_object))
        return SeenThings(masks, moved, goal)

    def expert_action(self) -> EndEffectorAction:
        if self.course is not None:
            return self.course.expert_action(self.expert_state(), self._robot.axes)
        return expert.expert_action(
            self.expert_state(), expert.PLANS[self._task.name.removesuffix("_reversed")], self._robot.axes
        )

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    # --- privileged state ---

    @property
    def course(self) -> Course | None:
        """The progress so far, in the tasks that need a memory."""
        return getattr(self._env, "course", None)

    @property
    def base_from_target(self) -> np.ndarray:
        """(4, 4) pose of the tool point that the controller steers to."""
        return _matrix(self._arm_controller._target_pose)

    def expert_state(self) -> expert.ExpertState:
        """The true state, as the scripted expert's input."""
        moved, goal = self._moved_object, self._goal_object
        base_from_moved = self._base_from(moved)
        gripper = self._base_from(self._links[self._robot.tool_link])
        return expert.ExpertState(
            base_from_target=self.base_from_target,
            base_from_gripper=gripper,
            gripper=self._opening(),
            grasped=bool(self._env.agent.is_grasping(moved, min_force=0.1).item()),
            object_position=base_from_moved[:3, 3],
            object_axis=base_from_moved[:3, 0],  # every object's longest side lies along its x axis
            goal_position=self._base_from(goal)[:3, 3],
        )

    @property
    def _moved_object(self) -> Any:
        return self._env.cube if self._task.robot == "panda" else self._env.objs[self._env.source_obj_name]

    @property
    def _goal_object(self) -> Any:
        return self._env.goal_site if self._task.robot == "panda" else self._env.objs[self._env.target_obj_name]

    def base_from_body(self, body: int) -> np.ndarray:
        """(4, 4) pose of a body, by its number in ``segmentation``."""
        return self._base_from(self._env.segmentation_id_map[body])

    def body_name(self, body: int) -> str | None:
        """Name of the link or object with that number in ``segmentation``; None for the photograph or nothing."""
        if body not in self._env.segmentation_id_map:
            return None
        kept = getattr(self._env, "_segmentation_ids_to_keep", None)
        if kept is not None and body not in kept.tolist():
            return None
        return self._env.segmentation_id_map[body].name

    # --- observation ---

    @property
    def _arm_controller(self) -> Any:
        return self._env.agent.controller.controllers["arm"]

    @property
    def _links(self) -> Mapping[str, Any]:
        return self._env.agent.robot.links_map

    def _base_from(self, body: Any) -> np.ndarray:
        return np.linalg.inv(_matrix(self._env.agent.robot.root.pose)) @ _matrix(body.pose)

    def _base_from_camera(self) -> np.ndarray:
        world_from_camera = self._env.get_sensor_params()[self._robot.camera]["cam2world_gl"][0].cpu().numpy()
        world_from_camera = world_from_camera.astype(np.float64)
        world_from_camera[:3, 1:3] *= -1.0  # OpenGL looks along -z with y up
        return np.linalg.inv(_matrix(self._env.agent.robot.root.pose)) @ world_from_camera

    def _opening(self) -> float:
        joints = [joint.name for joint in self._env.agent.robot.get_active_joints()]
        position = float(self._env.agent.robot.get_qpos()[0, joints.index(self._robot.finger_joint)])
        return opening_of(position, self._robot.closed, self._robot.opened)

    def _observe(self, observation: Any) -> Observation:
        robot = self._env.agent.robot
        if self._render:
            images = observation["sensor_data"][self._robot.camera]
            rgb = images["rgb"][0].cpu().numpy()
            # Signed 16 bit: beyond 32.767 m the numbers wrap around; 0 means that no surface was hit.
            depth = np.maximum(images["depth"][0, ..., 0].cpu().numpy(), 0).astype(np.uint16)
            self.segmentation = images["segmentation"][0, ..., 0].cpu().numpy()
        else:
            rgb, depth = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint16)
        base_from_world = np.linalg.inv(_matrix(robot.root.pose))
        camera = self._env.get_sensor_params()[self._robot.camera]
        intrinsics = camera["intrinsic_cv"][0].cpu().numpy().astype(np.float64)
        intrinsics[:2, 2] -= 0.5  # SAPIEN has pixel centres at halves, this package at integers
        links = {name: base_from_world @ _matrix(link.pose) for name, link in self._links.items()}
        return Observation(
            rgb=rgb,
            depth=depth,
            intrinsics=intrinsics,
            base_from_camera=self._base_from_camera(),
            base_from_gripper=links[self._robot.tool_link],
            joint_names=tuple(joint.name for joint in robot.get_active_joints()),
            joint_positions=robot.get_qpos()[0].cpu().numpy().astype(np.float64),
            gripper=self._opening(),
            base_from_link=links,
        )


def _matrix(pose: Any) -> np.ndarray:
    """(4, 4) float64 of one of ManiSkill's batched poses (position, quaternion w x y z)."""
    raw = pose.raw_pose[0].cpu().numpy().astype(np.float64)
    matrix = np.eye(4)
    matrix[:3, 3] = raw[:3]
    matrix[:3, :3] = Rotation.from_quat(raw[[4, 5, 6, 3]]).as_matrix()
    return matrix
