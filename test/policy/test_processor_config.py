"""processor_config.json and tokenizer.json: whatever they say, a chunk is predicted or one line tells why not."""

import shutil

import numpy as np
import pytest
from policy_inputs import BRIDGE, CAMERA, FRACTAL, arguments
from tiny_checkpoint import processor

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy


@pytest.fixture(scope="module")
def details(predictor):
    return predictor.predict(**arguments(), return_details=True)


@pytest.mark.parametrize("file", ["processor_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"garbage", b"\xff\xfe"], ids=repr)
def test_damaged_file_is_named(checkpoint, tmp_path, file, content):
    folder = shutil.copytree(checkpoint, tmp_path / "copy", ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(checkpoint / "model.safetensors")
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"\A[^\n]*{file}[^\n]*\Z"):
        load_policy(str(folder))


PROCESSOR_KEYS = sorted(processor())


@pytest.fixture(scope="module")
def with_processor(predictor):
    """A chunk by the loaded network with another processor_config.json and no intrinsics of the camera's."""

    def run(changed):
        made = type(predictor)(predictor.model, predictor.prompt_tokenizer, changed)
        return made.predict(**arguments())

    return run


@pytest.mark.parametrize("key", PROCESSOR_KEYS)
def test_processor_without_a_key_or_with_nonsense_is_one_line_or_works(with_processor, key):
    for value in (None, "nonsense", -1, 0, [], {}, {"default": {}}, {BRIDGE: None}, {BRIDGE: {"action": {}}}):
        try:
            with_processor({**processor(), key: value})
        except InputError as error:
            assert "\n" not in str(error)
    try:
        with_processor({name: value for name, value in processor().items() if name != key})
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "entry", [None, {}, [], {"width": 640, "height": 480}, {"intrinsic": "K", "width": 640, "height": 480}]
    + [{"intrinsic": CAMERA.tolist(), "width": width, "height": 480} for width in (0, -640, "wide", None)],
    ids=str,
)  # fmt: skip
def test_unusable_published_intrinsics_are_refused_unless_the_camera_has_its_own(predictor, entry):
    changed = {**processor(), "intrinsic_config": {"default": entry}}
    made = type(predictor)(predictor.model, predictor.prompt_tokenizer, changed)
    with pytest.raises(InputError):
        made.predict(**arguments())
    assert made.predict(**arguments(intrinsics=CAMERA)).actions.shape == (4, 7)


def test_data_sets_own_intrinsics_come_before_the_default(predictor, details):
    own = {"intrinsic": [[300, 0, 320], [0, 300, 240], [0, 0, 1]], "width": 640, "height": 480}
    changed = processor()
    changed["intrinsic_config"][FRACTAL] = own
    made = type(predictor)(predictor.model, predictor.prompt_tokenizer, changed)
    moved = made.predict(**arguments(unnorm_key=FRACTAL), return_details=True)
    assert not np.array_equal(moved.xyz, details.xyz)
    np.testing.assert_array_equal(made.predict(**arguments(), return_details=True).xyz, details.xyz)


def test_only_data_set_needs_no_key(predictor, details):
    changed = processor()
    del changed["statistics"][FRACTAL]
    made = type(predictor)(predictor.model, predictor.prompt_tokenizer, changed)
    np.testing.assert_array_equal(made.predict(**arguments(unnorm_key=None)).actions, details.actions)


def test_bins_for_another_number_of_tokens_are_refused(with_processor):
    changed = processor()
    changed["action_config"]["num_bins"]["translation"]["r_bins"] -= 1
    changed["action_config"]["num_bins"]["total"] -= 512
    changed["bin_policy"]["translation"]["r_bins"].pop()
    with pytest.raises(InputError, match="expected bins for the 8194 action tokens of config.json, got bins for 7682"):
        with_processor(changed)
