"""The scenes of ``memory_tasks.py`` in ManiSkill, on the Panda's table. Importing this registers them."""

from abc import abstractmethod
from typing import Any

import numpy as np
import sapien
import torch
from mani_skill.envs.tasks.tabletop.pick_cube import PickCubeEnv
from mani_skill.utils.building import actors
from mani_skill.utils.registration import register_env
from mani_skill.utils.scene_builder.table import TableSceneBuilder
from mani_skill.utils.structs.pose import Pose

from stvla_ros.sim.memory_tasks import CUBE_HALF_M, DISC_RADIUS_M, Course, ReturnCourse, TapCourse
from stvla_ros.sim.memoryless import START_BOX

# Places on the table, metres in the scene's frame; the robot stands at x = -0.615 and looks along x.
_BOX_MIDDLE = np.array([0.02, 0.0])  # far enough ahead that the hand hides no possible place of the cube at the start
_DISC = (-0.05, 0.21)  # beside the box: the cube never starts there
_DISC_HALF_M = 0.0005
# The two cubes stand in boxes to the left and right of the home point.
_CUBES_X = (-0.10, 0.04)
_CUBES_Y = (0.08, 0.14)
_TOUCH_N = 0.1
_RED, _GREEN = [1, 0, 0, 1], [0, 1, 0, 1]


class MemoryEnv(PickCubeEnv):
    """A course on the Panda's table. ``course`` belongs to the running episode."""

    SUPPORTED_REWARD_MODES = ("none",)
    course: Course

    def _load_scene(self, options: Any) -> None:
        self.table_scene = TableSceneBuilder(self, robot_init_qpos_noise=self.robot_init_qpos_noise)
        self.table_scene.build()

    def _after_control_step(self) -> None:
        if self._step_course(self._base(self.agent.tcp_pose.p[0])):
            self._forget()

    @abstractmethod
    def _step_course(self, tool: np.ndarray) -> bool:
        """Update the course after a control step. :returns: whether the world forgets now."""

    def _forget(self) -> None:
        """Put the arm back to its state at the episode's start."""
        self.agent.reset(self._start_qpos)
        self.agent.controller.reset()

    def _home_pose(self) -> np.ndarray:
        """Store the arm's present state. :returns: (4, 4) the tool point's pose in the base frame."""
        self._start_qpos = self.agent.robot.get_qpos().clone()
        home: np.ndarray = (self.agent.robot.pose.inv() * self.agent.tcp_pose).to_transformation_matrix()[0].numpy()
        return home.astype(np.float64)

    def _base(self, position: Any) -> np.ndarray:
        """A position in the scene's frame, transformed to the base frame, (3,)."""
        here: np.ndarray = (self.agent.robot.pose.inv() * Pose.create_from_pq(position)).p[0].numpy()
        return here.astype(np.float64)

    def _new_cube(self, name: str, body_type: str) -> Any:
        place = sapien.Pose([0.0, 0.0, CUBE_HALF_M])
        return actors.build_cube(self.scene, CUBE_HALF_M, _RED, name, body_type, initial_pose=place)

    def _put_cube(self, cube: Any, xy: np.ndarray, yaw: float) -> None:
        quaternion = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        cube.set_pose(sapien.Pose([*xy, CUBE_HALF_M], quaternion))

    def _get_obs_extra(self, info: Any) -> dict[str, Any]:
        return {}

    def evaluate(self) -> dict[str, Any]:
        return {"success": torch.tensor([self.course.solved]), "is_grasped": self.agent.is_grasping(self.cube)}


@register_env("StvlaReturnCube-v1")
class ReturnCubeEnv(MemoryEnv):
    """A red cube in a box of START_BOX, and a green disc beside it."""

    course: ReturnCourse

    def _load_scene(self, options: Any) -> None:
        super()._load_scene(options)
        self.cube = self._new_cube("cube", "dynamic")
        flat = sapien.Pose([*_DISC, _DISC_HALF_M], [np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0])
        self.goal_site = actors.build_cylinder(
            self.scene, DISC_RADIUS_M, _DISC_HALF_M, _GREEN, "disc", "kinematic", add_collision=False, initial_pose=flat
        )

    def _initialize_episode(self, env_idx: Any, options: Any) -> None:
        self.table_scene.initialize(env_idx)
        random = self._episode_rng
        self._put_cube(self.cube, _BOX_MIDDLE + random.uniform(-0.5, 0.5, 2) * START_BOX, random.uniform(-np.pi, np.pi))
        self.course = ReturnCourse(self._home_pose(), self._base([*_DISC, 0.0]), self._base(self.cube.pose.p[0]))

    def _step_course(self, tool: np.ndarray) -> bool:
        released = not self.agent.is_grasping(self.cube, min_force=0.1).item()
        return self.course.step(self._base(self.cube.pose.p[0]), released, tool)

    def _forget(self) -> None:
        super()._forget()
        self._put_cube(self.cube, np.array(_DISC), 0.0)
        self.cube.set_linear_velocity(torch.zeros(3))
        self.cube.set_angular_velocity(torch.zeros(3))


@register_env("StvlaTapBoth-v1")
class TapBothEnv(MemoryEnv):
    """Two red cubes that cannot be moved, one to the left (greater y) and one to the right of the home point."""

    course: TapCourse

    def _load_scene(self, options: Any) -> None:
        super()._load_scene(options)
        self.cubes = [self._new_cube(name, "kinematic") for name in ("left_cube", "right_cube")]
        self.cube, self.goal_site = self.cubes

    def _initialize_episode(self, env_idx: Any, options: Any) -> None:
        self.table_scene.initialize(env_idx)
        closed = self.agent.robot.get_qpos().clone()
        closed[:, -2:] = 0.0
        self.agent.reset(closed)
        random = self._episode_rng
        for side, cube in zip((1.0, -1.0), self.cubes, strict=True):
            xy = np.array([random.uniform(*_CUBES_X), side * random.uniform(*_CUBES_Y)])
            self._put_cube(cube, xy, random.uniform(-np.pi, np.pi))
        self.course = TapCourse(self._home_pose(), [self._base(cube.pose.p[0]) for cube in self.cubes])

    def _step_course(self, tool: np.ndarray) -> bool:
        links = self.agent.robot.links_map
        hand = [links[name] for name in ("panda_hand", "panda_leftfinger", "panda_rightfinger")]
        forces = [
            sum(float(torch.linalg.norm(self.scene.get_pairwise_contact_forces(link, cube))) for link in hand)
            for cube in self.cubes
        ]
        return self.course.step([force > _TOUCH_N for force in forces], tool)
