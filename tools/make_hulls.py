"""Makes an arm's hulls, which this package contains, from collision meshes, which it does not.

    python tools/make_hulls.py FROM.urdf TO.urdf FOLDER

FROM is the URDF with the meshes, TO the URDF that will name the hulls; both have the WidowX 250s' joints. FOLDER gets
an OBJ file for each link of FROM, in the frame of the body of TO that it moves with. The elements for TO are printed.

config/robots/wx250s/*.obj were made from data/robots/widowx/wx250s.urdf of haosulab/ManiSkill-WidowX250S v0.2.0, whose
meshes are those of Interbotix' interbotix_ros_manipulators (BSD-3-Clause).
"""

import sys
from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull

from stvla_ros.robots.urdf_arm import UrdfArm

HEADER = "# Made by tools/make_hulls.py: a hull of at most 32 corners around this link's collision mesh. Metres.\n"


def main(source: Path, target: Path, folder: Path) -> None:
    names, tool = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"), "ee_gripper_link"
    given, wanted = UrdfArm(source, names, tool), UrdfArm(target, names, tool)
    at_zero = np.zeros((1, len(names)))
    moves = np.linalg.inv(wanted.body_poses(at_zero)[0]) @ given.body_poses(at_zero)[0]
    folder.mkdir(parents=True, exist_ok=True)
    for hull in given.skeleton.hulls:
        move = moves[hull.body]
        corners = hull.corners @ move[:3, :3].T + move[:3, 3]
        (folder / f"{hull.name}.obj").write_text(HEADER + obj_of(corners))
        mesh = f'<mesh filename="{folder.name}/{hull.name}.obj"/>'
        print(f"body {hull.body}: <collision><geometry>{mesh}</geometry></collision>")


def obj_of(corners: np.ndarray) -> str:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in corners]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in ConvexHull(corners).simplices]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
