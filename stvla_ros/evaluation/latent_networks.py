"""The networks of `stvla ablate latent`, each after those that it needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.evaluation.ablation_networks import Network, Trainings
from stvla_ros.evaluation.latent_arms import ALL, INVERSE, OTHERS, PICTURED, THREE, Chosen, LamArm, PolicyArm

_SIZE = "family.options.policy_size"


@dataclass(frozen=True)
class LatentNetwork(Network):
    """
    :param lam: latent action model that it is; None for a policy.
    :param labelled: number of demonstrations of each instruction whose labels it learns from; 0: all, or none.
    :param inferred_by: network that tells it the other demonstrations' labels; empty for none.
    :param pictures_of_others: whether it is the network that it continues from, which sees in its place of what it
        expects what it would in other episodes.
    """

    lam: LamArm | None = None
    labelled: int = 0
    inferred_by: str = ""
    pictures_of_others: bool = False


@dataclass(frozen=True)
class PolicyTrainings:
    """The trainings of the policies.

    :param config: file of the training configuration.
    :param overrides: values in place of the configuration's, by dotted name.
    :param labelled: numbers of demonstrations of each instruction with labels.
    :param pictured: whether the policy whose picture is looked at also acts with other episodes' pictures.
    """

    config: Path
    overrides: Mapping[str, Any]
    labelled: tuple[int, ...]
    pictured: bool


def latent_networks(
    chosen: Chosen,
    trainings: Trainings,
    policies: PolicyTrainings,
    quantiser: str,
    policy: EvaluatedPolicy,
    plain: Mapping[str, Any],
    lit: Mapping[str, Any],
) -> Iterator[LatentNetwork]:
    """
    :param chosen: arms.
    :param trainings: trainings of the latent action models.
    :param policies: trainings of the policies.
    :param quantiser: codes of the latent action models that policies learn with.
    :param policy: parameters with which networks are run.
    :param plain, lit: changes of the configurations for the demonstrations, in steady and in changing light.
    """
    for number, seed in enumerate(trainings.seeds or (None,)):
        made = _OfSeed(number, {} if seed is None else {"seed": seed}, "" if seed is None else f"-s{seed}", policy)
        taught = [LamArm(arm.sees, THREE, quantiser) for arm in chosen.policies]
        for lam in dict.fromkeys([*chosen.all_lams, *taught]):
            overrides = {**trainings.overrides, **(lit if lam.changing else plain), **lam.overrides}
            yield made.network(lam.name, trainings.config, overrides, acts=False, lam=lam)
        for arm in chosen.policies:
            yield from _of_arm(made, arm, policies, quantiser, {**policies.overrides, **plain})


@dataclass(frozen=True)
class _OfSeed:
    """
    :param number: place of the seed among the seeds.
    :param seeded: change of the configuration for the seed.
    :param ending: end of a network's name that tells the seed.
    :param policy: parameters with which networks are run.
    """

    number: int
    seeded: Mapping[str, Any]
    ending: str
    policy: EvaluatedPolicy

    def network(
        self, name: str, config: Path | None, overrides: Mapping[str, Any], after: str = "", **more: Any
    ) -> LatentNetwork:
        full = name + self.ending
        policy = replace(self.policy, label=f"latent-{full}")
        after = after and after + self.ending
        return LatentNetwork(full, name, self.number, policy, config, {**overrides, **self.seeded}, after, **more)


def _of_arm(
    made: _OfSeed, arm: PolicyArm, policies: PolicyTrainings, quantiser: str, given: Mapping[str, Any]
) -> Iterator[LatentNetwork]:
    lam = LamArm(arm.sees, THREE, quantiser)
    made_new = {name: given[name] for name in (_SIZE,) if name in given}
    given = {name: value for name, value in given.items() if name != _SIZE}
    begun = lam.name  # whose inputs a policy has, too
    if arm.ahead:
        begun = f"ahead-{arm.name}"
        yield made.network(begun, policies.config, {**given, **made_new, **arm.first}, lam.name, acts=False)
    for count in (0,) if arm.name == ALL else policies.labelled:
        name = f"{arm.name}-{count}" if count else arm.name
        told = {"data.episodes": count} if count else {}
        inverse = f"{INVERSE.name}-{count}"
        if arm.inferred:
            alone = {**given, **made_new, **INVERSE.second, **told, "family.options.chunk_size": 1}
            yield made.network(inverse, policies.config, alone, lam.name, acts=False, labelled=count)
            told = {}  # the others' labels are told
        by = inverse + made.ending if arm.inferred else ""
        # The size of a policy that is gone on with is its own.
        new = {} if arm.ahead else made_new
        learnt = {**given, **new, **arm.second, **told}
        yield made.network(name, policies.config, learnt, begun, labelled=count, inferred_by=by)
        if policies.pictured and arm.name == PICTURED and count == max(policies.labelled):
            yield made.network(f"{OTHERS}-{count}", None, {}, name, labelled=count, pictures_of_others=True)
