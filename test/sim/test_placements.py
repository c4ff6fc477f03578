"""Random placements, and how far they stay from the official ones."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.sim.environment import HALVES
from stvla_ros.sim.regions import CLEARANCE_M, CLEARANCE_RAD, REGIONS, Placement, draw_placement, is_near
from stvla_ros.sim.tasks import make_environment


def placement(x: float, y: float, yaw: float, goal: tuple[float, float] = (0.5, 0.5)) -> Placement:
    quaternion = Rotation.from_euler("z", yaw).as_quat(scalar_first=True)
    return Placement(np.array([[x, y, 0.88], [*goal, 0.88]]), np.array([quaternion, [1.0, 0.0, 0.0, 0.0]]))


def grid(name: str) -> list[Placement]:
    """Official placements all over the region: what is drawn falls between them."""
    region = REGIONS[name]
    xs, ys = np.linspace(*region.x, 6), np.linspace(*region.y, 6)
    return [placement(x, y, 0.0, (xs[0], ys[-1])) for x in xs for y in ys]


@examples(quick=100)
@given(st.sampled_from(sorted(REGIONS)), st.integers(0, 2**32 - 1))
def test_a_drawn_placement_is_in_the_region_and_near_no_official_one(name: str, seed: int) -> None:
    region, official = REGIONS[name], grid(name)
    drawn = draw_placement(region, official, np.random.default_rng(seed))
    x, y, _ = drawn.positions[0]
    assert region.x[0] <= x <= region.x[1] and region.y[0] <= y <= region.y[1]
    assert np.linalg.norm(drawn.positions[0, :2] - drawn.positions[1, :2]) >= region.apart
    turn = Rotation.from_quat(drawn.quaternions[0], scalar_first=True)
    for other in official:
        away = np.linalg.norm(drawn.positions[0] - other.positions[0])
        angle = (turn * Rotation.from_quat(other.quaternions[0], scalar_first=True).inv()).magnitude()
        assert away >= CLEARANCE_M or angle >= CLEARANCE_RAD


@examples(quick=100)
@given(st.sampled_from(sorted(REGIONS)), st.sampled_from(HALVES), st.integers(0, 2**32 - 1))
def test_what_is_drawn_in_a_half_of_the_table_stands_there(name: str, half: str, seed: int) -> None:
    region = REGIONS[name]
    drawn = draw_placement(region.half(half), grid(name), np.random.default_rng(seed))
    placed = drawn.positions[: 2 if region.goal else 1, 1]
    assert {region.half_of(y) for y in placed} == {half}
    assert all(region.y[0] <= y <= region.y[1] for y in placed)


@pytest.mark.parametrize(
    ("shift", "yaw_deg", "near"), [(0.004, 4, True), (0.006, 0, False), (0.0, 6, False), (0.0, 0, True)]
)
def test_near_means_within_5_mm_and_5_degrees(shift: float, yaw_deg: float, near: bool) -> None:
    assert is_near(placement(shift, 0.0, np.deg2rad(yaw_deg)), placement(0.0, 0.0, 0.0)) is near


def test_a_cube_is_near_after_a_quarter_of_a_turn() -> None:
    assert is_near(placement(0.0, 0.0, np.deg2rad(92)), placement(0.0, 0.0, 0.0), symmetry=4)
    assert not is_near(placement(0.0, 0.0, np.deg2rad(92)), placement(0.0, 0.0, 0.0))


def test_the_place_of_the_goal_does_not_excuse_an_official_place_of_the_object() -> None:
    assert is_near(placement(0.0, 0.0, 0.0, goal=(0.1, 0.1)), placement(0.0, 0.0, 0.0, goal=(-0.1, 0.1)))


@pytest.fixture(scope="module")
def stack_cube(scenes):
    made = make_environment("stack_cube_reversed", image_size=(64, 48))
    yield made
    made.close()


def test_the_same_seed_gives_the_same_scene_and_leaves_the_official_ones_alone(stack_cube) -> None:
    official = stack_cube.reset(5).rgb
    first = stack_cube.reset_random(3).rgb
    assert (stack_cube.reset_random(4).rgb != first).any()
    assert (stack_cube.reset_random(3).rgb == first).all()
    assert (stack_cube.reset(5).rgb == official).all()


def test_the_halves_of_the_table_are_those_that_the_camera_sees(stack_cube) -> None:
    columns: dict[str, list[float]] = {}
    for half in HALVES:
        for seed in (1, 2):
            seen = stack_cube.reset_random(seed, half)
            assert stack_cube.half() == half
            for place in stack_cube.scene_points()[:2]:
                u, _, depth = seen.intrinsics @ place
                columns.setdefault(half, []).append(u / depth)
    # The halves meet in a line through the scene, which is a column of the picture up to perspective.
    assert np.mean(columns["left"]) + 4 < np.mean(columns["right"]), columns
    assert max(columns["left"]) < max(columns["right"]) and min(columns["left"]) < min(columns["right"]), columns


def test_the_halves_share_the_official_episodes(stack_cube) -> None:
    halves = []
    for episode in range(4):
        stack_cube.reset(episode)
        halves.append(stack_cube.half())
    assert set(halves) == set(HALVES)


def test_scene_points_project_onto_what_they_name(stack_cube) -> None:
    """In the reversed task the yellow cube is moved onto the green one."""
    seen = stack_cube.reset_random(1)
    assert stack_cube.instruction == "stack the yellow block on the green block"
    points = stack_cube.scene_points()
    pixels = points @ seen.intrinsics.T
    for name, (u, v, _) in zip(("yellow", "green"), pixels / pixels[:, 2:], strict=False):
        red, green, blue = seen.rgb[round(v), round(u)].astype(int)
        assert red > blue + 40 if name == "yellow" else green > red, (name, red, green, blue)
    gripper = seen.base_from_gripper[:3, 3]
    in_camera = (gripper - seen.base_from_camera[:3, 3]) @ seen.base_from_camera[:3, :3]
    np.testing.assert_allclose(points[2], in_camera, atol=1e-6)


def test_the_reversed_task_wants_the_other_cube_on_top(stack_cube) -> None:
    stack_cube.reset(0)
    for _ in range(60):
        result = stack_cube.step(stack_cube.expert_action())
        if result.success:
            break
    assert result.success
    assert stack_cube.goal_conditions() == {"grasped": True, "placed": True}
    moved, goal, _ = stack_cube.scene_points() - stack_cube.scene_points()[1]
    assert np.linalg.norm(moved - goal) < 0.04
