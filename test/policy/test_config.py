"""config.json: whatever it says, a network is made or one line tells why not."""

import copy
import re

import pytest
from tiny_checkpoint import config

from stvla_ros.errors import InputError
from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "[" * 100_000], ids=lambda content: content[:9])
def test_config_that_is_no_json_object_is_refused_by_name(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=rf"\A{tmp_path / 'config.json'}: expected [^\n]*\Z"):
        SpatialVlaConfig.read(tmp_path)


@pytest.mark.parametrize("model_type", ["paligemma", "gemma2", None, 3, []])
def test_other_models_config_is_refused(model_type):
    with pytest.raises(InputError, match="^here: expected model_type 'spatialvla', got "):
        SpatialVlaConfig.from_dict({**config(), "model_type": model_type}, "here")


# Smaller still, so that making the network takes little.
def small_config():
    made = config()
    made["vision_zoe_config"]["backbone_config"]["image_size"] = 64
    made["vision_zoe_config"]["num_patch_transformer_layers"] = 1
    made["text_config"]["num_hidden_layers"] = made["vision_config"]["num_hidden_layers"] = 1
    return made


def key_paths(mapping, above=()):
    for key, value in mapping.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from key_paths(value, (*above, key))


KEY_PATHS = list(key_paths(config()))
DELETE = object()


def make_or_refuse(path, value):
    """A network is made, or one line tells why not; anything else fails the test."""
    changed = copy.deepcopy(small_config())
    *above, key = path
    part = changed
    for name in above:
        part = part[name]
    if value is DELETE:
        del part[key]
    else:
        part[key] = value
    try:
        empty_model(SpatialVlaConfig.from_dict(changed, "config.json"))
    except InputError as error:
        assert re.fullmatch(r"config\.json: .+", str(error)), str(error)


@pytest.mark.parametrize("path", KEY_PATHS, ids=".".join)
def test_config_without_a_key_or_with_a_negative_value_is_one_line_or_works(path):
    make_or_refuse(path, DELETE)
    make_or_refuse(path, -1)


@pytest.mark.slow
@pytest.mark.parametrize("path", KEY_PATHS, ids=".".join)
def test_config_with_any_nonsense_is_one_line_or_works(path):
    for value in (None, "nonsense", 0, -3.5, [], {}, True, 7, float("nan"), [1, 2], {"a": {}}):
        make_or_refuse(path, value)


@pytest.mark.parametrize(
    "path",
    ["text_config", "vision_config", "vision_zoe_config", "image_token_index", "action_token_begin_idx"]
    + ["spatial_token_num", "ego3d_patch_reso", "n_freqs"],
)
def test_missing_key_is_named(path):
    with pytest.raises(InputError, match=f"^here: expected the key '{path}', it is missing$"):
        SpatialVlaConfig.from_dict({key: value for key, value in config().items() if key != path}, "here")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("spatial_token_num",), 0, "spatial_token_num to be a whole number of at least 1"),
        (("spatial_token_num",), 9000, "action tokens inside the vocabulary"),
        (("action_token_begin_idx",), -5, "action tokens inside the vocabulary"),
        (("ego3d_patch_reso",), 3, "multiple of patch_size"),
        (("vision_config", "patch_size"), 15, "multiple of patch_size"),
        (("vision_config", "patch_size"), 0, "patch_size to be a whole number of at least 1"),
        (("vision_config", "projection_dim"), 65, "projection_dim"),
        (("text_config", "sliding_window"), 100, "sliding_window to hold every prompt"),
        (("use_vision_zoe",), False, "use_vision_zoe: true"),
        (("use_spatial_token",), False, "use_spatial_token: true"),
    ],
)
def test_values_that_do_not_belong_together_are_named(path, value, message):
    changed = config()
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(InputError, match=f"^here: expected [^\n]*{message}"):
        SpatialVlaConfig.from_dict(changed, "here")
