"""ManiSkill 3 and its tasks, without importing it."""

from collections.abc import Mapping

from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.maniskill.assets import HOW_TO_GET, ROBOTS_WITH_ASSETS, find_assets
from stvla_ros.sim.simulators import Simulator
from stvla_ros.sim.task import Task

ZERO_DOWNLOAD_TASK = "panda_pick_cube"

# Rates, limits and episode counts are those of SimplerEnv's WidowX protocol (arXiv 2405.05941), as ManiSkill 3 has
# them. Of the eggplant's 64 configurations the protocol evaluates the first 24. The Panda task has no fixed
# configurations (an episode id is a seed) and no protocol at 5 Hz (ManiSkill runs it at 20 Hz): count, rate and limit
# follow the WidowX tasks. stack_cube_reversed is ours: the same 24 scenes as stack_cube, so that only the instruction
# tells what to do. It is no task of the benchmark. Neither are return_cube and tap_both (../memory_tasks.py).
MANISKILL_TASKS = {
    task.name: task
    for task in (
        Task(
            "stack_cube",
            "StackGreenCubeOnYellowCubeBakedTexInScene-v1",
            "widowx",
            5.0,
            60,
            24,
            instruction="stack the green block on the yellow block",
        ),
        Task(
            "stack_cube_reversed",
            "StackGreenCubeOnYellowCubeBakedTexInScene-v1",
            "widowx",
            5.0,
            60,
            24,
            instruction="stack the yellow block on the green block",
            reversed=True,
        ),
        Task("carrot_on_plate", "PutCarrotOnPlateInScene-v1", "widowx", 5.0, 60, 24, instruction="put carrot on plate"),
        Task(
            "spoon_on_towel",
            "PutSpoonOnTableClothInScene-v1",
            "widowx",
            5.0,
            60,
            24,
            instruction="put the spoon on the towel",
        ),
        Task(
            "eggplant_in_basket",
            "PutEggplantInBasketScene-v1",
            "widowx",
            5.0,
            120,
            64,
            instruction="put eggplant into yellow basket",
        ),
        Task(
            ZERO_DOWNLOAD_TASK,
            "PickCube-v1",
            "panda",
            5.0,
            60,
            24,
            instruction="move the red cube to the green ball",
        ),
        Task(
            "return_cube",
            "StvlaReturnCube-v1",
            "panda",
            5.0,
            120,
            24,
            instruction="bring the red cube to the green disc, go home, and bring it back to where it was",
            fixed_start=True,
        ),
        Task(
            "tap_both",
            "StvlaTapBoth-v1",
            "panda",
            5.0,
            80,
            24,
            instruction="tap each cube once, going home in between",
            fixed_start=True,
        ),
    )
}


class ManiSkill(Simulator):
    packages = ("mani_skill", "sapien", "gymnasium", "torch")

    def tasks(self) -> Mapping[str, Task]:
        return MANISKILL_TASKS

    def needs(self, task: Task) -> str:
        if task.robot not in ROBOTS_WITH_ASSETS:
            return "nothing"
        try:
            find_assets(download=False)
        except InputError:
            return f"the WidowX scenes, which are not here: {HOW_TO_GET}"
        return "the WidowX scenes, which are here"

    def require(self, task: Task) -> None:
        if task.robot in ROBOTS_WITH_ASSETS:
            find_assets()

    def make(self, task: Task, image_size: tuple[int, int] | None, render: bool) -> Environment:
        from stvla_ros.sim.maniskill.environment import ManiSkillEnvironment  # seconds to import

        return ManiSkillEnvironment(task, image_size=image_size, render=render)
