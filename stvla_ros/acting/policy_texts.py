"""An evaluated policy as a short text or in a YAML file.

    [label=]NAME[:CHECKPOINT][?key=value,key=value,…]      NAME: expert, random, stvla or another registered policy
    [label=]my_pkg.my_module:MyPolicy[:CHECKPOINT][?key=value,…]      a class of your own, where it stands
    [label=]CHECKPOINT[?key=value,…]                       a folder or hub id; the policy is then stvla

A key is a field of ``EvaluatedPolicy`` (``execution=chunk``, …) or of its ``inputs`` (``traces=none``,
``buffer=15``, …); any other key is one of the policy's own parameters (``temperature=0.5``). Values are read as YAML.
In a file: a list of mappings with the same fields, the policy's own parameters under ``parameters``.

A checkpoint that was trained here (``training.json``) gets the inputs that it was trained with, unless a key says
otherwise.
"""

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any

from stvla_ros.acting.setup import UNSEEN, EvaluatedPolicy
from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoint_places import is_shipped
from stvla_ros.policy.inputs import INPUT_NAMES, InputsConfig
from stvla_ros.policy.registry import DEFAULT_POLICY, OF_CHECKPOINT, POLICIES, WITHOUT_NETWORK, check_policy
from stvla_ros.policy.training_record import checkpoint_of, resolve
from stvla_ros.settings import load_yaml, read_yaml
from stvla_ros.shared_files import shipped_models

# Keys that may be given for a policy: its inputs' fields, and its own.
_FIELDS = {each.name for each in fields(EvaluatedPolicy) if each.name != "inputs"} | set(INPUT_NAMES)
# Fields that have a place of their own in the short text.
_NOT_KEYS = ("label", "policy", "checkpoint", "parameters")


def parse_policy(text: str, usual: InputsConfig = InputsConfig()) -> EvaluatedPolicy:
    """Parse one policy from its short text, see the docstring of this file.

    :param usual: inputs of a policy whose checkpoint says nothing.
    :raises InputError: naming the wrong part.
    """
    head, _, options = text.partition("?")
    label, equals, target = head.rpartition("=")
    if (equals and not label) or not target:
        raise InputError(f"policies: expected [label=]name[:checkpoint][?key=value,…], got {text!r}")
    name, colon, checkpoint = target.partition(":")
    if POLICIES.knows(place := ":".join(target.split(":")[:2])) and name not in POLICIES.names():
        name, checkpoint = place, target.removeprefix(place).removeprefix(":")
    elif name not in POLICIES.names() and (colon or not _is_checkpoint(target)):
        close = difflib.get_close_matches(target, [*POLICIES.names(), *shipped_models()], n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(
            f"policies: expected {POLICIES.choices()}, a checkpoint folder, a shipped model "
            f"({', '.join(shipped_models())}) or a hub id, got {target!r}{hint}"
        )
    if not POLICIES.knows(name):
        name, checkpoint = OF_CHECKPOINT, target
    given: dict[str, Any] = {"policy": name, "checkpoint": checkpoint}
    for part in filter(None, options.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"policies: expected key=value after the ?, got {part!r} in {text!r}")
        given[key] = _read(key, value)
        if key in _NOT_KEYS:
            raise InputError(f"policies: {key} has a place of its own in [label=]name[:checkpoint], got {text!r}")
    given["parameters"] = {key: given.pop(key) for key in set(given) - _FIELDS}
    return _make({"label": label or _label(name, checkpoint), **given}, usual)


def read_policies(file: Path, usual: InputsConfig = InputsConfig()) -> list[EvaluatedPolicy]:
    """The policies of a YAML file.

    :param usual: inputs of a policy whose checkpoint says nothing.
    :raises InputError: naming the file and the wrong part of it.
    """
    entries = read_yaml(file, "policies_file")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"policies_file {file}: expected a list of mappings")
    policies = []
    for entry in entries:
        if unknown := set(entry) - _FIELDS:
            raise InputError(
                f"policies_file {file}: unknown {min(map(str, unknown))!r}, expected {', '.join(sorted(_FIELDS))}"
            )
        if not isinstance(entry.get("policy", DEFAULT_POLICY), str) or not isinstance(entry.get("checkpoint", ""), str):
            raise InputError(f"policies_file {file}: expected texts for policy and checkpoint, got {entry}")
        name = entry.get("policy", DEFAULT_POLICY)
        label = entry.get("label", _label(name, entry.get("checkpoint", "")))
        policies.append(_make({**entry, "policy": name, "label": label}, usual))
    return policies


def _make(given: dict[str, Any], usual: InputsConfig) -> EvaluatedPolicy:
    """The policy with the given inputs, else those that its checkpoint was trained with, else the usual ones."""
    shown = {name: given.pop(name) for name in INPUT_NAMES if name in given}
    if given["policy"] in WITHOUT_NETWORK:
        usual = UNSEEN
    else:
        given["checkpoint"] = _checkpoint(given["policy"], given.get("checkpoint", ""))
    try:
        inputs = resolve(checkpoint_of(given["policy"], given.get("checkpoint", "")), shown, usual=usual).inputs
    except InputError as error:
        raise InputError(f"policy {given['label']}: {error}") from None
    made = EvaluatedPolicy(inputs=inputs, **given)
    if "resize" in shown:
        check_policy(made.policy, {**made.given_parameters(), "resize": shown["resize"]})
    return made


def _checkpoint(policy: str, given: str) -> str:
    checkpoint = checkpoint_of(policy, given)
    if not given and checkpoint and not Path(checkpoint).is_dir():
        raise InputError(f"policies: {policy}: expected a checkpoint after it; its own is not at {checkpoint}")
    return checkpoint


def _label(name: str, checkpoint: str) -> str:
    folder = Path(checkpoint)
    return (folder.resolve().name if checkpoint and folder.exists() else folder.name) or name.rpartition(":")[2]


def _is_checkpoint(text: str) -> bool:
    return Path(text).is_dir() or "/" in text or is_shipped(text)


def _read(key: str, value: str) -> Any:
    try:
        return load_yaml(value) if value not in ("none", "") else value
    except ValueError:
        raise InputError(f"policies: {key}: expected a YAML value, got {value!r}") from None
