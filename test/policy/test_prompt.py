"""Prompts, with the tokenizer of a new checkpoint and with one in the form of Gemma's."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoint
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer
from stvla_ros.policy.spatialvla.vocabulary import SPECIAL_TOKENS, make_tokenizer, training_lines

IMAGE, VOCABULARY = 512, 512 + 1 + 8194
BOS = 2
OURS = make_tokenizer(IMAGE)
GEMMA = tiny_checkpoint.tokenizer().to_str()


def made(content: str = OURS, image: int = IMAGE, vocabulary: int = VOCABULARY, **limits: int) -> PromptTokenizer:
    limits = {"image_tokens": 256, "max_tokens": 128} | limits
    return PromptTokenizer({"tokenizer.json": content.encode()}, image, vocabulary, **limits, source="here")


def made_gemma() -> PromptTokenizer:
    return made(GEMMA, tiny_checkpoint.IMAGE_TOKEN, tiny_checkpoint.VOCABULARY)


PROMPT, GEMMA_PROMPT = made(), made_gemma()
# What instructions may hold: every character but control characters and halves of characters.
words = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)


def words_of(ids: np.ndarray, content: str = OURS) -> str:
    return Tokenizer.from_str(content).decode(ids[257:].tolist(), skip_special_tokens=False)


def test_a_prompt_is_the_picture_then_bos_the_lower_cased_instruction_and_a_line_end() -> None:
    ids = PROMPT.encode("Put the Spoon on the towel")
    assert ids.dtype == np.int64
    assert (ids[:256] == IMAGE).all()
    assert ids[256] == BOS
    assert words_of(ids) == "put the spoon on the towel\n"


def test_the_number_of_picture_tokens_is_the_models() -> None:
    ids = made(image_tokens=9).encode("stop")
    assert (ids == IMAGE).sum() == 9
    assert ids[9] == BOS


def test_case_and_outer_whitespace_do_not_matter() -> None:
    assert (PROMPT.encode(" \n Close Drawer\t\n") == PROMPT.encode("close drawer")).all()


@pytest.mark.parametrize("tokenizer, content", [(PROMPT, OURS), (GEMMA_PROMPT, GEMMA)], ids=["ours", "gemma"])
@pytest.mark.parametrize("text", ["把胡萝卜放在盘子上", "🥕➡️🍽️", "cafe\u0301", "ضع الملعقة", "👩‍🔧 a\u200db"])
def test_any_script_can_be_spelt(tokenizer: PromptTokenizer, content: str, text: str) -> None:
    assert words_of(tokenizer.encode(text), content) == text + "\n"


@given(words)
def test_every_text_is_encoded_losslessly_or_refused_as_bad_input(text: str) -> None:
    for tokenizer, content in ((PROMPT, OURS), (GEMMA_PROMPT, GEMMA)):
        try:
            ids = tokenizer.encode(text)
        except InputError as error:
            assert "\n" not in str(error)
            assert not text.strip() or "reserved token" in str(error) or "at most" in str(error)
        else:
            assert words_of(ids, content) == text.strip().lower() + "\n"


@given(words, st.sampled_from(["<image>", "<IMAGE>", "<bos>", "<eos>", "<pad>", "<unk>"]), words)
def test_special_tokens_in_an_instruction_are_refused(before: str, token: str, after: str) -> None:
    with pytest.raises(InputError, match=f"reserved token {token.lower()}$"):
        PROMPT.encode(before + token + after)


@given(words, st.sampled_from(["<ACTION00000>", "<ACTION08193>", "<loc0001>", "<seg001>", "<image>"]), words)
def test_no_instruction_puts_an_image_or_action_token_into_the_prompt(before: str, token: str, after: str) -> None:
    for tokenizer, image in ((PROMPT, IMAGE), (GEMMA_PROMPT, tiny_checkpoint.IMAGE_TOKEN)):
        try:
            ids = tokenizer.encode(before + token + after)
        except InputError:
            continue
        assert (ids >= image).sum() == 256


def test_a_location_token_of_the_published_tokenizer_is_refused() -> None:
    with pytest.raises(InputError, match="plain words, it contains the reserved token <loc0001>$"):
        GEMMA_PROMPT.encode("go to <loc0001>")


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u3000"])
def test_a_blank_instruction_is_refused(blank: str) -> None:
    with pytest.raises(InputError, match="^instruction: expected an instruction in words, got a blank text$"):
        PROMPT.encode(blank)


@pytest.mark.parametrize("value", [None, 3, b"stop", ["stop"]])
def test_only_text_is_an_instruction(value: object) -> None:
    with pytest.raises(InputError, match=f"^instruction: expected text, got {type(value).__name__}$"):
        PROMPT.encode(value)


@pytest.mark.parametrize("character", ["\n", "\t", "\0", "\x1b", "\x85", "\ud800"])
def test_a_control_character_inside_is_refused(character: str) -> None:
    with pytest.raises(InputError, match=rf"control character U\+{ord(character):04X}$"):
        PROMPT.encode(f"a{character}b")


def test_as_many_tokens_as_allowed_are_encoded_and_one_more_is_refused_with_their_number() -> None:
    assert len(PROMPT.encode("put" + " the" * 126)) == 256 + 1 + 128
    with pytest.raises(InputError, match="^instruction: expected at most 128 tokens, got 129$"):
        PROMPT.encode("put" + " the" * 127)


def test_a_huge_instruction_is_refused_unread() -> None:
    with pytest.raises(InputError, match="^instruction: expected at most 1000 characters, got 50000000 "):
        PROMPT.encode("x" * 50_000_000)


@pytest.mark.parametrize("unknown_token", ["<unk>", None])
def test_what_the_vocabulary_cannot_spell_is_named(unknown_token: str | None) -> None:
    tokens = ["<unk>", "<bos>", "<image>", "\n", *"abcdefghijklmnopqrstuvwxyz "]
    model = models.BPE({token: number for number, token in enumerate(tokens)}, [], unk_token=unknown_token)
    plain = Tokenizer(model)
    plain.add_special_tokens(["<bos>", "<image>"])
    tokenizer = made(plain.to_str(), 2, len(tokens))
    assert len(tokenizer.encode("put it down")) == 257 + 12
    with pytest.raises(InputError, match=r"vocabulary can spell, it lacks '漢' \(U\+6F22\)$"):
        tokenizer.encode("put 漢 down")


def test_ids_beyond_the_models_vocabulary_are_refused() -> None:
    tokens = ["<bos>", "<image>", "\n", "a", "b"]
    plain = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    plain.add_special_tokens(["<bos>", "<image>"])
    tokenizer = made(plain.to_str(), 1, 4)
    assert tokenizer.encode("a")[-2] == 3
    with pytest.raises(InputError, match="^here: expected ids below the model's 4, got 4 for 'b'$"):
        tokenizer.encode("ab")


def test_a_tokenizer_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match="expected <image> to have config.json's image token id 600, got 512$"):
        made(image=600)
    with pytest.raises(InputError, match="expected <image> inside the model's 100 ids, it is 512$"):
        made(vocabulary=100)
    with pytest.raises(InputError, match="expected a token <image>, there is none$"):
        made(Tokenizer(models.BPE({"<bos>": 0}, [])).to_str())


def test_truncation_and_padding_that_a_file_asks_for_are_ignored() -> None:
    tokenizer = Tokenizer.from_str(OURS)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    assert (made(tokenizer.to_str()).encode("open the top drawer") == PROMPT.encode("open the top drawer")).all()


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^checkpoint {tmp_path}: expected a file tokenizer.json, there is none$"):
        PromptTokenizer.load(tmp_path, IMAGE, VOCABULARY)


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "\x00\xff", OURS[: len(OURS) // 2]])
def test_a_damaged_tokenizer_is_one_line(tmp_path: Path, damage: str) -> None:
    (tmp_path / "tokenizer.json").write_text(damage)
    with pytest.raises(InputError, match=f"^{tmp_path}/tokenizer.json: expected (a tokenizer|JSON).*$") as caught:
        PromptTokenizer.load(tmp_path, IMAGE, VOCABULARY)
    assert "\n" not in str(caught.value)


def test_saving_writes_back_what_was_loaded(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    (source / "tokenizer.json").write_text(OURS)
    (source / "tokenizer_config.json").write_text("{}")
    (source / "other.json").write_text("{}")
    PromptTokenizer.load(source, IMAGE, VOCABULARY).save(target)
    assert sorted(file.name for file in target.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    assert (target / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def test_the_new_tokenizer_is_the_same_every_time() -> None:
    assert make_tokenizer(IMAGE) == OURS


def test_the_new_tokenizer_has_ids_up_to_the_last_action_token_without_a_hole() -> None:
    vocabulary = json.loads(make_tokenizer(600))["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(600 + 1 + 8194))
    assert {token: vocabulary[token] for token in SPECIAL_TOKENS} == {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
    assert vocabulary["<image>"] == 600
    assert vocabulary["<ACTION00000>"] == 601
    assert vocabulary["<ACTION08193>"] == 601 + 8193


def test_manipulation_instructions_are_short() -> None:
    counts = [len(PROMPT.encode(line)) - 257 for line in set(training_lines())]
    assert max(counts) <= 12
    assert np.mean(counts) <= 8
