"""The arms of `stvla ablate latent`: latent action models, and policies that learn from few labels, by the proof that
each is for. All are changes of two training configurations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.constant import NO_DEPTH

ACTIONS_PROOF, DEPTH_PROOF, FARSIGHTED, PRETRAINING, PICTURE = PROOFS = (
    "actions",
    "depth",
    "farsighted",
    "pretraining",
    "picture",
)
"""What is to be shown: latent actions are actions; depth helps where light changes; several keyframes help; pictures
without actions help; the expected picture means something."""
_SEES = {"rgb": "none", "target": "target", "rgbd": "both"}
THREE = "three"
KEYFRAMES: Mapping[str, tuple[float, ...]] = {
    THREE: (0.2, 0.8, 2.4),
    "pair-0.2": (0.2,),
    "pair-0.8": (0.8,),
    "pair-2.4": (2.4,),
}
ASKED_S = KEYFRAMES[THREE]
"""Keyframes that all frames have which are asked about, seconds."""
_QUANTISERS = ("vq", "none")
CHANGING = "-light"


@dataclass(frozen=True)
class LamArm:
    """A latent action model.

    :param sees: use of the depth: ``rgb`` none, ``target`` rebuilt alone, ``rgbd`` seen and rebuilt.
    :param keyframes: name of its keyframes, one of ``KEYFRAMES``.
    :param quantiser: ``vq`` or ``none``.
    :param changing: whether the light of its pictures changes from frame to frame.
    """

    sees: str
    keyframes: str
    quantiser: str
    changing: bool = False

    @property
    def name(self) -> str:
        return f"{self.sees}-{self.keyframes}-{self.quantiser}{CHANGING if self.changing else ''}"

    @property
    def keyframes_s(self) -> tuple[float, ...]:
        return KEYFRAMES[self.keyframes]

    @property
    def overrides(self) -> dict[str, Any]:
        """Changes of a latent action model's configuration, by dotted name."""
        return {
            "family.options.depth": _SEES[self.sees],
            "family.options.keyframes_s": list(self.keyframes_s),
            "family.options.quantiser": self.quantiser,
            "inputs.depth": NO_DEPTH if self.sees == "rgb" else "sensor",
        }


def _lam_arms() -> dict[str, tuple[LamArm, ...]]:
    actions = tuple(
        LamArm(sees, keyframes, quantiser)
        for sees in _SEES
        for keyframes in ("pair-0.8", THREE)
        for quantiser in _QUANTISERS
    )
    farsighted = tuple(LamArm("rgbd", keyframes, quantiser) for quantiser in _QUANTISERS for keyframes in KEYFRAMES)
    changing = tuple(replace(arm, changing=True) for arm in actions)
    return {ACTIONS_PROOF: actions, DEPTH_PROOF: changing, FARSIGHTED: farsighted}


LAM_ARMS: Mapping[str, tuple[LamArm, ...]] = _lam_arms()
"""Latent action models by the proof that compares them."""

LABELS, ALL = "labels", "all"
_WEIGHT = 0.1


@dataclass(frozen=True)
class PolicyArm:
    """A way to learn from few demonstrations with labels, and from all without.

    :param name: name of the arm.
    :param ahead: objectives that need no actions: learnt first from all demonstrations, then beside the labels.
    :param sees: use of the depth of its latent action model, as in ``LamArm``.
    :param inferred: whether the labels of the others are an inverse model's.
    """

    name: str
    ahead: tuple[str, ...] = ()
    sees: str = "rgbd"
    inferred: bool = False

    @property
    def first(self) -> dict[str, Any]:
        """Objectives of the training on all demonstrations, without actions."""
        return {"objectives": dict.fromkeys(self.ahead, 1.0)}

    @property
    def second(self) -> dict[str, Any]:
        """Objectives of the training with labels."""
        return {"objectives": {"actions": 1.0, **dict.fromkeys(self.ahead, _WEIGHT)}}


POLICY_ARMS: Mapping[str, PolicyArm] = {
    arm.name: arm
    for arm in (
        PolicyArm(LABELS),
        PolicyArm("vision", ("vision",)),
        PolicyArm("latent", ("codes",)),
        PolicyArm("both", ("vision", "codes")),
        PolicyArm("both-rgb", ("vision", "codes"), sees="rgb"),
        PolicyArm("pseudo", inferred=True),
        PolicyArm(ALL),
    )
}
"""``labels`` has nothing but the labels of the few, ``all`` the labels of all."""
PICTURED = "both"
"""The policy whose expected picture is looked at."""
OTHERS = "other-picture"
"""That policy, which sees in the place of what it expects what it would expect in other episodes."""
INVERSE = PolicyArm("inverse")
"""Tells what led from a frame to the next; labels for ``pseudo``."""


@dataclass(frozen=True)
class Chosen:
    """The arms of the chosen proofs.

    :param lams: latent action models by proof.
    :param policies: ways to learn, in the order of the table; empty without such a proof.
    """

    lams: Mapping[str, tuple[LamArm, ...]]
    policies: tuple[PolicyArm, ...]

    @property
    def all_lams(self) -> list[LamArm]:
        """Every latent action model that is compared, once."""
        return list(dict.fromkeys(arm for arms in self.lams.values() for arm in arms))


def choose_arms(proofs: Sequence[str], names: Sequence[str]) -> Chosen:
    """
    :param proofs: some of ``PROOFS``.
    :param names: names of the arms that are wanted; empty for all of these proofs.
    :raises InputError: for a proof that is named twice, and for an arm that is none of theirs.
    """
    if len(set(proofs)) != len(proofs) or not proofs:
        raise InputError(f"proofs: expected different ones, at least one, got {', '.join(proofs) or 'none'}")
    lams = {proof: LAM_ARMS[proof] for proof in proofs if proof in LAM_ARMS}
    policies = tuple(POLICY_ARMS.values()) if PRETRAINING in proofs else ()
    if PICTURE in proofs and not policies:
        policies = (POLICY_ARMS[PICTURED],)
    known = [arm.name for arms in lams.values() for arm in arms] + [arm.name for arm in policies]
    for name in names:
        if name not in known:
            raise InputError(
                f"settings: expected some of {', '.join(dict.fromkeys(known))} for latent with proofs "
                f"{', '.join(proofs)}, got {name!r}"
            )
    if names:
        lams = {proof: tuple(arm for arm in arms if arm.name in names) for proof, arms in lams.items()}
        lams = {proof: arms for proof, arms in lams.items() if arms}
        policies = tuple(arm for arm in policies if arm.name in names)
    return Chosen(lams, policies)
