"""What else is read from files and from other processes: tokenizers, lists of policies, profiles, states of trainings,
recorded episodes, summaries of runs, and the simulator's worker.
"""

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from examples import examples
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st
from made_demonstrations import make_demonstration
from mutations import changed_tree, damaged, only_bad_input
from tiny_checkpoint import tokenizer

from stvla_ros.acting.policy_texts import read_policies
from stvla_ros.doctor.fastdds import read_profile
from stvla_ros.errors import InputError
from stvla_ros.evaluation.live import read_summary
from stvla_ros.learning.demonstrations.staging import load_episode, save_episode
from stvla_ros.learning.training.state import load_state, save_state
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer
from stvla_ros.shared_files import config_directory
from stvla_ros.sim.remote.protocol import ConnectionClosed, receive, send

TOKENIZER = "tokenizer.json"
POLICIES = [
    {"label": "ours", "policy": "stvla", "checkpoint": "", "pacing": "realtime", "buffer": 7, "added_latency": 20.0},
    {"label": "by chance", "policy": "random", "traces": "none", "parameters": {"seed": 3}},
]
SUMMARY = {
    "stages": {"vla_server": {"processing_p50_ms": 5.0, "processing_p99_ms": 9.0}},
    "episodes": [{"episode_id": 3, "success": True, "steps": 20, "instruction": "stack the cubes"}],
}
STATE = {"settings": {"seed": 0}, "step": 3, "weights": {"a": torch.ones(2)}}


@pytest.fixture(scope="module")
def small_tokenizer() -> dict[str, Any]:
    """The tiny checkpoint's without thousands of reserved tokens: hypothesis keeps what it draws."""
    document = json.loads(tokenizer().to_str())
    kept = ("<pad>", "<eos>", "<bos>", "<unk>", "<image>")
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in kept]
    return document


@examples(quick=15)
@given(data=st.data())
def test_fuzz_tokenizer(small_tokenizer: dict[str, Any], tmp_path: Path, data: Any) -> None:
    whole = json.dumps(small_tokenizer).encode()
    said = changed_tree(small_tokenizer).map(lambda document: json.dumps(document).encode())
    (tmp_path / TOKENIZER).write_bytes(data.draw(damaged(whole, text=True) | said))
    # <image> comes after the vocabulary.
    image_token_id = len(small_tokenizer["model"]["vocab"])
    with only_bad_input(str(tmp_path), "instruction"):
        made = PromptTokenizer.load(tmp_path, image_token_id, image_token_id + 1, 4)
        ids = made.encode(data.draw(st.sampled_from(["put the spoon on the towel", "é ü", "stack 5"])))
        note("an instruction is read")
        assert (ids >= 0).all() and (ids <= image_token_id).all()


@examples(quick=15)
@given(
    changed_tree(POLICIES).map(lambda changed: yaml.safe_dump(changed).encode("utf-8", "surrogatepass"))
    | damaged(yaml.safe_dump(POLICIES).encode(), text=True)
)
def test_fuzz_list_of_policies(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "policies.yaml"
    file.write_bytes(content)
    with only_bad_input(str(file), "policy ", "policies"):
        read_policies(file)


@examples(quick=15)
@given(damaged((config_directory() / "fastdds.xml").read_bytes(), text=True))
def test_fuzz_fast_dds_profile(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "profile.xml"
    file.write_bytes(content)
    with only_bad_input(str(file)):
        assert read_profile(file).segment >= 0


@examples(quick=15)
@given(data=st.data())
def test_fuzz_state_of_a_training(tmp_path: Path, data: Any) -> None:
    save_state(tmp_path, STATE)
    file = tmp_path / "state.pt"
    if data.draw(st.booleans()):
        file.write_bytes(data.draw(damaged(file.read_bytes())))
    else:
        torch.save(data.draw(changed_tree({"settings": {"seed": 0}, "step": 3})), file)
    with only_bad_input(str(tmp_path)):
        state = load_state(tmp_path, {"seed": 0})
        assert state["settings"]["seed"] == 0


@examples(quick=15)
@given(data=st.data())
def test_fuzz_recorded_episode(tmp_path: Path, data: Any) -> None:
    whole, file = tmp_path / "whole.npz", tmp_path / "broken.npz"
    if not whole.exists():
        save_episode(whole, make_demonstration(0, frames=3, size=(8, 6)))
    if data.draw(st.booleans()):
        file.write_bytes(data.draw(damaged(whole.read_bytes())))
    else:
        with np.load(whole) as stored:
            arrays = dict(stored)
        name = data.draw(st.sampled_from(sorted(arrays)))
        others = [np.zeros(0), np.array(["a"]), np.full(3, np.nan), np.array(7), np.zeros((3, 7)), np.array([9, 4, 2])]
        arrays[name] = data.draw(st.sampled_from([*others, np.atleast_1d(arrays[name])[..., :1], arrays[min(arrays)]]))
        if name == "rest":
            rest = changed_tree(json.loads(str(arrays["rest"]))) if arrays["rest"].ndim == 0 else st.just({})
            arrays["rest"] = np.array(json.dumps(data.draw(rest)))
        if data.draw(st.integers(0, 9)) == 9:
            del arrays[name]
        np.savez(file, **arrays)
    with only_bad_input(str(file)):
        load_episode(file)


@examples(quick=15)
@given(
    changed_tree(SUMMARY).map(lambda changed: json.dumps(changed).encode())
    | damaged(json.dumps(SUMMARY).encode(), text=True)
)
def test_fuzz_summary_of_a_run(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "summary.json"
    file.write_bytes(content)
    with only_bad_input(str(file)):
        read_summary(file, "ours", "stack_cube")


def _as_sent(message: dict[str, Any]) -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, message)
        ours.close()
        return b"".join(iter(lambda: theirs.recv(65536), b""))


SENT = _as_sent({"observation": {"rgb": np.zeros((3, 4, 3), np.uint8), "k": np.eye(3)}, "success": False, "n": [1, 2]})


@examples(quick=15)
@given(damaged(SENT))
def test_fuzz_message_of_a_worker(content: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(content)
        ours.close()
        with only_bad_input("message"):
            try:
                assert isinstance(receive(theirs, 5.0), dict)
            except ConnectionClosed:
                pass
            except InputError:
                raise
            except ValueError as error:
                raise InputError(f"message: {error}") from None
