"""A drawn robot over a table, seen from straight above: a palm with two fingers, and a thing that they may hold.

All is flat: each part is a rectangle at its own depth. The palm is 4 x 4 cm at 0.5 m, each finger 1 x 1 cm below it.
"""

from dataclasses import dataclass

import numpy as np

from stvla_ros.perception.robot_view import RobotShape, RobotView

WIDTH, HEIGHT, FOCAL = 320, 240, 400.0
INTRINSICS = np.array([[FOCAL, 0, 159.5], [0, FOCAL, 119.5], [0, 0, 1]])
TABLE, PALM, FINGER, THING = 1.0, 0.5, 0.55, 0.6
OPEN, CLOSED = 0.03, 0.02


def _box(x: float, y: float, z: float) -> np.ndarray:
    """(6, 4) planes of a box with these halves of its sides, its near face at z = 0."""
    normals = np.concatenate([np.eye(3), -np.eye(3)])
    return np.column_stack([normals, -np.array([x, y, 2 * z, x, y, 0.0])])


SHAPE = RobotShape(
    planes=(
        ("palm", _box(0.02, 0.02, 0.01)),
        ("left", _box(0.005, 0.005, 0.02)),
        ("right", _box(0.005, 0.005, 0.02)),
    ),
    mark_links=("left", "right", "palm"),
    marks=np.array([[0.0, 0, 0], [0.0, 0, 0], [0.0, 0, FINGER - PALM]]),
    palm="palm",
    grasp=np.array([0.0, 0, THING - PALM]),
    widest=OPEN,
)


@dataclass
class Scene:
    """
    :param palm: (x, y) of the palm, metres.
    :param gap: of each finger from the palm's middle.
    :param thing: (x, y) of what may be held, metres; None for nothing.
    :param grey: grey level of the robot; the thing is of one colour as well.
    """

    palm: tuple[float, float] = (0.0, 0.0)
    gap: float = OPEN
    thing: tuple[float, float] | None = None
    grey: int = 60

    def view(self) -> RobotView:
        def at(x: float, y: float, z: float) -> np.ndarray:
            pose = np.eye(4)
            pose[:3, 3] = x, y, z
            return pose

        x, y = self.palm
        poses = {
            "palm": at(x, y, PALM),
            "left": at(x - self.gap, y, FINGER),
            "right": at(x + self.gap, y, FINGER),
        }
        return RobotView(SHAPE, poses, INTRINSICS)

    def frame(self, textured: bool = True) -> tuple[np.ndarray, np.ndarray, RobotView]:
        """(H, W, 3) uint8, (H, W) float32 metres, and the view."""
        ground = np.random.default_rng(3).integers(40, 200, (HEIGHT // 4, WIDTH // 4), np.uint8)
        picture = ground.repeat(4, 0).repeat(4, 1) if textured else np.full((HEIGHT, WIDTH), 20, np.uint8)
        depth = np.full((HEIGHT, WIDTH), TABLE, np.float32)
        if self.thing is not None:
            self._paint(picture, depth, self.thing, 0.02, 0.02, THING, 140)
        x, y = self.palm
        for sideways in (-self.gap, self.gap):
            self._paint(picture, depth, (x + sideways, y), 0.005, 0.005, FINGER, self.grey)
        self._paint(picture, depth, (x, y - 0.03), 0.02, 0.0, PALM, self.grey)
        return picture[..., None].repeat(3, 2), depth, self.view()

    @staticmethod
    def _paint(picture: np.ndarray, depth: np.ndarray, middle: tuple, x: float, y: float, z: float, grey: int) -> None:
        left, top = pixel((middle[0] - x, middle[1] - y), z)
        right, bottom = pixel((middle[0] + x, middle[1] + y), z)
        area = np.s_[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))]
        picture[area], depth[area] = grey, z


def pixel(place: tuple[float, float], z: float) -> tuple[float, float]:
    """Where a place (x, y) at a depth is in the picture."""
    return FOCAL * place[0] / z + 159.5, FOCAL * place[1] / z + 119.5
