"""`stvla ablate`: varies one thing, keeps everything else the same, and makes a table and a plot."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablation_kinds import ABLATIONS, Ablation, Setting, make_settings
from stvla_ros.evaluation.ablation_networks import Trainings
from stvla_ros.evaluation.ablation_plan import AblationPlan
from stvla_ros.evaluation.evaluate import INTERRUPTED, conclude, run_evaluation, write_results
from stvla_ros.evaluation.plan import EvalArguments, evaluation_of, usual_inputs
from stvla_ros.settings import Range
from stvla_ros.shared_files import config_directory
from stvla_ros.sim.tasks import AUTO_TASK

if TYPE_CHECKING:
    from stvla_ros.evaluation.ablation_grounding import GroundingPlan
    from stvla_ros.evaluation.ablation_latent import LatentPlan

# With `--try` all steps run with almost nothing. Statistics need at least 100 frames.
_TRIED: Mapping[str, Any] = {"size": "tiny", "batch_size": 2, "data.validation_share": 0.0}
_TRIED_DEMONSTRATIONS, _TRIED_TRAJECTORIES, _TRIED_STEPS = 6, 5, 2
_TRIED_PLACEMENTS, _TRIED_QUESTIONS, _TRIED_ASKED = 4, 2, 3
_OF_FEW = ("corrections", "tuned")
_OF_GROUNDING = ("grounding", "demonstrated")
_OF_LATENT = ("proofs", "labelled", "asked")


@dataclass(frozen=True)
class AblateArguments:
    """Vary one thing and evaluate each setting: a table with intervals and a plot, in the form of the paper's
    ablations.

    After a stop or an interruption, the same command continues where it stopped.
    """

    kind: Positional[
        Literal["buffer", "variant", "data", "adaptive", "depth", "tracker", "traces", "grounding", "latent"]
    ]
    """The thing that is varied. data, traces, grounding and latent need training, the others only with `retrain`."""
    policy: str = "stvla"
    """The policy, as in `stvla eval`: a checkpoint folder, or more. For data, the checkpoint before training. For
    traces, grounding and latent, the parameters with which networks are run (execution=…)."""
    settings: tuple[str, ...] = ()
    """Settings in place of the usual ones: buffer 30 15 7, variant C B A, data all 52 0, adaptive on off, depth sensor
    constant, tracker lucas_kanade cotracker tapnext, traces none depth-C depth-A beside earlier, grounding full
    vanilla vanilla-longer co-trained no-prompt shuffled spatialvla. The others are compared with the first. For
    latent, arms of the proofs, such as rgbd-three-vq; docs/reference/ssm-vla.md lists them."""
    retrain: bool = False
    """Train a model for every setting; otherwise the same policy is evaluated with every setting."""
    config: str = ""
    """Training configuration (config/train/*.yaml), for data and `retrain`; traces has comparison.yaml, grounding
    st4vla_small.yaml, latent lam.yaml (of the latent action models)."""
    demonstrations: Annotated[int | None, Range(0, 1_000_000)] = None
    """Number of the expert's demonstrations of each task that are recorded first and trained on in place of the
    configuration's data; traces and latent 200, grounding 50, otherwise 0: none."""
    grounding: Annotated[int | None, Range(0, 1_000_000)] = None
    """For grounding: number of random placements of each task, on all of the table, that questions are asked about
    beside the demonstrations; 4000."""
    demonstrated: tuple[Literal["all", "left", "right"], ...] = ()
    """For grounding: halves of the table that the demonstrations come from, networks of their own for each; all
    left."""
    questions: Annotated[int, Range(1, 100_000)] = 96
    """For grounding: number of questions of each form, about official episodes, that the networks are asked before and
    after they learn to act."""
    spatialvla_config: str = str(config_directory() / "train/comparison.yaml")
    """For grounding: training configuration of the setting spatialvla, which trains for the same time."""
    proofs: tuple[Literal["actions", "depth", "farsighted", "pretraining", "picture"], ...] = ()
    """For latent: what is to be shown; all five. actions: latent actions tell how the arm moves; depth: depth helps
    under changing light; farsighted: three keyframes help; pretraining: pictures without actions help a policy with few
    labels; picture: what a policy expects means something."""
    labelled: Annotated[tuple[int, ...], Range(1, 1_000_000)] = ()
    """For latent: numbers of demonstrations of each instruction with labels, policies of their own for each; 10 52."""
    asked: Annotated[int | None, Range(0, 1_000_000)] = None
    """For latent: number of further demonstrations of each task that everything is asked on; 40."""
    quantiser: Literal["vq", "none"] = "vq"
    """For latent: codes of the latent action models that policies learn with."""
    policy_config: str = str(config_directory() / "train/ssm_vla.yaml")
    """For latent: training configuration of the policies."""
    policy_steps: Annotated[int, Range(0, 10**9)] = 0
    """For latent: optimiser steps of each training of a policy, in place of that configuration's; 0 for its own."""
    steps: Annotated[int, Range(0, 10**9)] = 0
    """Optimiser steps of each training, or of each of its stages, in place of the configuration's; 0 for the
    configuration's."""
    training_seeds: Annotated[tuple[int, ...], Range(0, 2**31 - 1)] = ()
    """Seeds of training, one network of each setting for each; traces and latent 0 1 2, grounding 0 1, otherwise the
    configuration's own."""
    corrections: Annotated[int, Range(0, 1_000_000)] = 0
    """Number of episodes of each network, on random placements of each task, that the expert corrects. Each network is
    then trained further with the corrections of all settings' networks beside its own data, and evaluated again; 0: no
    such training."""
    tuned: Annotated[int | None, Range(0, 1_000_000)] = None
    """Number of trajectories of each instruction with which the first setting's networks are also trained on with every
    setting, as in the paper's protocol; traces 52, otherwise 0: no such training."""
    tuning_config: str = str(config_directory() / "train/few_trajectories.yaml")
    """Training configuration for `tuned`."""
    tuning_steps: Annotated[int, Range(0, 10**9)] = 0
    """Optimiser steps of each training for `tuned`; 0 for the configuration's."""
    tasks: tuple[str, ...] = ()
    """Tasks, see `stvla tasks`; traces has the two that need a memory and the four WidowX tasks, grounding those
    four, otherwise stack_cube."""
    episodes: Annotated[int, Range(1, 1_000_000)] = 24
    """Official episodes of each task: ids 0 to N-1."""
    seeds: Annotated[tuple[int, ...], Range(0, 2**31 - 1)] = ()
    """Seeds, as in `stvla eval`; traces, grounding and latent 0 1 2, otherwise 0."""
    preset: str = ""
    """As in `stvla eval`."""
    until_limit: bool = False
    """As in `stvla eval`."""
    workers: Annotated[int, Range(1, 1000)] = 2
    """Number of episodes at a time, each in a process with one thread."""
    image_size: tuple[int, int] = (0, 0)
    """Width and height of the camera's picture in pixels; 0 0 for the task's own."""
    pictures: Literal["videos", "thumbnails", "none"] = "thumbnails"
    """Pictures and videos that are kept."""
    output: str = ""
    """Folder for the results, and for demonstrations and trainings; empty: out/ablation/KIND."""
    try_out: Annotated[bool, arg(name="try")] = False
    """Run all steps with almost nothing (a tiny network, two steps, one episode of two steps) to see that they work, in
    out/try/ablation/KIND."""


def plan_ablation(arguments: AblateArguments) -> AblationPlan:
    """Plan an ablation. Nothing is recorded, trained or written yet.

    :raises InputError: naming the bad argument.
    """
    ablation = ABLATIONS[arguments.kind]
    _refuse_others(arguments)
    arguments = _with_usual(arguments, ablation)
    policy = parse_policy(arguments.policy, usual_inputs(arguments.preset))
    names = () if arguments.kind == "latent" else arguments.settings  # its arms are the proofs'
    settings = make_settings(arguments.kind, policy, names, arguments.retrain)
    if any(setting.trained for setting in settings):
        wanted = {"config": arguments.config, **({"tuning_config": arguments.tuning_config} if arguments.tuned else {})}
        if arguments.kind == "grounding":
            wanted["spatialvla_config"] = arguments.spatialvla_config
        if arguments.kind == "latent":
            wanted["policy_config"] = arguments.policy_config
        for name, file in wanted.items():
            if not file:
                raise InputError(f"{name}: expected a training configuration for {arguments.kind}, got none")
            if not Path(file).is_file():
                raise InputError(f"{name}: expected a training configuration, there is no {file}")
    for name in ("demonstrations", "corrections", "tuned", "steps", "tuning_steps"):
        if (getattr(arguments, name) or 0) < 0:
            raise InputError(f"{name}: expected 0 or more, got {getattr(arguments, name)}")
    if arguments.kind == "grounding":
        plan: AblationPlan = _grounding_plan(arguments, ablation, settings)
    elif arguments.kind == "latent":
        plan = _latent_plan(arguments, ablation, settings)
    else:
        plan = AblationPlan(
            ablation,
            tuple(settings),
            _trainings(arguments, with_steps=True),
            _eval_arguments(arguments),
            arguments.demonstrations or 0,
            arguments.policy.partition("?")[2],
        )
    if acting := [network.policy for network in plan.networks if network.acts]:
        evaluation_of(acting, plan.eval_arguments)
    return plan


def main(arguments: AblateArguments) -> int:
    """:returns: the exit code: 0, 1 when episodes are missing, 130 after Ctrl-C.

    :raises InputError: for a bad argument; then nothing has run.
    """
    plan = plan_ablation(arguments)
    folder = plan.folder
    try:
        networks = plan.prepare()
        policies = {}
        for network in networks:
            if policy := plan.trained(plan.corrected(network)):
                policies[network.name] = policy
        plan.examine(networks)
        acting = [network for network in networks if network.name in policies]
        if not acting:
            print(plan.write([], [], []))
            print(f"results in {folder}", flush=True)
            return 0
        evaluation = evaluation_of([policies[network.name] for network in acting], plan.eval_arguments)
        results, failed = run_evaluation(evaluation, plan.eval_arguments)
    except KeyboardInterrupt:
        print("stopped; the same command continues where it stopped", file=sys.stderr)
        return INTERRUPTED
    if results:
        write_results(evaluation, results, folder)
        print(plan.write(acting, evaluation.tasks, results))
    return conclude(results, failed, folder)


def _trainings(arguments: AblateArguments, with_steps: bool) -> Trainings:
    small = {**_TRIED, "save_every": 1} if arguments.try_out else {}
    steps = {name: {"steps": n} if n and with_steps else {} for name, n in _steps(arguments).items()}
    return Trainings(
        Path(arguments.config),
        {**small, **steps["steps"]},
        arguments.training_seeds,
        arguments.tuned or 0,
        Path(arguments.tuning_config),
        {**small, **steps["tuning_steps"]},
        arguments.corrections,
    )


def _grounding_plan(arguments: AblateArguments, ablation: Ablation, settings: Sequence[Setting]) -> "GroundingPlan":
    # Training's modules load slowly, and no other ablation needs them before it starts.
    from stvla_ros.evaluation.ablation_grounding import GroundingPlan

    return GroundingPlan(
        ablation,
        tuple(settings),
        _trainings(arguments, with_steps=False),
        _eval_arguments(arguments),
        arguments.demonstrations or 0,
        grounding=arguments.grounding or 0,
        demonstrated=arguments.demonstrated,
        questions=arguments.questions,
        spatialvla_config=Path(arguments.spatialvla_config),
        steps=_steps(arguments)["steps"],
    )


def _latent_plan(arguments: AblateArguments, ablation: Ablation, settings: Sequence[Setting]) -> "LatentPlan":
    from stvla_ros.evaluation.ablation_latent import LatentPlan
    from stvla_ros.evaluation.latent_arms import choose_arms

    steps = _TRIED_STEPS if arguments.try_out else arguments.policy_steps
    small = {"family.options.policy_size": "tiny", **_TRIED, "save_every": 1} if arguments.try_out else {}
    small.pop("size", None)  # a latent action model has it
    trainings = _trainings(arguments, with_steps=True)
    return LatentPlan(
        ablation,
        tuple(settings),
        trainings,
        _eval_arguments(arguments),
        arguments.demonstrations or 0,
        proofs=arguments.proofs,
        chosen=choose_arms(arguments.proofs, arguments.settings),
        asked=arguments.asked or 0,
        labelled=arguments.labelled,
        policy_config=Path(arguments.policy_config),
        policy_overrides={**small, **({"steps": steps} if steps else {})},
        quantiser=arguments.quantiser,
    )


def _refuse_others(arguments: AblateArguments) -> None:
    """Refuse arguments that mean nothing for this ablation."""
    of_kind = {"grounding": (*_OF_FEW, *_OF_LATENT), "latent": (*_OF_FEW, *_OF_GROUNDING)}
    for name in of_kind.get(arguments.kind, (*_OF_GROUNDING, *_OF_LATENT)):
        if value := getattr(arguments, name):
            raise InputError(f"{name}: expected none for {arguments.kind}, got {value}")


def _with_usual(arguments: AblateArguments, ablation: Ablation) -> AblateArguments:
    """The given arguments, with the usual values of this ablation for the rest."""
    usual = {"tasks": (AUTO_TASK,), "seeds": (0,), **ablation.usual}
    empty: tuple[Any, ...] = (None, "", ())
    arguments = replace(arguments, **{n: value for n, value in usual.items() if getattr(arguments, n) in empty})
    if not arguments.try_out:
        return arguments
    seeds, tuned = arguments.training_seeds[:1], _TRIED_TRAJECTORIES if arguments.tuned else 0
    shown = _TRIED_DEMONSTRATIONS if arguments.demonstrations else 0
    few: dict[str, Any] = {"episodes": 1, "seeds": arguments.seeds[:1], "questions": _TRIED_QUESTIONS}
    few["corrections"] = min(arguments.corrections, 1)
    if arguments.grounding:
        few["grounding"] = _TRIED_PLACEMENTS
    if arguments.kind == "latent":
        few |= {"asked": _TRIED_ASKED, "labelled": (_TRIED_TRAJECTORIES,)}
    return replace(arguments, training_seeds=seeds, tuned=tuned, demonstrations=shown, **few)


def _steps(arguments: AblateArguments) -> dict[str, int]:
    given = {name: getattr(arguments, name) for name in ("steps", "tuning_steps")}
    return dict.fromkeys(given, _TRIED_STEPS) if arguments.try_out else given


def _eval_arguments(arguments: AblateArguments) -> EvalArguments:
    same = ("tasks", "episodes", "seeds", "preset", "until_limit", "workers", "image_size", "pictures")
    given = {name: getattr(arguments, name) for name in same}
    output = arguments.output or f"out/{'try/' if arguments.try_out else ''}ablation/{arguments.kind}"
    max_steps = _TRIED_STEPS if arguments.try_out else 0
    return EvalArguments(**given, output=str(Path(output).resolve()), max_steps=max_steps)
