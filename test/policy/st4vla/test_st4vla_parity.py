"""Numbers that the published InternVLA-M1 code gave for the tiny run, against ours.

``data/st4vla_reference.npz`` was recorded with the classes of InternRobotics/InternVLA-M1 (949223b; transformers
4.52.3, torch 2.13.0, float32 on the CPU, eager attention), DINOv2's own and CogACT's ensemble, loaded by their
``from_pretrained`` from the folders that ``tiny_st4vla`` writes; asked through ``predict_action``, so with its prompt,
its processor and its resizing. What was changed there: the sizes of DINOv2 and the DiT, where the weights are found,
and the noise, which is recorded.
"""

import hashlib

import numpy as np
import pytest
import torch
from st4vla_answers import CASES, GOLDEN, INSTRUCTIONS, difference, inputs, same, tiny_model
from tiny_st4vla import END_STATE, config, shapes, statistics, tensor, tokenizer

from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.diffusion import add_noise, remaining
from stvla_ros.policy.st4vla.normaliser import unnormalize
from stvla_ros.policy.st4vla.prompt import PromptTokenizer

STEPS, GUIDANCE = (1, 4, 5, 10, 20), (1.0, 1.5, 3.0)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_weights_are_those_that_the_reference_ran_with():
    digest = hashlib.sha256(b"".join(tensor(name, shape).tobytes() for name, shape in shapes())).hexdigest()
    assert digest == str(GOLDEN["weights"])


@pytest.mark.parametrize("case", [case for case, (pictures, _) in CASES.items() if len(pictures) == 1])
def test_prompt_is_the_references(case):
    prompts = PromptTokenizer(tokenizer().to_str().encode(), St4VlaConfig.from_dict(config()), "tokenizer.json")
    pictures, (instruction,) = CASES[case]
    encoded = prompts.encode(INSTRUCTIONS[instruction], views=len(pictures[0]))
    assert encoded.tolist() == GOLDEN[f"{case}/input_ids"][0].tolist()


@pytest.mark.parametrize("case", CASES)
def test_pictures_are_the_references(case):
    made = inputs(case)
    assert made["pixel_values"].shape[1] == 1176
    assert made["image_grid_thw"].tolist() == GOLDEN[f"{case}/grid"].tolist()
    same(made["pixel_values"][::37, ::11], GOLDEN[f"{case}/pixel_values"])
    same(made["dino_pixels"][:, :, ::23, ::23], GOLDEN[f"{case}/dino_pixels"])


@pytest.mark.parametrize("case", CASES)
def test_language_states_are_the_references(model, case):
    given = inputs(case)
    del given["dino_pixels"]
    states = torch.stack(model.language_states(**given))
    seen = GOLDEN[f"{case}/attention_mask"][:, ::5].astype(bool)  # what stands at padding is nobody's business
    same(states[:, :, ::5][:, seen], GOLDEN[f"{case}/states"][:, seen])


@pytest.mark.parametrize("case", CASES)
def test_the_last_state_alone_is_the_references(case):
    """As the published policies read it: the one after the final norm."""
    model = tiny_model(qformer_start_layer=END_STATE - 1)
    given = inputs(case)
    del given["dino_pixels"]
    (state,) = model.language_states(**given)
    seen = GOLDEN[f"{case}/attention_mask"][:, ::5].astype(bool)
    same(state[:, ::5][seen], GOLDEN[f"{case}/states"][-1][seen])


@pytest.mark.parametrize("case", CASES)
def test_dino_tokens_are_the_references(model, case):
    same(model.dino_encoder(inputs(case)["dino_pixels"])[:, ::9], GOLDEN[f"{case}/dino"])


@pytest.mark.parametrize("case", [case for case in CASES if case != "unequal"])
def test_features_are_the_references(model, case):
    same(model.features(**inputs(case)), GOLDEN[f"{case}/features"])


def test_noise_left_after_each_step_is_the_references():
    np.testing.assert_allclose(remaining(), GOLDEN["dit/alphas"], rtol=1e-9)


def test_added_noise_is_the_references():
    actions, times = torch.from_numpy(GOLDEN["dit/actions"]), torch.from_numpy(GOLDEN["dit/times"])
    same(add_noise(actions, torch.from_numpy(GOLDEN["noise"]), times), GOLDEN["dit/noisy"])


def test_found_noise_is_the_references(model):
    given = [torch.from_numpy(GOLDEN[f"dit/{name}"]) for name in ("actions", "times", "condition")]
    same(model.noise(*given), GOLDEN["dit/noise"])


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("guidance", GUIDANCE)
def test_sampled_chunk_is_the_references(model, steps, guidance):
    condition = torch.from_numpy(GOLDEN["one/features"])
    sampled = model.sample(condition, torch.from_numpy(GOLDEN["noise"][:1]), steps, guidance)
    same(sampled[0], GOLDEN[f"sampled/{steps}/{guidance}"])


@pytest.mark.parametrize("case", [case for case in CASES if case != "unequal"])
def test_chunk_of_pictures_and_words_is_the_references(model, case):
    sampled = model.sample(model.features(**inputs(case)), torch.from_numpy(GOLDEN["noise"][:1]), 10, 1.5)
    same(sampled, GOLDEN[f"{case}/sample"])


@pytest.mark.parametrize("key", ["oxe_bridge", "oxe_rt1", "without_mask"])
def test_actions_are_the_references(key):
    block = statistics()["oxe_bridge" if key == "without_mask" else key]
    if key == "without_mask":
        del block["action"]["mask"]
    actions = unnormalize(GOLDEN["unnormalize/normalized"], ActionStatistics.from_config(block))
    for dimension in range(7):  # metres beside radians
        same(actions[:, dimension], GOLDEN[f"unnormalize/{key}"][:, dimension])


# --- where ours is another, on purpose --------------------------------------------------------------------------------


def test_without_a_mask_padding_leaks_as_in_the_reference(model):
    """The padded row is seen by the queries: the state at its places is nobody's, but it has to be the reference's."""
    features = model.features(**inputs("unequal"))
    same(features[1], GOLDEN["unequal/features"][1])  # the longer prompt has no padding
    assert difference(features[0], GOLDEN["one/features"][0]) > 1e-3


def test_with_the_mask_a_batch_of_unequal_prompts_says_what_each_says_alone():
    features = tiny_model(mask_padding=True).features(**inputs("unequal"))
    same(features[0], GOLDEN["one/features"][0])
    same(features[1], GOLDEN["unequal/features"][1])
