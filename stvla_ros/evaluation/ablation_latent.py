"""`stvla ablate latent`: are latent actions actions, and what do they bring? Latent action models and policies that
learn from few labels, all on the same recorded demonstrations, and all asked on others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stvla_ros.acting.results import EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.atomic_files import make_folder, write_json
from stvla_ros.errors import InputError, NothingLearnt
from stvla_ros.evaluation.ablation_networks import (
    record_demonstrations,
    trained_checkpoint,
    trained_network,
    trained_policy,
)
from stvla_ros.evaluation.ablation_plan import AblationPlan, trained_on
from stvla_ros.evaluation.latent_arms import (
    CHANGING,
    DEPTH_PROOF,
    INVERSE,
    OTHERS,
    PICTURE,
    PICTURED,
    PRETRAINING,
    Chosen,
    LamArm,
)
from stvla_ros.evaluation.latent_networks import LatentNetwork, PolicyTrainings, latent_networks
from stvla_ros.policy.training_record import resolve
from stvla_ros.safe_files import read_json_file
from stvla_ros.sim.tasks import find_task

# Seed of the placements of the demonstrations that everything is asked on.
_ASKED_SEED = 2
_LIGHT_SEED, _ASKED_LIGHT_SEED = 0, 1
_ENDED = "ended.json"


@dataclass(frozen=True)
class LatentPlan(AblationPlan):
    """
    :param proofs: some of ``PROOFS``.
    :param chosen: arms.
    :param asked: number of demonstrations of each task that everything is asked on.
    :param labelled: numbers of demonstrations of each instruction with labels.
    :param policy_config: training configuration of the policies.
    :param policy_overrides: values in place of that configuration's.
    :param quantiser: codes of the latent action models that policies learn with.
    :param frames: most frames that latent action models are asked about.
    """

    proofs: tuple[str, ...] = ()
    chosen: Chosen = field(default_factory=lambda: Chosen({}, ()))
    asked: int = 0
    labelled: tuple[int, ...] = ()
    policy_config: Path = Path()
    policy_overrides: Mapping[str, Any] = field(default_factory=dict)
    quantiser: str = "vq"
    frames: int = 4000

    def __post_init__(self) -> None:
        for name in ("demonstrations", "asked"):
            if getattr(self, name) < 3:
                raise InputError(f"{name}: expected at least 3 for latent, got {getattr(self, name)}")
        if len(set(self.labelled)) != len(self.labelled) or (self.chosen.policies and not self.labelled):
            raise InputError(
                f"labelled: expected different numbers, got {', '.join(map(str, self.labelled)) or 'none'}"
            )
        for count in self.labelled:
            if not 1 <= count <= self.demonstrations:
                raise InputError(f"labelled: expected 1 to {self.demonstrations}, all demonstrations, got {count}")
        for task in self.tasks:
            if not find_task(task).has_expert:
                raise InputError(f"tasks: expected tasks with an expert for latent, {task} has none")

    # --- networks -----------------------------------------------------------------------------------------------------

    @property
    def networks(self) -> Sequence[LatentNetwork]:
        return self._networks({}, {})

    def _networks(self, plain: Mapping[str, Any], lit: Mapping[str, Any]) -> Sequence[LatentNetwork]:
        policies = PolicyTrainings(self.policy_config, self.policy_overrides, self.labelled, PICTURE in self.proofs)
        policy = self.settings[0].policy
        return list(latent_networks(self.chosen, self.trainings, policies, self.quantiser, policy, plain, lit))

    # --- what they learn from -----------------------------------------------------------------------------------------

    def prepare(self) -> Sequence[LatentNetwork]:
        from stvla_ros.learning.demonstrations.changing_light import write_in_changing_light

        shown, asked = self._recorded(self.demonstrations, 0), self._recorded(self.asked, _ASKED_SEED)
        if DEPTH_PROOF in self.chosen.lams:
            for paths, seed in ((shown, _LIGHT_SEED), (asked, _ASKED_LIGHT_SEED)):
                for path in paths:
                    write_in_changing_light(path, self._lit(path), seed)
        plain = trained_on([str(path) for path in shown], self.folder)
        lit = trained_on([str(self._lit(path)) for path in shown], self.folder)
        return self._networks(plain, lit)

    def _recorded(self, count: int, seed: int) -> list[Path]:
        folder = self.folder / ("demonstrations" if seed == 0 else "asked")
        workers = self.eval_arguments.workers
        return [Path(path) for path in record_demonstrations(self.tasks, count, workers, folder, seed=seed)]

    @staticmethod
    def _lit(path: Path) -> Path:
        return path.with_name(path.name + CHANGING)

    def corrected(self, network: LatentNetwork) -> LatentNetwork:  # type: ignore[override]  # its own networks
        """The network, with the labels that an inverse model tells, or with what an inverse model learns from."""
        from stvla_ros.learning.demonstrations.pseudo_labels import write_after_the_fact, write_pseudo_labels

        if self._in_vain(network):
            return network
        shown = self._recorded(self.demonstrations, 0)
        if network.arm.startswith(INVERSE.name):
            places = [self.folder / "after-the-fact" / path.name for path in shown]
            for path, place in zip(shown, places, strict=True):
                write_after_the_fact(path, place)
            # What was seen a control step before.
            before = {"family.options.before_s": 1.0 / find_task(self.tasks[0]).control_hz}
            return replace(network, overrides={**network.overrides, **before, "data.paths": list(map(str, places))})
        if network.inferred_by:
            places = [self.folder / "inferred" / network.name / path.name for path in shown]
            checkpoint = self._training / network.inferred_by / "checkpoint"
            for path, place in zip(shown, places, strict=True):
                write_pseudo_labels(path, checkpoint, network.labelled, place)
            return replace(network, overrides={**network.overrides, "data.paths": list(map(str, places))})
        return network

    # --- trainings ----------------------------------------------------------------------------------------------------

    @property
    def _training(self) -> Path:
        return self.folder / "training"

    def _ended(self, name: str) -> str:
        """Why a network's training ended before its end; empty for one that did not."""
        file = self._training / name / _ENDED
        return str(read_json_file(file)["why"]) if file.is_file() else ""

    def _in_vain(self, network: LatentNetwork) -> str:
        """Why nothing can come of a network: what it needs has ended. Empty if something can."""
        why = ((name, self._ended(name)) for name in (network.after, network.inferred_by) if name)
        return next((f"{name}, which it needs: {text}" for name, text in why if text), "")

    def _end(self, network: LatentNetwork, why: str) -> None:
        """That is a result, and the others go on."""
        print(f"{network.name}: {why}", flush=True)
        make_folder(self._training / network.name)
        write_json(self._training / network.name / _ENDED, {"why": why})

    def trained(self, network: LatentNetwork) -> EvaluatedPolicy | None:  # type: ignore[override]  # its own networks
        if why := self._in_vain(network):
            self._end(network, why)
            return None
        if network.pictures_of_others:
            from stvla_ros.evaluation.latent_measures import write_other_pictures

            checkpoint = trained_checkpoint(replace(network, name=network.after), self._training)
            file = write_other_pictures(checkpoint, self._recorded(self.asked, _ASKED_SEED), self.folder / "others.npz")
            inputs, given = resolve(str(checkpoint), {}).inputs, {**network.policy.parameters, "vision_of": str(file)}
            return replace(network.policy, checkpoint=str(checkpoint), inputs=inputs, parameters=given)
        if network.acts:
            return trained_policy(network, self._training)
        if not self._ended(network.name):
            try:
                trained_network(network, self._training)
            except NothingLearnt as error:
                self._end(network, str(error))
        return None

    # --- what is found ------------------------------------------------------------------------------------------------

    def examine(self, networks: Sequence[LatentNetwork]) -> None:  # type: ignore[override]  # its own networks
        from stvla_ros.evaluation.latent_measures import measure_policy, probe_controls_of, probe_lam

        answers, cache = self.folder / "answers", self.folder / "cache"
        asked = self._recorded(self.asked, _ASKED_SEED)
        compared = set(self.chosen.all_lams)
        told: set[LamArm] = set()
        # Those with depth first: what they are shown has the depths that controls are of.
        for network in sorted(networks, key=lambda each: each.lam is None or each.lam.sees != "rgbd"):
            if self._ended(network.name):
                continue
            if network.lam in compared:
                paths = [self._lit(path) for path in asked] if network.lam.changing else asked
                checkpoint = trained_checkpoint(network, self._training)
                file = answers / f"{network.name}.json"
                probe_lam(checkpoint, paths, cache, self.frames, file, with_untrained=network.lam not in told)
                told.add(network.lam)
                controls = answers / f"controls{CHANGING if network.lam.changing else ''}.json"
                probe_controls_of(checkpoint, paths, cache, self.frames, controls)
            elif network.acts and not network.pictures_of_others:
                measure_policy(trained_checkpoint(network, self._training), asked, answers / f"{network.name}.json")

    def write(  # type: ignore[override]  # its own networks
        self, networks: Sequence[LatentNetwork], tasks: Sequence[str], results: Sequence[EpisodeResult]
    ) -> str:
        from stvla_ros.evaluation.latent_policy_tables import (
            write_action_errors,
            write_picture_errors,
            write_successes,
        )
        from stvla_ros.evaluation.latent_tables import write_lam_proof

        folder, every, seeds = self.folder, self.networks, self.eval_arguments.seeds
        ended = {network.name: self._ended(network.name) for network in every}
        texts = [write_lam_proof(folder, proof, arms, every, ended) for proof, arms in self.chosen.lams.items()]
        acting = [network for network in every if network.acts]
        if PRETRAINING in self.proofs and acting:
            own = [network for network in acting if not network.pictures_of_others]
            texts += [
                write_action_errors(folder, own),
                write_successes(folder, PRETRAINING, own, seeds, tasks, results),
            ]
        if PICTURE in self.proofs and acting:
            names = [f"{name}-{max(self.labelled)}" for name in (PICTURED, OTHERS)]
            own = [network for network in acting if network.arm in names]
            texts += [
                write_picture_errors(folder, acting),
                write_successes(folder, PICTURE, own, seeds, tasks, results),
            ]
        texts += [f"{each.name}: {ended[each.name]}" for each in acting if ended[each.name]]
        return "\n".join(filter(None, texts))
