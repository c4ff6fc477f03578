"""New checkpoints with random weights, and their tokenizer."""

import json

import pytest
from tokenizers import Tokenizer

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.families import find_family
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.create import create_checkpoint
from stvla_ros.policy.st4vla.prompt import PromptTokenizer
from stvla_ros.policy.st4vla.sizes import PUBLISHED_SPECIAL, SMALL_SPECIAL, config_of_size, size_names
from stvla_ros.policy.st4vla.vocabulary import make_tokenizer
from stvla_ros.policy.tokenizer_files import checked_tokenizer
from stvla_ros.policy.typical_instructions import typical_instructions


@pytest.fixture(scope="module")
def small_tokenizer():
    return make_tokenizer(SMALL_SPECIAL)


def test_a_new_checkpoint_can_be_run(tmp_path):
    find_family("st4vla").create(tmp_path / "new", "tiny", 0)
    policy = load_policy(str(tmp_path / "new"))
    policy.warm_up()
    assert list(policy.statistics) == ["untrained"]


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        create_checkpoint(tmp_path / name, "tiny", seed)
    contents = {
        name: {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("a", "b", "c")
    }
    assert contents["a"] == contents["b"] and contents["a"].keys() == contents["c"].keys()
    assert contents["a"]["model.safetensors"] != contents["c"]["model.safetensors"]


def test_weights_in_several_files_are_read(tmp_path):
    create_checkpoint(tmp_path / "split", "tiny", max_shard_size=200_000)
    assert len(list((tmp_path / "split").glob("model-*.safetensors"))) > 2
    load_policy(str(tmp_path / "split")).warm_up()


@pytest.mark.parametrize(("size", "seed", "said"), [("large", 0, "size: expected one of"), ("tiny", -1, "seed: ")])
def test_a_wrong_argument_makes_nothing(tmp_path, size, seed, said):
    with pytest.raises(InputError, match=said):
        create_checkpoint(tmp_path / "new", size, seed)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("size", size_names())
def test_the_configuration_of_every_size_is_written_as_it_is_read(size):
    content = config_of_size(size)
    assert St4VlaConfig.from_dict(content).published == content


def test_the_published_sizes_numbers():
    config = St4VlaConfig.from_dict(config_of_size("4b"))
    assert (config.first_state, config.end_state, config.queries, config.chunk) == (36, 37, 64, 16)
    assert (config.width, config.blocks, config.heads, config.picture_tokens) == (768, 12, 12, 64)


def test_the_same_tokenizer_is_made_again(small_tokenizer):
    assert make_tokenizer(SMALL_SPECIAL) == small_tokenizer


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_the_new_tokenizer_belongs_to_the_size(small_tokenizer, size):
    config = St4VlaConfig.from_dict(config_of_size(size))
    ids = PromptTokenizer(small_tokenizer.encode(), config, "tokenizer.json").encode("stack the green block")
    assert (ids == config.vlm.image_token_id).sum() == 64 and ids.max() < config.vlm.text_config.vocab_size


def test_the_published_size_has_its_special_tokens_where_they_are_published():
    """As Qwen2.5's tokenizer has them; of ids that BPE does not need, no text is ever read as one."""
    made = checked_tokenizer(make_tokenizer(PUBLISHED_SPECIAL).encode(), "tokenizer.json")
    ids = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|vision_start|>": 151652}
    ids |= {"<|vision_end|>": 151653, "<|image_pad|>": 151655, "<|video_pad|>": 151656}
    assert {token: made.token_to_id(token) for token in ids} == ids
    assert made.encode("<unused7>").tokens != ["<unused7>"]


def test_a_word_of_an_instruction_takes_about_a_token(small_tokenizer):
    made = Tokenizer.from_str(small_tokenizer)
    lines = sorted(set(typical_instructions()))
    words = sum(len(line.split()) for line in lines)
    assert sum(len(made.encode(line).ids) for line in lines) < 1.2 * words


def test_digits_are_tokens_of_their_own(small_tokenizer):
    tokens = Tokenizer.from_str(small_tokenizer).encode('{"bbox_2d": [12, 345]}').tokens
    assert [token for token in tokens if token.strip("Ġ").isdigit()] == list("212345")


def test_numbers_of_the_small_size(tmp_path):
    find_family("st4vla").create(tmp_path / "new", "small", 0)
    parts = find_family("st4vla").inspect(tmp_path / "new").parts
    assert 5e6 < sum(parts.values()) < 8e6
    assert sum(file.stat().st_size for file in (tmp_path / "new").iterdir()) < 25e6
    assert json.loads((tmp_path / "new/training.json").read_text())["family"] == "st4vla"
