"""What others publish becomes a checkpoint, once; and what is none of it is refused in one line."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from st4vla_answers import CASES, GOLDEN, INSTRUCTIONS, same
from tiny_st4vla import (
    STEPS,
    VLM,
    run_config,
    shapes,
    statistics,
    tensors,
    tokenizer,
    vlm_config,
    write_base,
    write_run,
)

from stvla_ros.cli import main
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.families import family_of
from stvla_ros.policy.st4vla import predictor
from stvla_ros.policy.st4vla.conversion import write_converted
from stvla_ros.policy.st4vla.normaliser import unnormalize
from stvla_ros.policy.training_record import resolve

HEAD = f"{VLM}.lm_head.weight"


def refusal(source, base, output, parameters=None) -> str:
    with pytest.raises(InputError) as refused:
        write_converted(source, base, output, "float32", parameters or {})
    assert not output.exists(), "something was made"
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def run(tmp_path):
    """A run of one's own. :returns: its weights' file."""
    return write_run(tmp_path / "run")


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_converted_run_acts_as_the_published_code(converted, monkeypatch):
    policy = load_policy(str(converted), dtype="float32")
    noise = torch.from_numpy(GOLDEN["noise"][:1])
    monkeypatch.setattr(predictor.torch, "randn", lambda *shape, **_: noise)
    pictures, (instruction,) = CASES["resized"]
    answer = policy.predict(pictures[0], INSTRUCTIONS[instruction], "oxe_rt1")
    same(answer.normalized, GOLDEN["resized/sample"][0])
    expected = unnormalize(GOLDEN["resized/sample"][0], policy.statistics["oxe_rt1"])
    for dimension in range(7):
        same(answer.actions[:, dimension] + 1.0, expected[:, dimension] + 1.0)


def test_a_converted_run_has_the_published_tensors_but_the_head_that_is_the_table(converted):
    stored = load_file(converted / "model.safetensors")
    expected = {name: tensor for name, tensor in tensors().items() if name != HEAD}
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in expected.items())


def test_the_action_expert_is_kept_in_float32(base, run_file, tmp_path):
    write_converted(run_file, base, tmp_path / "half", "bfloat16", {})
    stored = load_file(tmp_path / "half/model.safetensors")
    kinds = {name.split(".")[0]: tensor.dtype for name, tensor in stored.items()}
    assert kinds.pop("layer_qformer") == kinds.pop("action_model") == torch.float32
    assert set(kinds.values()) == {torch.bfloat16}


def test_the_command_converts_a_runs_folder_and_tells_its_statistics(base, run, tmp_path, capsys):
    words = ["model", "convert", "--checkpoint", str(run.parents[1]), "--base", str(base)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--output", str(tmp_path / "made")])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "st4vla" in told and "oxe_bridge, oxe_rt1" in told
    assert family_of(tmp_path / "made").name == "st4vla"


def test_a_converted_run_is_shown_and_executed_as_published(converted):
    found = resolve(str(converted), {})
    assert (found.inputs.traces, found.inputs.depth, found.execution) == ("none", "constant", "adaptive_ensemble")


def test_a_configuration_in_json_will_do(base, run, tmp_path):
    (run.parents[1] / "config.yaml").unlink()
    (run.parents[1] / "config.json").write_text(json.dumps(run_config()))
    write_converted(run, base, tmp_path / "made", "float32", {})
    assert (tmp_path / "made/config.json").is_file()


def test_which_of_several_files_is_asked_for(base, run, tmp_path):
    shutil.copyfile(run, run.with_name("steps_60_pytorch_model.pt"))
    message = refusal(run.parents[1], base, tmp_path / "made")
    assert f"steps_{STEPS}_pytorch_model.pt, steps_60_pytorch_model.pt" in message


def test_a_run_without_its_base_is_refused(run, tmp_path):
    assert refusal(run, None, tmp_path / "made").startswith("base: expected the folder of the Qwen2.5-VL")


@pytest.mark.parametrize(
    ("name", "said"), [("config.yaml", "config.yaml or config.json"), ("dataset_statistics.json",) * 2]
)
def test_a_run_that_lacks_a_file_is_refused(base, run, tmp_path, name, said):
    (run.parents[1] / name).unlink()
    assert said in refusal(run, base, tmp_path / "made")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda blocks: blocks["oxe_rt1"]["action"].pop("q01"), "data set 'oxe_rt1': statistics q01"),
        (lambda blocks: blocks["oxe_rt1"]["action"].pop("q99"), "data set 'oxe_rt1': statistics q99"),
        (lambda blocks: blocks["oxe_bridge"].pop("action"), "data set 'oxe_bridge': statistics action"),
        (lambda blocks: blocks["oxe_bridge"]["action"].update(q01=[0.0]), "data set 'oxe_bridge': statistics q01"),
        (lambda blocks: blocks.clear(), "expected at least one data set"),
    ],
)
def test_statistics_without_their_numbers_are_refused(base, run, tmp_path, change, said):
    blocks = statistics()
    change(blocks)
    file = run.parents[1] / "dataset_statistics.json"
    file.write_text(json.dumps(blocks))
    message = refusal(run, base, tmp_path / "made")
    assert said in message and str(file) in message


class Trap:
    """Makes a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(base, run, tmp_path):
    torch.save({**tensors(), "trap": Trap(tmp_path / "sprung")}, run)
    assert str(run) in refusal(run, base, tmp_path / "made")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"not weights", pickle.dumps({"a": 1})],
    ids=["empty", "half an archive", "text", "another pickle"],
)
def test_a_file_of_another_kind_is_refused(base, run, tmp_path, content):
    run.write_bytes(content)
    assert f"{run}: expected a weights-only PyTorch file" in refusal(run, base, tmp_path / "made")


def test_a_cut_file_is_refused(base, run, tmp_path):
    run.write_bytes(run.read_bytes()[:-1000])
    assert f"{run}: expected a weights-only PyTorch file" in refusal(run, base, tmp_path / "made")


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, {1: torch.zeros(1)}])
def test_a_file_without_tensors_by_name_is_refused(base, run, tmp_path, content):
    torch.save(content, run)
    assert f"{run}: expected tensors by name" in refusal(run, base, tmp_path / "made")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("dino_pro.bias"), "1 missing: dino_pro.bias"),
        (lambda state: state.update(more=torch.zeros(2)), "1 not part of the model: more"),
        (lambda state: state.update({"dino_pro.bias": torch.zeros(3)}), "of another shape: dino_pro.bias"),
        (lambda state: state.update({"dino_pro.bias": torch.zeros(32, dtype=torch.int32)}), "floating-point numbers"),
        (lambda state: state.update({HEAD: state[HEAD] + 1}), "tie_word_embeddings"),
        # 4 bytes that say to be 4 GB.
        (lambda state: state.update({"dino_pro.bias": torch.zeros(1).expand(10**9)}), "of another shape"),
    ],
)
def test_tensors_that_are_not_the_models_are_refused(base, run, tmp_path, change, said):
    state = tensors()
    change(state)
    torch.save(state, run)
    assert said in refusal(run, base, tmp_path / "made")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda vlm: vlm.update(num_hidden_layers=5), "missing"),
        (lambda vlm: vlm.update(model_type="llama"), "expected vlm_config.model_type 'qwen2_5_vl', got 'llama'"),
        (lambda vlm: vlm.update(num_attention_heads=4), "mrope_section"),
        (lambda vlm: vlm.update(image_token_id=7), "expected <|image_pad|> to have vlm_config's image_token_id 7"),
        (lambda vlm: vlm["vision_config"].update(patch_size=16), "vision_config.patch_size 14, got 16"),
    ],
)
def test_a_base_that_is_anothers_is_refused(run, tmp_path, change, said):
    base = write_base(tmp_path / "base")
    vlm = vlm_config()
    change(vlm)
    (base / "config.json").write_text(json.dumps(vlm))
    assert said in refusal(run, base, tmp_path / "made")


def test_a_base_whose_tokenizer_has_no_tokens_for_pictures_is_refused(run, tmp_path):
    base = write_base(tmp_path / "base")
    content = json.loads(tokenizer().to_str())
    content["added_tokens"] = [each for each in content["added_tokens"] if each["content"] != "<|vision_start|>"]
    (base / "tokenizer.json").write_text(json.dumps(content))
    assert refusal(run, base, tmp_path / "made").endswith("expected a token <|vision_start|>, there is none")


def test_a_folder_that_is_not_free_is_refused(base, run_file, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/mine").write_text("")
    with pytest.raises(InputError, match="expected a new or empty folder"):
        write_converted(run_file, base, tmp_path / "made", "float32", {})


def test_a_checkpoint_is_not_converted_again(converted, base, tmp_path):
    assert "it is converted already" in refusal(converted, base, tmp_path / "made")


def test_whoever_runs_a_published_run_is_told_to_convert_it(run):
    with pytest.raises(InputError, match=rf"there are pickles: stvla model convert --checkpoint {run} --base"):
        family_of(run.parents[1])


# --- a vision-language model alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("old_names", [False, True])
def test_a_vision_language_model_is_a_start(tmp_path, old_names):
    source = write_base(tmp_path / "vlm", weights=True, old_names=old_names)
    write_converted(source, None, tmp_path / "start", "float32", {"size": "tiny"})
    stored = load_file(tmp_path / "start/model.safetensors")
    for name, tensor in tensors().items():
        if name.startswith(VLM) and name != HEAD:
            assert torch.equal(stored[name], tensor), name
    policy = load_policy(str(tmp_path / "start"), dtype="float32")
    policy.warm_up()
    assert list(policy.statistics) == ["untrained"]


def test_the_same_seed_gives_the_same_start(base, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_converted(base, None, tmp_path / name, "float32", {"size": "tiny", "seed": seed})
    first, again, other = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layer_qformer.query_tokens"], other["layer_qformer.query_tokens"])


def test_a_start_may_have_dinov2s_own_weights(base, tmp_path):
    """The size's DINOv2 is larger by its width than the tiny run's: weights of that size are made up."""
    write_converted(base, None, tmp_path / "plain", "float32", {"size": "tiny"})
    prefix = "dino_encoder.body."
    stored = load_file(tmp_path / "plain/model.safetensors")
    weights = {name.removeprefix(prefix): value + 1 for name, value in stored.items() if name.startswith(prefix)}
    torch.save(weights, tmp_path / "dino.pth")
    write_converted(base, None, tmp_path / "start", "float32", {"size": "tiny", "dino": str(tmp_path / "dino.pth")})
    made = load_file(tmp_path / "start/model.safetensors")
    assert all(torch.equal(made[prefix + name], value) for name, value in weights.items())


def test_dinov2_of_another_size_is_refused(base, tmp_path):
    file = tmp_path / "dino.pth"
    own = {name.removeprefix("dino_encoder.body."): value for name, value in tensors().items() if "dino_enc" in name}
    torch.save(own, file)
    message = refusal(base, None, tmp_path / "made", {"size": "tiny", "dino": str(file)})
    assert str(file) in message and "of another shape: dino_encoder.body.blocks.0" in message


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"size": "huge"}, "size: expected one of tiny, small, 4b"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"steps": 3}, "parameters.steps: no such key"),
        ({"size": "tiny", "dino": "/nowhere.pth"}, "/nowhere.pth: expected a weights-only PyTorch file"),
    ],
)
def test_a_parameter_of_a_start_that_is_wrong_is_named(base, tmp_path, parameters, said):
    assert said in refusal(base, None, tmp_path / "made", parameters)


def test_parameters_are_a_starts_alone(base, run_file, tmp_path):
    assert "parameters: expected none for a run" in refusal(run_file, base, tmp_path / "made", {"size": "tiny"})


def test_a_vision_language_model_that_lacks_a_tensor_is_refused(tmp_path):
    source = write_base(tmp_path / "vlm", weights=True)
    stored = load_file(source / "model.safetensors")
    del stored["model.visual.merger.ln_q.weight"]
    save_file(stored, source / "model.safetensors")
    message = refusal(source, None, tmp_path / "made", {"size": "tiny"})
    assert f"1 missing: {VLM}.model.visual.merger.ln_q.weight" in message


def test_shapes_of_the_tiny_run_are_its_tensors():
    assert {name: tuple(tensor.shape) for name, tensor in tensors().items()} == dict(shapes())
