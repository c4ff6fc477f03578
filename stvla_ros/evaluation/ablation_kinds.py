"""The things that the paper's ablations vary, our versions of them, and the paper's own figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.errors import InputError
from stvla_ros.evaluation.grounding_arms import USUAL_ARMS, find_arm
from stvla_ros.evaluation.latent_arms import PROOFS
from stvla_ros.evaluation.presets import WIDOWX_TASKS
from stvla_ros.perception.compositor import VARIANTS
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.inputs import BESIDE, InputsConfig, differences, input_values, overridden
from stvla_ros.shared_files import config_directory
from stvla_ros.sim.memoryless import MEMORYLESS_BOUNDS

SCALE_NOTE = (
    "Ours are the figures of the small model that this repository trains on a CPU; the paper's (arXiv 2508.09032) are "
    "those of the 4B model. Compare within a column, never across."
)
ALL = "all"
ZERO_SHOT = "0"
_DRAWN, _EARLIER = "depth-", "earlier"


@dataclass(frozen=True)
class Ablation:
    """One thing that is varied.

    :param settings: default settings; the others are compared with the first.
    :param inputs: function from a setting to the fields of ``InputsConfig`` that it changes.
    :param training: function from a setting to further keys of the training configuration.
    :param trains: whether a setting means nothing without training.
    :param paper: the paper's figures in percent by setting, for the only one of ``paper_tasks`` or their mean.
    :param paper_note: explanation of these figures, or the paper's statement in words.
    :param scale_note: statement of whose figures they are.
    :param bounds: largest share of successes that a policy without memory can have, by task.
    :param usual: default values of the command's arguments for this ablation, by name.
    """

    title: str
    settings: tuple[str, ...]
    inputs: Callable[[str], Mapping[str, Any]] = lambda setting: {}
    training: Callable[[str], Mapping[str, Any]] = lambda setting: {}
    trains: bool = False
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_tasks: tuple[str, ...] = ()
    paper_note: str = ""
    scale_note: str = SCALE_NOTE
    bounds: Mapping[str, float] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=dict)


def _buffer(setting: str) -> dict[str, Any]:
    return {"buffer": _whole("buffer", setting, 2)}


def _adaptive(setting: str) -> dict[str, Any]:
    if setting not in ("on", "off"):
        raise InputError(f"settings: expected on or off for adaptive, got {setting!r}")
    return {"adaptive": setting == "on"}


def _depth(setting: str) -> dict[str, Any]:
    # Traces cannot be seen if the depth is the same everywhere.
    return {"depth": NO_DEPTH, "traces": "none"} if setting == NO_DEPTH else {"depth": setting}


def _data(setting: str) -> dict[str, Any]:
    return {"data.episodes": 0 if setting == ALL else _whole("data", setting, 1)}


def _traces(setting: str) -> dict[str, Any]:
    if setting in ("none", BESIDE):
        return {"traces": setting}
    if setting.removeprefix(_DRAWN) in VARIANTS and setting.startswith(_DRAWN):
        return {"traces": "depth", "variant": setting.removeprefix(_DRAWN)}
    if _earlier_s(setting):
        return {"traces": "none"}
    variants = ", ".join(_DRAWN + variant for variant in VARIANTS)
    raise InputError(
        f"settings: expected none, {variants}, {BESIDE}, {_EARLIER} or {_EARLIER}-SECONDS for traces, got {setting!r}"
    )


def _grounding(setting: str) -> dict[str, Any]:
    find_arm(setting)
    return {}  # what an arm changes depends on its configuration's stages (``ablation_grounding.py``)


def _with_earlier(setting: str) -> dict[str, Any]:
    return {"family.options.earlier_s": seconds} if (seconds := _earlier_s(setting)) else {}


def _earlier_s(setting: str) -> float:
    """Age of a setting's second picture in seconds; 0 for a setting without one."""
    name, _, seconds = setting.partition("-")
    if name != _EARLIER:
        return 0.0
    if setting == _EARLIER:
        return 1.0
    try:
        return float(seconds)
    except ValueError:
        return 0.0


ABLATIONS: Mapping[str, Ablation] = {
    "buffer": Ablation(
        "frames in the trace window",
        ("30", "15", "7"),
        _buffer,
        paper_note="The paper finds smaller buffers less stable; its figures by buffer are not available to us.",
    ),
    "variant": Ablation(
        "depth at which traces are drawn",
        ("C", "B", "A"),
        lambda setting: {"variant": setting},
        paper={"A": 9.1, "C": 36.4},
        paper_tasks=("spoon_on_towel",),
        paper_note='The paper has 9.1 % for A and 36.4 % for C on "put spoon" with 30 frames; its figure for B is not '
        "available to us, and variants B and C are our reading of it.",
    ),
    "data": Ablation(
        "training trajectories of each instruction",
        (ALL, "52", ZERO_SHOT),
        training=_data,
        trains=True,
        paper_note="The paper fine-tunes on 52 trajectories, and finds traces without fine-tuning (0-shot) as good as "
        "or better than a fine-tuned model without traces.",
    ),
    "adaptive": Ablation(
        "trace window stretched while motion is slow",
        ("on", "off"),
        _adaptive,
        paper_note="The paper names adaptive traces an open question; it has no figures.",
    ),
    "depth": Ablation(
        "source of depth",
        ("sensor", NO_DEPTH),
        _depth,
        paper_note="The paper uses ZoeDepth and does not vary it. constant: a plane, and no traces.",
    ),
    "tracker": Ablation(
        "point tracker",
        ("lucas_kanade", "cotracker", "tapnext"),
        lambda setting: {"tracker": setting},
        paper_note="The paper uses CoTracker and does not vary it.",
    ),
    "traces": Ablation(
        "what is told of the past",
        ("none", "depth-C", "depth-A", BESIDE, _EARLIER),
        _traces,
        _with_earlier,
        trains=True,
        paper_note="All are trained from the same network with the same demonstrations for as many steps: heads for "
        f"traces and for an earlier picture begin with zeros. {_EARLIER}: the picture and depth of 1 s ago beside the "
        "newest. A number behind a setting: the network without traces, trained on with the setting with so many "
        "trajectories of each instruction, as the paper does with 52. corrected: the setting's network, trained "
        "further with the expert's corrections of all settings' networks beside the demonstrations.",
        bounds=MEMORYLESS_BOUNDS,
        usual={
            "tasks": (*MEMORYLESS_BOUNDS, *WIDOWX_TASKS),
            "config": str(config_directory() / "train/comparison.yaml"),
            "demonstrations": 200,
            "tuned": 52,
            "training_seeds": (0, 1, 2),
            "seeds": (0, 1, 2),
        },
    ),
    "grounding": Ablation(
        "what grounding brings",
        USUAL_ARMS,
        training=_grounding,
        trains=True,
        # Table of arXiv 2602.10109: success on the WidowX tasks of SimplerEnv.
        paper={"full": 73.2, "vanilla": 54.7, "co-trained": 61.1, "guided": 67.4},
        paper_tasks=WIDOWX_TASKS,
        paper_note="The paper has 54.7 % for the plain model, 61.1 % with questions beside the demonstrations, 67.4 % "
        "with the spatial prompt, too (guided), and 73.2 % with stage 1 before; its figures for the other arms are for "
        "other tasks, or not there. Its vanilla model begins as a pretrained Qwen2.5-VL, ours from nothing: only what "
        "full is ahead of vanilla-longer and of shuffled says something about grounding.",
        scale_note=SCALE_NOTE.replace("2508.09032", "2602.10109"),
        usual={
            "tasks": WIDOWX_TASKS,
            "config": str(config_directory() / "train/st4vla_small.yaml"),
            "demonstrations": 50,
            "grounding": 4000,
            "demonstrated": ("all", "left"),
            "training_seeds": (0, 1),
            "seeds": (0, 1, 2),
        },
    ),
    "latent": Ablation(
        "what latent actions are, and bring",
        ("latent",),
        trains=True,
        usual={
            "proofs": PROOFS,
            "config": str(config_directory() / "train/lam.yaml"),
            "demonstrations": 200,
            "labelled": (10, 52),
            "asked": 40,
            "training_seeds": (0, 1, 2),
            "seeds": (0, 1, 2),
        },
    ),
}


@dataclass(frozen=True)
class Setting:
    """One setting of an ablation.

    :param policy: policy that is evaluated; its checkpoint is replaced when the setting is trained.
    :param overrides: changes of the training configuration, by dotted key.
    :param trained: whether a model is trained for it.
    """

    name: str
    policy: EvaluatedPolicy
    overrides: Mapping[str, Any]
    trained: bool


def make_settings(
    kind: str, policy: EvaluatedPolicy, names: Sequence[str] = (), retrain: bool = False
) -> list[Setting]:
    """The settings of an ablation.

    :param policy: policy before the variation; everything that the ablation does not change stays as it is here.
    :param names: names of the settings, in place of the default ones.
    :param retrain: whether a model is trained for every setting, also for settings that need no training.
    :raises InputError: for a setting that does not exist or cannot be used, and for two that this policy cannot tell
        apart (the depth of traces that are not drawn).
    """
    ablation = ABLATIONS[kind]
    names = tuple(names) or ablation.settings
    if len(set(names)) != len(names):
        raise InputError(f"settings: expected different ones, got {', '.join(names)}")
    settings = []
    for name in names:
        inputs = ablation.inputs(name)
        trained = (retrain or ablation.trains) and not (kind == "data" and name == ZERO_SHOT)
        training = ablation.training(name) if trained else {}
        overrides = {**{f"inputs.{key}": value for key, value in inputs.items()}, **training}
        shown = InputsConfig(**overridden(input_values(policy.inputs), inputs))
        settings.append(Setting(name, replace(policy, label=f"{kind}-{name}", inputs=shown), overrides, trained))
    untrained = [setting for setting in settings if not setting.trained]
    for one, other in combinations(untrained, 2):
        if not differences(other.policy.inputs, input_values(one.policy.inputs)):
            seen = other.policy.inputs.summary
            raise InputError(f"settings: the policy is shown the same with {one.name} and {other.name}: {seen}")
    return settings


def _whole(name: str, setting: str, least: int) -> int:
    if not setting.isdecimal() or int(setting) < least:
        raise InputError(f"settings: expected whole numbers from {least} for {name}, got {setting!r}")
    return int(setting)
