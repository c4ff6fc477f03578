"""The policy as everybody runs it: by the checkpoint, from input to actions and a picture; and what is refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lam_scenes import SIZE
from policy_scenes import INSTRUCTION, POLICY, awaken, links, observed, picture
from safetensors.torch import load_file, save_file

from stvla_ros.doctor.checkpoint import check_checkpoint
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.base import Picture, PolicyInput
from stvla_ros.policy.commands import describe
from stvla_ros.policy.completion import InputCompletion
from stvla_ros.policy.families import find_family
from stvla_ros.policy.registry import check_policy, make_policy
from stvla_ros.policy.ssm_vla.action_scale import scaled, unscaled
from stvla_ros.policy.ssm_vla.checkpoint import load_model, load_policy_model, save_model
from stvla_ros.policy.ssm_vla.other_pictures import OtherPictures
from stvla_ros.policy.ssm_vla.predictor import SsmVlaPredictor
from stvla_ros.policy.thoughts import PredictedPicture
from stvla_ros.policy.training_record import resolve
from stvla_ros.policy.untrained import untrained_statistics

CPU = torch.device("cpu")
SECOND = 10**9


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose heads say something."""
    folder = tmp_path_factory.mktemp("ssm_vla") / "awake"
    find_family("ssm_vla").create(folder, "tiny", 0)
    save_model(load_model(folder, CPU), folder, awaken(load_policy_model(folder, CPU)))
    return folder


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> SsmVlaPredictor:
    return load_policy(str(checkpoint))


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> Any:
    made = make_policy("stvla", checkpoint=str(checkpoint), threads=1)
    made.load()
    return made


def seen(seed: int = 0, stamp: int = SECOND, **changes: Any) -> PolicyInput:
    rgb, depth, camera = picture(seed)
    usual: dict[str, Any] = {"rgb": rgb, "depth": depth, "intrinsics": camera, "instruction": INSTRUCTION}
    return PolicyInput.of(stamp, **{**usual, **changes})


def numbers(answer: Any) -> np.ndarray:
    return np.array([[*each.translation, *each.rotation, each.gripper] for each in answer.actions])


def test_an_answer_is_a_chunk_and_the_picture_to_come(policy: Any) -> None:
    policy.reset()
    answer = policy.predict(seen())
    assert len(answer.actions) == POLICY.chunk and {each.gripper for each in answer.actions} <= {0.0, 1.0}
    assert np.abs(numbers(answer)[:, :3]).max() <= 0.02  # as the statistics of an untrained one have it
    (thought,) = answer.thoughts.values()
    assert isinstance(thought, PredictedPicture) and thought.ahead_s == 0.8
    assert thought.rgb.shape == (SIZE, SIZE, 3) and thought.depth.shape == (SIZE, SIZE)
    assert np.isfinite(thought.depth).all() and (thought.depth >= 0).all() and (thought.depth > 0).any()


def test_the_same_seed_gives_the_same_chunk_and_another_another(policy: Any) -> None:
    policy.reseed(3)
    first, second = numbers(policy.predict(seen())), numbers(policy.predict(seen()))
    policy.reset()
    again = numbers(policy.predict(seen()))
    policy.reseed(4)
    other = numbers(policy.predict(seen()))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second) and not np.array_equal(first, other)


def test_a_refused_observation_draws_nothing(policy: Any) -> None:
    policy.reseed(3)
    first = numbers(policy.predict(seen()))
    policy.reset()
    with pytest.raises(InputError):
        policy.predict(seen(instruction=" "))
    assert np.array_equal(numbers(policy.predict(seen())), first)


def test_it_asks_for_the_picture_of_a_second_before_and_sees_it(policy: Any, predictor: SsmVlaPredictor) -> None:
    assert policy.needs.history_s == POLICY.before_s == 1.0
    completion = InputCompletion(policy.needs)
    for step in range(7):
        now = completion.remember(seen(step, SECOND + step * SECOND // 5))
        policy.reseed(0)
        answer = policy.predict(now)
    rgb, depth, camera = picture(1)  # 5 a second: of step 6 it is step 1
    predictor.reset()
    given = seen(6).picture
    told = predictor.predict(given.rgb, INSTRUCTION, given.depth, given.intrinsics, earlier=Picture(rgb, depth, camera))
    assert np.array_equal([each.translation for each in answer.actions], told.actions[:, :3])


def test_in_training_the_same_numbers_are_seen(predictor: SsmVlaPredictor) -> None:
    from stvla_ros.policy.ssm_vla.training.lam_batch import scene_of

    given = seen()
    kept = {name: each[None] for name, each in predictor.preparation(given).items()}
    live, taught = predictor._scene(given.picture), scene_of(kept)
    assert all(torch.equal(one, other) for one, other in zip(vars(live).values(), vars(taught).values(), strict=True))


@pytest.mark.parametrize("shape", [(60, 80), (32, 32), (480, 640), (31, 77)])
def test_pictures_of_any_size_are_seen(predictor: SsmVlaPredictor, shape: tuple[int, int]) -> None:
    rgb, depth, camera = picture(0, *shape)
    assert np.isfinite(predictor.predict(rgb, INSTRUCTION, depth, camera).actions).all()
    traced = np.full((224, 224), 0.8, np.float32)
    assert np.isfinite(predictor.predict(rgb, INSTRUCTION, traced, camera).actions).all()


def test_intrinsics_may_be_unknown(predictor: SsmVlaPredictor) -> None:
    rgb, depth, camera = picture()
    predictor.reset()
    with_camera = predictor.predict(rgb, INSTRUCTION, depth, camera).normalized
    predictor.reset()
    without = predictor.predict(rgb, INSTRUCTION, depth).normalized
    assert np.isfinite(without).all() and not np.array_equal(with_camera, without)


def damaged(depth: np.ndarray, value: float) -> np.ndarray:
    changed = depth.copy()
    changed[3, 4] = value
    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rgb, depth: {"depth": None}, "depth: expected metres, because the checkpoint was trained with depth"),
        (lambda rgb, depth: {"depth": np.zeros_like(depth)}, "depth: expected some known"),
        (lambda rgb, depth: {"depth": damaged(depth, np.nan)}, "depth: expected finite metres"),
        (lambda rgb, depth: {"depth": damaged(depth, -1.0)}, "depth: expected 0 .unknown. or positive metres, got -1"),
        (lambda rgb, depth: {"depth": damaged(depth, 1e6)}, "depth: expected at most 10000 metres"),
        (lambda rgb, depth: {"depth": depth[1:]}, "depth: expected shape"),
        (lambda rgb, depth: {"depth": (1000 * depth).astype(np.uint16)}, "depth: expected an array of floating-point"),
        (lambda rgb, depth: {"rgb": rgb[..., 0]}, "rgb: expected a .height, width, 3. uint8 array"),
        (lambda rgb, depth: {"rgb": rgb / 255.0}, "rgb: expected a .height, width, 3. uint8 array"),
        (lambda rgb, depth: {"intrinsics": np.full((3, 3), np.nan)}, "intrinsics: expected"),
        (lambda rgb, depth: {"instruction": ""}, "instruction: expected an instruction in words"),
        (lambda rgb, depth: {"instruction": "put " * 200}, "instruction: expected at most"),
        (lambda rgb, depth: {"instruction": "put <bos> there"}, "instruction: expected plain words"),
    ],
)
def test_what_cannot_be_seen_is_one_line(
    policy: Any, change: Callable[[np.ndarray, np.ndarray], dict[str, Any]], said: str
) -> None:
    rgb, depth, _ = picture()
    with pytest.raises(InputError, match=said) as refused:
        policy.predict(seen(**change(rgb, depth)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"steps": 0}, "steps: expected a whole number from 1 to 100, got 0"),
        ({"steps": 101}, "steps: expected a whole number from 1 to 100, got 101"),
        ({"steps": 1.5}, "steps: expected a whole number"),
        ({"steps": True}, "steps: expected a whole number"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"resize": "cubic"}, "resize: expected one of bicubic, area"),
        ({"guidance": 2.0}, "takes no guidance"),
    ],
)
def test_a_parameter_out_of_range_is_refused_before_anything_is_loaded(
    checkpoint: Path, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        check_policy("stvla", {"checkpoint": str(checkpoint), **parameters})


def test_weights_that_are_not_finite_are_one_line(checkpoint: Path, tmp_path: Path) -> None:
    folder = links(checkpoint, tmp_path / "nan")
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["policy.flow.velocity.bias"][:] = float("nan")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    made = make_policy("stvla", checkpoint=str(folder), threads=1)
    with pytest.raises(InputError, match="inference: expected finite actions, got NaN"):
        made.load()


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / "config.json").read_text())
    change(content)
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content["policy"].update(width=64), "its tensors do not fit its config.json"),
        (lambda content: content["policy"].update(heads=5), "policy.heads: expected a divisor"),
        (lambda content: content["policy"].update(chunk=0), "policy.chunk: expected a whole number from 1 to 32"),
        (lambda content: content["policy"].update(ahead_s=0.7), "policy.ahead_s: expected one of the keyframes at"),
        (lambda content: content["policy"].update(before_s="now"), "policy.before_s: expected float"),
        (lambda content: content["policy"].update(vocabulary=10), "not fit|expected at most the model's 10 tokens"),
        (lambda content: content.update(policy=[]), "expected model_type 'ssm_vla' with a block policy"),
        (lambda content: content["lam"].update(patch=7), "lam.patch: expected a divisor"),
        (lambda content: content.pop("policy"), "not part of the model: policy."),
    ],
)
def test_a_damaged_configuration_is_one_line(
    checkpoint: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    folder = links(checkpoint, tmp_path / "damaged")
    change_config(folder, change)
    (remark,) = find_family("ssm_vla").check(folder)
    assert remark.level == "error" and "\n" not in remark.text
    assert re.search(said, remark.text)


@pytest.mark.parametrize("file", ["tokenizer.json", "dataset_statistics.json", "model.safetensors"])
def test_a_missing_file_is_one_line(checkpoint: Path, tmp_path: Path, file: str) -> None:
    folder = links(checkpoint, tmp_path / "incomplete")
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"expected (a file )?{file}"):
        load_policy(str(folder))


def test_the_doctor_and_inspect_know_it(checkpoint: Path) -> None:
    said = describe(checkpoint)
    assert "ssm_vla" in said and "anchored" in said and "untrained" in said and "policy " in said
    lines = [result.text for result in check_checkpoint(str(checkpoint), "", "bridge_orig/1.0.0", "depth")]
    assert any("a policy with its latent action model" in line for line in lines)


def test_its_chunks_are_executed_as_it_was_made_for(checkpoint: Path) -> None:
    found = resolve(str(checkpoint), {})
    assert (found.execution, found.inputs.traces, found.inputs.resize) == ("anchored", "none", "area")


def test_scaled_actions_come_back(checkpoint: Path) -> None:
    statistics = untrained_statistics()
    actions = np.array([[0.01, -0.02, 0.0, 0.05, 0.0, -0.1, 1.0], [0.0, 0.0, 0.02, 0.0, 0.1, 0.0, 0.0]])
    there = scaled(actions, statistics)
    assert np.abs(there).max() <= 1.0 and there[:, 6].tolist() == [1.0, -1.0]
    np.testing.assert_allclose(unscaled(there, statistics), actions, atol=1e-12)
    assert np.array_equal(unscaled(3.0 * there, statistics)[:, 6], actions[:, 6])
    with pytest.raises(InputError, match="sampled actions: expected finite numbers"):
        unscaled(np.full((2, 7), np.nan), statistics)


def test_a_copy_of_the_folder_answers_the_same(checkpoint: Path, predictor: SsmVlaPredictor, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "copy")
    rgb, depth, camera = picture()
    predictor.reset()
    one = predictor.predict(rgb, INSTRUCTION, depth, camera)
    other = load_policy(str(tmp_path / "copy")).predict(rgb, INSTRUCTION, depth, camera)
    assert np.array_equal(one.normalized, other.normalized) and np.array_equal(one.expected.rgb, other.expected.rgb)


# --- other episodes' vision tokens ----------------------------------------------------------------------------------


def frames_of_others(file: Path, count: int = 3) -> Path:
    """Two episodes of frames, each seen for the first time in the first of them."""
    shown = [picture(seed) for seed in range(20, 20 + 2 * count)]
    rgb, depth, camera = (np.stack(parts) for parts in zip(*shown, strict=True))
    episode = np.repeat([0, 1], count)
    np.savez(
        file,
        rgb=rgb,
        depth=depth,
        intrinsics=camera,
        before=episode * count,
        episode=episode,
        instruction=np.array([INSTRUCTION] * len(rgb)),
    )
    return file


def test_vision_tokens_in_their_own_place_change_nothing(predictor: SsmVlaPredictor) -> None:
    seen_by_it, other = observed(), observed(seed=5)
    with torch.no_grad():
        own = predictor.model.states(seen_by_it)
        same = predictor.model.states(seen_by_it, predictor.model.vision_tokens(seen_by_it))
        changed = predictor.model.states(seen_by_it, predictor.model.vision_tokens(other))
    assert torch.equal(own.actions, same.actions) and torch.equal(own.latent, same.latent)
    assert not torch.allclose(own.actions, changed.actions, atol=1e-4)


def test_a_policy_acts_with_what_it_would_expect_in_another_episode(checkpoint: Path, tmp_path: Path) -> None:
    file = str(frames_of_others(tmp_path / "others.npz"))
    plain, told = (
        make_policy("stvla", checkpoint=str(checkpoint), threads=1, **more) for more in ({}, {"vision_of": file})
    )
    for each in (plain, told):
        each.load()
        each.reseed(0)
    first, second = numbers(told.predict(seen())), numbers(told.predict(seen()))
    assert not np.array_equal(first, numbers(plain.predict(seen())))
    told.reset()
    assert np.array_equal(first, numbers(told.predict(seen())))
    assert np.array_equal(second, numbers(told.predict(seen())))
    told.reseed(1)  # the other episode
    assert not np.array_equal(first, numbers(told.predict(seen())))


def test_after_the_end_of_another_episode_its_last_frame_stays(tmp_path: Path) -> None:
    others = OtherPictures(frames_of_others(tmp_path / "others.npz"))
    now, before, instruction = others.at(3, 99)
    assert np.array_equal(now.rgb, picture(25)[0]) and np.array_equal(before.rgb, picture(23)[0])
    assert instruction == INSTRUCTION and np.array_equal(others.at(2, 0)[0].rgb, picture(20)[0])


@pytest.mark.parametrize("case", ["missing", "no arrays", "fewer depths"])
def test_a_file_without_frames_is_refused_in_one_line(checkpoint: Path, tmp_path: Path, case: str) -> None:
    file = tmp_path / "others.npz"
    if case != "missing":
        stored = dict(np.load(frames_of_others(file)))
        np.savez(file, **({"rgb": stored["rgb"]} if case == "no arrays" else {**stored, "depth": stored["depth"][1:]}))
    with pytest.raises(InputError, match="^vision_of .*: expected an npz with rgb, depth, ") as refused:
        load_policy(str(checkpoint), vision_of=str(file))
    assert "\n" not in str(refused.value)
