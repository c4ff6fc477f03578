"""Common instructions of tabletop robots. The tokenizer of a new checkpoint is learnt from them."""

import itertools
from collections.abc import Iterator

# SimplerEnv's instructions for the WidowX and the Google robot, and the words that they consist of.
_WIDOWX = (
    "put the spoon on the towel",
    "put carrot on plate",
    "stack the green block on the yellow block",
    "put eggplant into yellow basket",
)
_GOOGLE_OBJECTS = (
    "coke can",
    "pepsi can",
    "redbull can",
    "7up can",
    "sprite can",
    "water bottle",
    "blue plastic bottle",
    "apple",
    "orange",
    "sponge",
)
_DRAWERS = ("drawer", "top drawer", "middle drawer", "bottom drawer")

# Other tables than SimplerEnv's: common subjects of demonstrations with tabletop robots.
_THINGS = (
    "block",
    "cube",
    "spoon",
    "carrot",
    "eggplant",
    "cup",
    "bowl",
    "fork",
    "knife",
    "banana",
    "pot",
    "lid",
    "toy",
)
_COLOURS = ("red", "green", "blue", "yellow")
_TAKE = ("pick up", "grasp", "lift", "take", "push")
_PUT = ("put", "place", "move")
_WHERE = (
    "on the plate",
    "on the towel",
    "on the table",
    "in the basket",
    "into the bowl",
    "in the sink",
    "to the left",
    "to the right",
    "near the cup",
    "to the target",
)
# Weight of a simulator's own instruction relative to a composed one.
_SIMULATED_WEIGHT = 20


def _simulated() -> Iterator[str]:
    yield from _WIDOWX
    yield "stack the yellow block on the green block"
    yield "move the red cube to the green ball"
    yield from (f"pick {thing}" for thing in _GOOGLE_OBJECTS)
    yield from (f"move {a} near {b}" for a, b in itertools.permutations(_GOOGLE_OBJECTS[:4] + _GOOGLE_OBJECTS[-3:], 2))
    for drawer in _DRAWERS:
        yield from (f"open {drawer}", f"close {drawer}")
        yield from (
            f"place {thing} into {state}{drawer}" for thing in ("apple", "coke can") for state in ("", "closed ")
        )


def _composed() -> Iterator[str]:
    things = [*_THINGS, *(f"{colour} {thing}" for colour in _COLOURS for thing in _THINGS[:2])]
    yield from (f"{verb} the {thing}" for verb in _TAKE for thing in things)
    yield from (f"{verb} the {thing} {place}" for verb in _PUT for thing in things for place in _WHERE)


def typical_instructions() -> list[str]:
    """The texts that a new tokenizer is learnt from; the simulators' own are repeated."""
    return [*_SIMULATED_WEIGHT * list(_simulated()), *_composed()]
