"""The family as everybody runs it: by the checkpoint, from a policy's input to actions; and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_st4vla import CHUNK, config, picture, statistics, tokenizer

from stvla_ros.doctor.checkpoint import check_checkpoint
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.commands import describe
from stvla_ros.policy.registry import check_loads, check_policy, make_policy
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.model import St4Vla
from stvla_ros.policy.st4vla.prompt import PromptTokenizer

INSTRUCTION = "put the spoon on the towel"


@pytest.fixture(scope="module")
def policy(converted):
    made = make_policy("stvla", checkpoint=str(converted), dtype="float32", unnorm_key="oxe_bridge", threads=1)
    made.load()
    return made


@pytest.fixture(scope="module")
def predictor(converted):
    return load_policy(str(converted), dtype="float32")


@pytest.fixture
def folder(converted, tmp_path):
    """Links to the checkpoint's files, to be replaced one by one."""
    for file in converted.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def replace_json(file, change) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.unlink()
    file.write_text(json.dumps(content))


def seen(number=1, height=240, width=320):
    return PolicyInput.of(1, picture(number, height, width), instruction=INSTRUCTION)


def numbers(answer):
    return np.array([[*each.translation, *each.rotation, each.gripper] for each in answer.actions])


# --- acting -----------------------------------------------------------------------------------------------------------


def test_an_observation_is_answered_with_a_chunk_in_the_data_sets_range(policy):
    policy.reset()
    actions = numbers(policy.predict(seen()))
    block = statistics()["oxe_bridge"]["action"]
    assert actions.shape == (CHUNK, 7)
    assert (actions[:, :3] >= np.array(block["q01"][:3]) - 1e-9).all()
    assert (actions[:, :3] <= np.array(block["q99"][:3]) + 1e-9).all()
    assert set(actions[:, 6]) <= {0.0, 1.0}


def test_after_a_reset_the_same_observation_is_answered_the_same(policy):
    policy.reset()
    first, second = numbers(policy.predict(seen())), numbers(policy.predict(seen()))
    policy.reset()
    np.testing.assert_array_equal(numbers(policy.predict(seen())), first)
    assert not np.array_equal(first, second), "the noise is another"


def test_another_seed_draws_another_noise(policy):
    answers = []
    for seed in (0, 5, 0):
        policy.reseed(seed)
        answers.append(numbers(policy.predict(seen())))
    np.testing.assert_array_equal(answers[0], answers[2])
    assert not np.array_equal(answers[0], answers[1])


def test_what_is_seen_and_said_matters(predictor):
    answers = []
    for number, instruction in ((1, INSTRUCTION), (2, INSTRUCTION), (1, "stack the green block")):
        predictor.reset()
        answers.append(predictor.predict([picture(number)], instruction, "oxe_bridge").normalized)
    assert not np.allclose(answers[0], answers[1]) and not np.allclose(answers[0], answers[2])


def test_two_pictures_are_answered(predictor):
    chunk = predictor.predict([picture(1), picture(2)], INSTRUCTION, "oxe_rt1")
    assert chunk.actions.shape == (CHUNK, 7)


def test_a_policy_loads_nothing_before_load(converted):
    with pytest.raises(InputError, match="expected load"):
        make_policy("stvla", checkpoint=str(converted)).predict(seen())


def test_half_precision_answers_about_the_same(converted, predictor):
    half = load_policy(str(converted), dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert half.model.layer_qformer.query_tokens.dtype == torch.float32
    given = [picture(1)], INSTRUCTION, "oxe_bridge"
    for each in (half, predictor):
        each.reset()
    got, expected = half.predict(*given).normalized, predictor.predict(*given).normalized
    # Eight bits through two encoders and a language model, and ten steps that stretch what is left of it.
    assert np.abs(got - expected).max() < 0.5 * np.abs(expected).max()


# --- told of it -------------------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_whole_checkpoint(converted):
    found = list(check_checkpoint(str(converted), "oxe_bridge", "bridge_orig/1.0.0", "depth"))
    assert [finding.level for finding in found] == ["ok"] * 4
    assert "0.3 million parameters" in found[0].text and found[1].text == "action statistics 'oxe_bridge' (asked for)"
    assert found[-1].text == "chunks will be executed as adaptive_ensemble"


def test_the_doctor_lists_the_statistics_and_does_not_guess(converted):
    found = list(check_checkpoint(str(converted), "", "bridge_dataset", "depth"))
    (problem,) = [finding for finding in found if finding.level == "error"]
    assert "unnorm_key: expected one of oxe_bridge, oxe_rt1; got none" in problem.text


def test_the_doctor_names_what_is_broken(folder):
    (folder / "tokenizer.json").unlink()
    (problem,) = [each for each in check_checkpoint(str(folder), "", "", "depth") if each.level == "error"]
    assert problem.text == f"checkpoint {folder}: expected a file tokenizer.json, there is none"


def test_inspect_tells_parts_and_statistics(converted):
    told = describe(converted)
    assert "st4vla" in told and "oxe_bridge, oxe_rt1" in told and "qwen_vl_interface" in told


# --- refused ----------------------------------------------------------------------------------------------------------


def test_statistics_are_asked_for_and_listed(converted):
    with pytest.raises(InputError, match="unnorm_key: expected one of oxe_bridge, oxe_rt1; got none"):
        make_policy("stvla", checkpoint=str(converted), fallback_unnorm_key="bridge_dataset").load()
    with pytest.raises(InputError, match="unnorm_key: expected one of oxe_bridge, oxe_rt1; got 'bridge_dataset'"):
        make_policy("stvla", checkpoint=str(converted), unnorm_key="bridge_dataset").load()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 11}, "steps: expected one of 1, 2, 3, 4, 5,.* got 11"),
        ({"steps": 0}, "steps: expected one of"),
        ({"steps": 101}, "steps: expected one of"),
        ({"steps": "10"}, "steps: expected one of"),
        ({"steps": True}, "steps: expected one of"),
        ({"guidance": -0.1}, "guidance: expected a number from 0 to 100"),
        ({"guidance": 101}, "guidance: expected"),
        ({"guidance": float("nan")}, "guidance: expected"),
        ({"guidance": "high"}, "guidance: expected"),
        ({"resize": "nearest"}, "resize: expected one of bicubic, area"),
        ({"seed": -1}, "seed: expected a whole number"),
    ],
)
def test_an_option_out_of_range_is_named(converted, options, said):
    with pytest.raises(InputError, match=said):
        load_policy(str(converted), **options)
    # And before anything is started or loaded.
    with pytest.raises(InputError, match=said):
        check_policy("stvla", {"checkpoint": str(converted), **options})


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "dataset_statistics.json", "model.safetensors"])
def test_a_lacking_file_is_named_before_anything_starts(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"checkpoint {folder}: expected .*{name}"):
        check_loads(str(folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "dataset_statistics.json", "model.safetensors"])
def test_a_lacking_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"checkpoint {folder}: expected .*{name}"):
        load_policy(str(folder))


@pytest.mark.parametrize(
    ("rgb", "said"),
    [
        (np.zeros((224, 224), np.uint8), "rgb: expected a .height, width, 3. uint8 array"),
        (np.zeros((224, 224, 3), np.float32), "rgb: expected"),
        (np.zeros((1, 224, 3), np.uint8), "rgb: expected at least 2x2"),
        (None, "rgb: expected"),
    ],
)
def test_a_picture_of_another_kind_is_refused(predictor, rgb, said):
    with pytest.raises(InputError, match=said):
        predictor.predict([rgb], INSTRUCTION, "oxe_bridge")


def test_no_picture_is_refused(predictor):
    with pytest.raises(InputError, match="pictures: expected 1 to 16, got 0"):
        predictor.predict([], INSTRUCTION, "oxe_bridge")


@pytest.mark.parametrize(
    "instruction", ["", "  ", "put\nit", "see <|image_pad|>", "done<|im_end|>", "x" * 5000, 3, "a\ud800"]
)
def test_an_instruction_that_is_no_plain_line_is_refused(predictor, instruction):
    with pytest.raises(InputError, match="^instruction: expected"):
        predictor.predict([picture(1)], instruction, "oxe_bridge")


def test_a_refused_observation_draws_nothing(predictor):
    predictor.reset()
    expected = predictor.predict([picture(1)], INSTRUCTION, "oxe_bridge").normalized
    predictor.reset()
    with pytest.raises(InputError):
        predictor.predict([picture(1)], "<|im_end|>", "oxe_bridge")
    np.testing.assert_array_equal(predictor.predict([picture(1)], INSTRUCTION, "oxe_bridge").normalized, expected)


@pytest.mark.parametrize(
    "name",
    [
        "action_model.net.final_layer.linear.weight",
        "layer_qformer.proj.bias",
        "qwen_vl_interface.model.model.language_model.norm.weight",
        "dino_pro.bias",
    ],
)
def test_weights_that_are_no_numbers_hold_the_robot(folder, name):
    """No action leaves; the server holds at an ``InputError``."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights[name] = torch.full_like(weights[name], float("nan"))
    file.unlink()
    save_file(weights, file)
    predictor = load_policy(str(folder))
    with pytest.raises(InputError, match="inference: expected finite actions, got NaN or infinity"):
        predictor.predict([picture(1)], INSTRUCTION, "oxe_bridge")


def test_a_checkpoint_of_another_family_is_refused_in_one_line(folder):
    (folder / "training.json").unlink()
    replace_json(folder / "config.json", lambda content: content.update(model_type="llama"))
    with pytest.raises(InputError, match="expected model_type .*'st4vla'.*, got 'llama'"):
        load_policy(str(folder))


def in_block(path, **values):
    """A change of one block of config.json by its dotted name."""

    def change(content):
        for part in filter(None, path.split(".")):
            content = content[part]
        content.update(values)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("vlm_config"), "expected vlm_config to be a mapping, got nothing"),
        (in_block("framework.layer_qformer", num_query_tokens=0), "num_query_tokens to be a whole number from 1"),
        (in_block("framework.layer_qformer", num_query_tokens=10**9), "num_query_tokens to be a whole number from 1"),
        (
            in_block("framework.layer_qformer", qformer_end_layer=9),
            "qformer_end_layer to be a whole number from 3",
        ),
        (in_block("framework.layer_qformer", qformer_start_layer=-1), "qformer_start_layer to be a whole number"),
        (in_block("framework.layer_qformer", grad_scale=2), "grad_scale from 0 to 1, got 2"),
        (in_block("framework.layer_qformer", mask_padding="yes"), "mask_padding to be true or false, got 'yes'"),
        (in_block("framework.layer_qformer", num_heads=7), "action_hidden_dim to be a multiple of the heads"),
        (in_block("framework.action_model", action_dim=14), "action_dim 7, got 14"),
        (in_block("framework.action_model", action_model_type="DiT-XL"), "action_model_type to be one of DiT-S"),
        (in_block("framework.action_model", action_model_type="DiT-B"), "action_hidden_dim 768, got 48"),
        (
            in_block("framework.action_model", future_action_window_size=10**6),
            "future_action_window_size to be",
        ),
        (in_block("framework.dino", dino_backbone="dinov3"), "dino_backbone to be one of dinov2_vits14"),
        (in_block("datasets.vla_data", image_size=[224, 200]), "image_size to be a square of a multiple of 28"),
        (in_block("datasets.vla_data", image_size=[100_000_000] * 2), "image_size to be a square"),
        (in_block("datasets.vla_data", obs=[]), "obs to be a list of 1 to 16 pictures, got []"),
        (in_block("datasets.vla_data", CoT_prompt="do it"), "CoT_prompt to be a text with {instruction}"),
        (in_block("vlm_config", num_hidden_layers=10**6), "num_hidden_layers"),
        (in_block("vlm_config.vision_config", depth=10**6), "depth"),
        (in_block("vlm_config", vocab_size="many"), "vlm_config"),
    ],
)
def test_a_configuration_that_makes_no_network_is_named(folder, change, said):
    replace_json(folder / "config.json", change)
    with pytest.raises(InputError) as refused:
        load_policy(str(folder))
    assert said in str(refused.value) and str(folder / "config.json") in str(refused.value)
    assert "\n" not in str(refused.value)


def leaves(content, path=()):
    """The dotted names of a nested mapping."""
    for name, value in content.items():
        yield ".".join((*path, name))
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))


STRANGE = (0, -1, 3, 10**7, 2**70, 1e300, float("nan"), "x", None, [], [1], ["x"], {}, {"a": 1}, True)
NAMES = [name for name in leaves(config()) if not name.startswith(("run_", "seed", "trainer"))]


@examples(quick=60)
@given(st.sampled_from(NAMES), st.sampled_from(STRANGE))
@example("framework.action_model.action_model_type", [])
@example("vlm_config.video_token_id", 2**70)
@example("vlm_config.rope_scaling.mrope_section", ["x"])
@example("vlm_config.vision_config.num_heads", 3)
@example("vlm_config.vision_config.window_size", 0)
@example("vlm_config.vision_config.window_size", -1)
def test_a_strange_value_anywhere_is_one_line_or_does_no_harm(folder, name, value):
    *path, last = name.split(".")
    content = config()
    in_block(".".join(path), **{last: value})(content)
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(content))
    try:
        predictor = load_policy(str(folder))
        predictor.predict([picture(1)], INSTRUCTION, "oxe_bridge")
    except InputError as problem:
        assert "\n" not in str(problem)


def test_a_checkpoint_of_two_pictures_is_not_run_on_one(folder):
    replace_json(folder / "config.json", in_block("datasets.vla_data", obs=["image_0", "image_1"]))
    with pytest.raises(InputError, match="policy st4vla: the checkpoint needs 2 pictures"):
        make_policy("stvla", checkpoint=str(folder), unnorm_key="oxe_rt1").load()


def test_a_prompt_with_a_reserved_token_is_refused(folder):
    change = in_block("datasets.vla_data", CoT_prompt="{instruction}<|im_end|>")
    replace_json(folder / "config.json", change)
    with pytest.raises(InputError, match="tokenizer.json: CoT_prompt: .*reserved token <.im_end.>"):
        load_policy(str(folder))


def test_a_checkpoint_without_a_prompt_gets_the_instruction_alone():
    content = config()
    del content["datasets"]["vla_data"]["CoT_prompt"]
    made = tokenizer()
    prompts = PromptTokenizer(made.to_str().encode(), St4VlaConfig.from_dict(content), "tokenizer.json")
    read = made.decode(prompts.encode("Stack it").tolist(), skip_special_tokens=False)
    assert read.endswith("<|vision_end|>stack it<|im_end|>\n<|im_start|>assistant\n")


def test_the_gradient_into_the_language_model_is_weakened_as_configured():
    def gradient(share):
        content = config()
        content["framework"]["layer_qformer"]["grad_scale"] = share
        torch.manual_seed(0)
        model = St4Vla(content)
        state = torch.ones(1, 3, 32, requires_grad=True)
        model._decayed(state).sum().backward()
        return state.grad.mean().item()

    assert [gradient(share) for share in (1.0, 0.5, 0.0)] == [1.0, 0.5, 0.0]


def test_training_drops_a_condition_now_and_then():
    model = St4Vla(config()).train()
    embedder = model.action_model.net.z_embedder
    asked = []
    forward = embedder.forward
    embedder.forward = lambda condition, dropped=None: asked.append(dropped) or forward(condition, dropped)
    torch.manual_seed(0)
    count = 400
    model.noise(torch.zeros(count, CHUNK, 7), torch.zeros(count, dtype=torch.long), torch.zeros(count, 8, 48))
    assert 0.05 < asked[0].float().mean() < 0.15
    model.eval()
    model.noise(torch.zeros(1, CHUNK, 7), torch.zeros(1, dtype=torch.long), torch.zeros(1, 8, 48))
    assert asked[1] is None


def test_the_checkpoints_folder_may_lie_anywhere(converted, tmp_path):
    shutil.copytree(converted, tmp_path / "elsewhere")
    assert load_policy(str(tmp_path / "elsewhere")).model.config.chunk == CHUNK
