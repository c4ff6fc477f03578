"""The networks of an ablation, their demonstrations and their training. Everything continues after an interruption.

A setting may have several networks, with training seeds of their own, and by three protocols. The network is trained as
the configuration says; or it is then trained further, also with the expert's corrections of what all settings' networks
do; or the first setting's network is trained further with few trajectories, as the paper does with traces.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.atomic_files import write_json
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablation_kinds import Setting
from stvla_ros.policy.training_record import resolve
from stvla_ros.safe_files import read_json_file

_FINISHED = "finished.json"
CORRECTED = "-corrected"


@dataclass(frozen=True)
class Trainings:
    """The training of an ablation's networks.

    :param config: file of the training configuration.
    :param overrides: values in place of the configuration's, by dotted name.
    :param seeds: seeds, one network for each; empty: one network, with the configuration's own seed.
    :param tuned: number of trajectories of each instruction with which the first setting's networks are trained further
        with every setting; 0: no such training.
    :param tuning_config: file of the configuration for this further training.
    :param tuning_overrides: values in place of that configuration's.
    :param corrections: number of episodes of each network in each task that the expert corrects. Each network is then
        trained further, as long again, with those of all settings' networks of its seed beside its own data; 0: no such
        training.
    """

    config: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    tuned: int = 0
    tuning_config: Path = Path()
    tuning_overrides: Mapping[str, Any] = field(default_factory=dict)
    corrections: int = 0


@dataclass(frozen=True)
class Network:
    """One network of an ablation.

    :param name: name of its folder.
    :param arm: name of the arm that its episodes count for.
    :param number: its place among the networks of its arm.
    :param policy: policy that is evaluated; the checkpoint is replaced when it is trained.
    :param config: file of its training configuration; None if it is not trained.
    :param overrides: values in place of the configuration's, by dotted name.
    :param after: network that this one's training continues from; empty for none.
    :param acts: whether it is evaluated; others are only continued from.
    :param corrections: names of networks whose own episodes, corrected by the expert, it learns from as well.
    """

    name: str
    arm: str
    number: int
    policy: EvaluatedPolicy
    config: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""
    acts: bool = True
    corrections: tuple[str, ...] = ()


def make_networks(settings: Sequence[Setting], trainings: Trainings) -> list[Network]:
    """All networks, each after the one that it continues from.

    :raises InputError: for seeds or trajectories if a setting is not trained.
    """
    asked = {"training_seeds": trainings.seeds, "corrections": trainings.corrections, "tuned": trainings.tuned}
    for name in filter(asked.get, asked):
        for setting in settings:
            if not setting.trained:
                raise InputError(f"{name}: expected none, setting {setting.name} is not trained")
    if len(set(trainings.seeds)) != len(trainings.seeds):
        raise InputError(f"training_seeds: expected different ones, got {list(trainings.seeds)}")
    protocols = [(trainings.config, trainings.overrides, "")]
    if trainings.corrections:
        protocols.append((trainings.config, trainings.overrides, CORRECTED))
    if trainings.tuned:
        few = {**trainings.tuning_overrides, "data.episodes": trainings.tuned}
        protocols.append((trainings.tuning_config, few, f"-{trainings.tuned}"))
    networks = []
    for config, overrides, protocol in protocols:
        for setting in settings:
            for number, seed in enumerate(trainings.seeds or (None,)):
                ending = "" if seed is None else f"-s{seed}"
                label = setting.policy.label
                network = Network(
                    f"{setting.name}{protocol}{ending}",
                    f"{label}{protocol}",
                    number,
                    replace(setting.policy, label=f"{label}{protocol}{ending}"),
                )
                if setting.trained:
                    own = {} if seed is None else {"seed": seed}
                    network = replace(network, config=config, overrides={**overrides, **own, **setting.overrides})
                if protocol == CORRECTED:
                    everyone = tuple(f"{each.name}{ending}" for each in settings)
                    network = replace(network, after=f"{setting.name}{ending}", corrections=everyone)
                elif protocol:
                    network = replace(network, after=f"{settings[0].name}{ending}")
                networks.append(network)
    return networks


def record_demonstrations(
    tasks: Sequence[str],
    count: int,
    workers: int,
    folder: Path,
    grounding: int = 0,
    half: str = "",
    policy: str = "",
    seed: int = 0,
) -> list[str]:
    """The expert's demonstrations of each task, or its corrections of a policy, a data set each.

    :param folder: folder of the data sets; those already in it are kept.
    :param grounding, half, policy, seed: arguments of ``RecordArguments``.
    :returns: the data sets' folders.
    :raises InputError: when it already holds others.
    """
    from stvla_ros.learning.demonstrations.record import RECORDING, RecordArguments
    from stvla_ros.learning.demonstrations.record import main as record

    name = "corrections" if policy else "demonstrations"
    paths = []
    for task in tasks:
        output = folder / task.replace("/", "-")
        asked = RecordArguments((task,), count, grounding, half, seed, policy=policy, output=str(output))  # type: ignore[arg-type]
        if not output.is_dir():
            print(f"recording {count} {name} of {task} for {output}", flush=True)
            record(replace(asked, workers=workers))
        there = read_json_file(output / "meta/info.json").get("total_episodes")
        if there != count:
            raise InputError(f"{name}: {output} has {there} episodes, asked for {count}; choose another output")
        # Data sets from before it was noted do not have it.
        noted = read_json_file(output / RECORDING) if (output / RECORDING).is_file() else {}
        for key in ("grounding", "half", "seed"):
            wanted = getattr(asked, key)
            if (found := noted.get(key, wanted)) != wanted:
                raise InputError(
                    f"{name}: {output} was recorded with {key} {found!r}, asked for {wanted!r}; choose another output"
                )
        paths.append(str(output))
    return paths


def with_corrections(network: Network, folder: Path, record: Callable[[str, Path], Sequence[str]]) -> Network:
    """The network, with the corrections that it learns from in its data.

    :param folder: folder of all networks; the corrections come beside it.
    :param record: records the expert's corrections of a checkpoint in a folder, unless they are there, and returns the
        data sets' folders.
    """
    from stvla_ros.learning.training.config import read_config

    if not network.corrections:
        return network
    assert network.config is not None  # only trained networks are corrected
    data = read_config(network.config, {**network.overrides, "output": str(folder)}).data
    paths = list(data.paths)
    for name in network.corrections:
        paths += record(str(_checkpoint(folder / name)), folder.with_name("corrections") / name)
    return replace(network, overrides={**network.overrides, "data.paths": paths})


def train_network(config: Path, overrides: Mapping[str, Any], output: Path) -> Path:
    """Train a model, or continue its training.

    :param overrides: values in place of the configuration's, by dotted key.
    :param output: folder of the run.
    :returns: the checkpoint's or the adapter's folder.
    :raises InputError: when it cannot be trained.
    """
    from stvla_ros.learning.training.config import read_config
    from stvla_ros.learning.training.run import train as run_training

    return run_training(read_config(config, {**overrides, "output": str(output)}))


def trained_policy(network: Network, folder: Path) -> EvaluatedPolicy:
    """The network's policy; if it is trained, its inputs are those of the training.

    :param folder: folder of all networks of the ablation, also of those that it continues from.
    """
    if network.config is None:
        return network.policy
    checkpoint = str(trained_network(network, folder))
    return replace(network.policy, checkpoint=checkpoint, inputs=resolve(checkpoint, {}).inputs)


def trained_network(network: Network, folder: Path) -> Path:
    """Train a network, or go on with it, unless it was trained.

    :param network: network with a training configuration.
    :param folder: folder of all networks of the ablation, also of those that it continues from.
    :returns: its checkpoint's folder.
    :raises InputError: when it cannot be trained.
    """
    assert network.config is not None
    output = folder / network.name
    noted = output / _FINISHED
    overrides = dict(network.overrides)
    if network.after:
        overrides["checkpoint"] = str(_checkpoint(folder / network.after))
    wanted = {"config": network.config.read_text(), "overrides": json.loads(json.dumps(overrides))}
    finished = json.loads(noted.read_text()) if noted.is_file() else {}
    if any(finished.get(name) != value for name, value in wanted.items()):
        print(f"training for {network.policy.label}", flush=True)
        write_json(noted, {**wanted, "checkpoint": train_network(network.config, overrides, output).name})
    return _checkpoint(output)


def trained_checkpoint(network: Network, folder: Path) -> Path:
    """The checkpoint of a network that was trained. :param folder: folder of all networks."""
    return _checkpoint(folder / network.name)


def _checkpoint(output: Path) -> Path:
    """The checkpoint of a trained network."""
    name: str = json.loads((output / _FINISHED).read_text())["checkpoint"]
    return output / name


def by_arm(results: Iterable[EpisodeResult], networks: Sequence[Network], seeds: Sequence[int]) -> list[EpisodeResult]:
    """The results, counted for the networks' arms: the result of another network of the arm with the same placement
    counts like another seed of it.

    :param seeds: seeds of the evaluation.
    """
    of_label = {network.policy.label: network for network in networks}
    counted = []
    for result in results:
        key, network = result.key, of_label[result.key.policy]
        seed = network.number * len(seeds) + seeds.index(key.seed)
        counted.append(replace(result, key=EpisodeKey(key.task, network.arm, seed, key.episode)))
    return counted
