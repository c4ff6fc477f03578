"""Common names of the bodies that cameras see. The eggplant's basket is part of the photograph, and has no body."""

from collections.abc import Mapping

THINGS: Mapping[str, str] = {
    "baked_green_cube_3cm": "green block",
    "baked_yellow_cube_3cm": "yellow block",
    "bridge_carrot_generated_modified": "carrot",
    "bridge_plate_objaverse_larger": "plate",
    "bridge_spoon_generated_modified": "spoon",
    "table_cloth_generated_shorter": "towel",
    "eggplant": "eggplant",
    "cube": "red cube",
    "goal_site": "green ball",
    "disc": "green disc",
}
GRIPPER = "gripper"
