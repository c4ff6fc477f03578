"""`stvla eval` in scenes that the policy never saw: `python -m bench.robustness` with its arguments.

The same episodes are run with each change of ``CHANGES`` and without any, and compared episode by episode.

camera   moved by 2 cm to the right and 2 cm up, and turned by 2 degrees about each of its axes. The WidowX's photograph
         is moved with it, as a picture of the plane that the table is.
light    three quarters of the red, two thirds of the green and half of the blue: dim and warm.
table    wood in place of the photograph's or the simulator's table; its brightness stays, with the shadows.
colour   the object to move, its hue turned by 60 degrees. (The green block is then a turquoise one, and still called
         green.)
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from bench.eval_command import run_command
from stvla_ros.errors import InputError
from stvla_ros.evaluation.evaluate import conclude, run_evaluation
from stvla_ros.evaluation.plan import EvalArguments, Evaluation
from stvla_ros.evaluation.tables import as_markdown, corrected, make_table, write_table
from stvla_ros.sim.environment import Environment, Observation
from stvla_ros.sim.maniskill.environment import ManiSkillEnvironment
from stvla_ros.sim.maniskill.preparation import ROBOTS
from stvla_ros.sim.tasks import make_environment

UNCHANGED = "unchanged"
CHANGES = (UNCHANGED, "camera", "light", "table", "colour")
_LIGHT = np.array([0.75, 0.67, 0.5])
_HUE_TURN_DEG = 60
_MOVED_M, _TURNED_DEG = 0.02, 2.0
_WOOD = np.array([150.0, 105.0, 65.0])


def make_changed(task: str, change: str, **options: Any) -> Environment:
    """Like ``make_environment``, with one of ``CHANGES`` in every picture.

    :raises InputError: for a task of another simulator than ManiSkill.
    """
    environment = make_environment(task, **options)
    if not isinstance(environment, ManiSkillEnvironment):
        environment.close()
        raise InputError(f"tasks: expected tasks of ManiSkill, whose scenes can be changed, got {task!r}")
    if change == "camera":
        _move_camera(environment)
    elif change != UNCHANGED:
        _change_pictures(environment, _PICTURES[change])
    return environment


def _change_pictures(environment: Any, changed: Callable[[np.ndarray, Any], np.ndarray]) -> None:
    observe = environment._observe

    def observed(raw: Any) -> Observation:
        observation = observe(raw)
        return replace(observation, rgb=changed(observation.rgb, environment)) if observation.rgb.size else observation

    environment._observe = observed


def in_another_light(rgb: np.ndarray, _: Any = None) -> np.ndarray:
    """(H, W, 3) uint8 in a dim, warm light."""
    return (rgb * _LIGHT).round().astype(np.uint8)


def on_wood(rgb: np.ndarray, environment: Any) -> np.ndarray:
    """(H, W, 3) uint8 with wood wherever neither the robot nor an object is seen."""
    return over_wood(rgb, _ground(environment))


def over_wood(rgb: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """:param ground: (H, W) bool, where the wood is."""
    height, width = ground.shape
    v, u = np.mgrid[:height, :width] / height
    # Rings of a trunk that lies askew, and fibres along it.
    rings = np.sin(40.0 * v + 6.0 * u + 2.0 * np.sin(7.0 * u + 2.0 * v))
    fibres = np.random.default_rng(3).normal(size=(height, 1)).repeat(width, 1)
    wood = _WOOD * (1.0 + 0.18 * rings + 0.05 * fibres)[..., None]
    brightness = rgb.mean(axis=2, keepdims=True)
    lit = wood * brightness / max(float(brightness[ground].mean() if ground.any() else 1.0), 1.0)
    return np.where(ground[..., None], lit.clip(0, 255), rgb).round().astype(np.uint8)


def of_another_colour(rgb: np.ndarray, environment: Any) -> np.ndarray:
    """(H, W, 3) uint8 with another hue of the object to move."""
    things = environment.seen_things()
    return turned_hue(rgb, things.masks[things.moved])


def turned_hue(rgb: np.ndarray, where: np.ndarray) -> np.ndarray:
    """:param where: (H, W) bool."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + _HUE_TURN_DEG // 2) % 180  # OpenCV counts in 2 degrees
    return np.where(where[..., None], cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), rgb)


_PICTURES: Mapping[str, Callable[[np.ndarray, Any], np.ndarray]] = {
    "light": in_another_light,
    "table": on_wood,
    "colour": of_another_colour,
}


def _ground(environment: Any) -> np.ndarray:
    """(H, W) bool: where no body of the task is seen."""
    bodies = set(environment._env.segmentation_id_map)
    kept = [number for number in bodies if environment.body_name(number) not in (None, "ground", "table-workspace")]
    return ~np.isin(environment.segmentation, kept)


def _move_camera(environment: Any) -> None:
    """The scene is built anew for every episode, from then on with the moved camera."""
    import sapien

    gym, name = environment._env, ROBOTS[environment._task.robot].camera
    before = environment.reset(0)
    config = gym._sensor_configs[name]
    old = config.pose.sp if hasattr(config.pose, "sp") else config.pose
    # SAPIEN's camera looks along x, with y to the left and z up.
    turn = Rotation.from_euler("xyz", [_TURNED_DEG] * 3, degrees=True).as_quat()
    new = old * sapien.Pose([0.0, -_MOVED_M, _MOVED_M], turn[[3, 0, 1, 2]])
    gym._custom_sensor_configs[name] = {**gym._custom_sensor_configs[name], "pose": new}
    after = environment.reset(0)
    photographs = getattr(gym, "_rgb_overlay_images", None)
    if photographs and before.rgb.size:
        import torch

        homography = plane_homography(before, after.base_from_camera, _table_height(environment, before))
        height, width = before.depth.shape
        photograph = photographs[name].cpu().numpy()
        moved = cv2.warpPerspective(photograph, homography, (width, height), borderMode=cv2.BORDER_REPLICATE)
        photographs[name] = torch.as_tensor(moved, device=photographs[name].device)


def plane_homography(before: Observation, base_from_camera: np.ndarray, height: float) -> np.ndarray:
    """(3, 3): pixels of the former camera to those of another one that looks at the same horizontal plane.

    :param height: height of the plane in the base frame, metres.
    """

    def plane_to_pixels(pose: np.ndarray) -> np.ndarray:
        camera = np.linalg.inv(pose)
        # A point (x, y, height, 1) of the plane.
        return before.intrinsics @ np.column_stack(
            [camera[:3, 0], camera[:3, 1], height * camera[:3, 2] + camera[:3, 3]]
        )

    return plane_to_pixels(base_from_camera) @ np.linalg.inv(plane_to_pixels(before.base_from_camera))


def _table_height(environment: Any, observation: Observation) -> float:
    v, u = np.nonzero(_ground(environment) & (observation.depth > 0))
    z = observation.depth[v, u] * 1e-3
    rays = np.linalg.inv(observation.intrinsics) @ np.stack([u, v, np.ones_like(u)])
    points = observation.base_from_camera[:3, :3] @ (rays * z) + observation.base_from_camera[:3, 3:]
    return float(np.median(points[2]))


def run(arguments: EvalArguments, evaluation: Evaluation) -> int:
    if len(evaluation.policies) != 1:
        raise InputError(f"policies: expected one, got {len(evaluation.policies)}")
    folder = Path(arguments.output).resolve()
    found, missing = [], []
    for change in CHANGES:
        part = replace(arguments, output=str(folder / change))
        results, failed = run_evaluation(evaluation, part, partial(make_changed, change=change))
        missing += failed
        found += [replace(each, key=replace(each.key, policy=change)) for each in results]
    table = corrected(make_table(found, CHANGES, evaluation.tasks))
    if table.rows:
        write_table(table, folder)
        print(as_markdown(table))
    return conclude(found, missing, folder)


if __name__ == "__main__":
    run_command("robustness", run)
