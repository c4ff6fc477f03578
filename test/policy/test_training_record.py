"""What a policy is shown: what was given, else what its checkpoint was trained with, else the usual."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import CompositorConfig
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.training_record import checkpoint_of, resolve, training_notes
from stvla_ros.shared_files import default_checkpoint

INPUTS = {
    "traces": "none",
    "depth": "constant",
    "depth_parameters": {"distance": 0.8},
    "tracker": "lucas_kanade",
    "tracker_parameters": {"max_points": 50},
    "buffer": 7,
    "variant": "A",
    "drawing": {"line_width": 3},
    "adaptive": False,
    "resize": "area",
}

Make = Callable[..., Path]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Make:
    """Makes a folder with a record."""

    def make(**record: object) -> Path:
        (tmp_path / "training.json").write_text(json.dumps(record))
        return tmp_path

    return make


def test_a_record_says_what_its_policy_is_shown(checkpoint: Make) -> None:
    resolved = resolve(str(checkpoint(inputs=INPUTS, execution="chunk")), {})
    assert resolved.inputs == InputsConfig(**INPUTS)
    assert (resolved.execution, resolved.notes) == ("chunk", ())


def test_a_checkpoint_without_a_record_is_shown_the_usual(tmp_path: Path) -> None:
    usual = InputsConfig(buffer=15, resize="area")
    assert resolve(str(tmp_path), {"variant": "B"}, usual=usual).inputs == InputsConfig(
        buffer=15, resize="area", variant="B"
    )
    assert resolve("", {}).inputs == InputsConfig()
    assert resolve(str(tmp_path), {}).execution == "ensemble"


def test_what_a_record_does_not_say_is_the_usual_and_no_difference(checkpoint: Make) -> None:
    folder = str(checkpoint(inputs={"buffer": 7}))
    assert resolve(folder, {"resize": "area"}) == resolve(folder, {}, usual=InputsConfig(resize="area"))
    assert resolve(folder, {"resize": "area"}).notes == ()


GIVEN = {
    "traces": ("rgb", "traces: rgb is used, the checkpoint was trained with none"),
    "depth": ("sensor", "depth: sensor is used, the checkpoint was trained with constant"),
    "depth_parameters": (
        {"distance": 1.5},
        "depth_parameters: {'distance': 1.5} is used, the checkpoint was trained with {'distance': 0.8}",
    ),
    "resize": ("bicubic", "resize: bicubic is used, the checkpoint was trained with area"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_given_wins_and_one_line_says_so(name: str, checkpoint: Make) -> None:
    value, line = GIVEN[name]
    resolved = resolve(str(checkpoint(inputs=INPUTS)), {name: value})
    assert getattr(resolved.inputs, name) == value
    assert resolved.notes == (line,)


def test_every_field_of_the_record_can_be_given(checkpoint: Make) -> None:
    given = {
        "traces": "depth",
        "depth": "sensor",
        "depth_parameters": {},
        "tracker": "cotracker",
        "tracker_parameters": {},
        "buffer": 15,
        "variant": "B",
        "drawing": {},
        "adaptive": True,
        "resize": "bicubic",
    }
    assert given.keys() == INPUTS.keys()
    resolved = resolve(str(checkpoint(inputs=INPUTS)), given)
    assert resolved.inputs == InputsConfig(**given)
    # The parameters of another backend say nothing more.
    assert [note.split(":")[0] for note in resolved.notes] == [
        "traces",
        "depth",
        "tracker",
        "buffer",
        "variant",
        "drawing",
        "adaptive",
        "resize",
    ]
    assert "adaptive: true is used, the checkpoint was trained with false" in resolved.notes


def test_what_changes_nothing_is_no_difference(checkpoint: Make) -> None:
    folder = str(checkpoint(inputs=INPUTS))
    assert resolve(folder, {"buffer": 15, "variant": "B", "adaptive": True, "tracker": "cotracker"}).notes == ()


def test_traces_beside_the_depth_are_for_a_checkpoint_that_was_trained_with_them(checkpoint: Make) -> None:
    beside = {**INPUTS, "traces": "beside", "depth": "sensor", "depth_parameters": {}}
    resolved = resolve(str(checkpoint(inputs=beside)), {"variant": "B"})
    assert (resolved.inputs.traces, resolved.notes) == ("beside", ())
    assert resolve(str(checkpoint(inputs=beside)), {"traces": "none"}).inputs.traces == "none"


@pytest.mark.parametrize("record", [{"inputs": INPUTS}, {}])
def test_any_other_checkpoint_refuses_them_in_one_line(record: dict, checkpoint: Make, tmp_path: Path) -> None:
    folder = checkpoint(**record) if record else tmp_path
    said = rf"\Atraces: expected none, depth or rgb, checkpoint {folder} was not trained with traces beside the depth\Z"
    with pytest.raises(InputError, match=said):
        resolve(str(folder), {"traces": "beside", "depth": "sensor"})
    assert resolve("", {"traces": "beside"}).inputs.traces == "beside"


def test_metres_of_motion_need_a_depth() -> None:
    with pytest.raises(InputError, match="traces: expected none or rgb with depth constant, got 'beside'"):
        InputsConfig(traces="beside", depth="constant")


def test_another_execution_is_a_difference(checkpoint: Make) -> None:
    folder = str(checkpoint(inputs={}, execution="mean_ensemble"))
    assert resolve(folder, {}, "mean_ensemble").notes == ()
    resolved = resolve(folder, {}, "chunk")
    assert resolved.execution == "chunk"
    assert resolved.notes == ("execution: chunk is used, the checkpoint was trained for mean_ensemble",)


def test_another_backend_does_not_get_the_parameters_of_the_one_trained_with(checkpoint: Make) -> None:
    folder = str(checkpoint(inputs=INPUTS))
    assert resolve(folder, {"depth": "sensor"}).inputs.depth_parameters == {}
    assert resolve(folder, {"depth": "constant"}).inputs.depth_parameters == {"distance": 0.8}
    assert resolve(folder, {"tracker": "cotracker"}).inputs.tracker_parameters == {}
    assert resolve(folder, {"depth": "sensor", "depth_parameters": {"a": 1}}).inputs.depth_parameters == {"a": 1}


def test_without_depth_nothing_is_drawn_on_it(checkpoint: Make) -> None:
    folder = str(checkpoint(inputs={"traces": "depth"}))
    resolved = resolve(folder, {"depth": "constant"})
    assert (resolved.inputs.depth, resolved.inputs.traces) == ("constant", "none")
    assert resolved.notes == ("traces: none is used, the checkpoint was trained with depth",)
    with pytest.raises(InputError, match="^traces: expected none or rgb with depth constant, got 'depth'$"):
        resolve(folder, {"depth": "constant", "traces": "depth"})


def test_traces_on_the_depth_ask_for_one_where_none_was_trained_with(checkpoint: Make) -> None:
    folder = checkpoint(inputs=INPUTS)
    with pytest.raises(InputError, match=r"^traces: .*training.json says depth constant: give a depth as well$"):
        resolve(str(folder), {"traces": "depth"})
    assert resolve(str(folder), {"traces": "depth", "depth": "sensor"}).inputs.traces == "depth"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "expected a training configuration with inputs"),
        ("{}", "expected a training configuration with inputs"),
        ('{"inputs": [1]}', r"expected a training configuration with inputs, got \[1\]"),
        ("{", "expected a training configuration"),
        ("\xff", "expected a training configuration"),
        ('{"inputs": {}, "execution": "fast"}', "execution: expected one of receding, chunk, .*, got 'fast'"),
        ('{"inputs": {}, "execution": ["chunk"]}', "execution: expected one of"),
        ('{"inputs": {"bufer": 7}}', r"inputs.bufer: no such key \(did you mean buffer\?\)"),
        ('{"inputs": {"buffer": null}}', "inputs.buffer: expected int, got None"),
        ('{"inputs": {"buffer": 1}}', "inputs.buffer: expected an integer of at least 2 frames"),
        ('{"inputs": {"traces": "red"}}', "inputs.traces: expected one of none, depth, rgb, beside, got 'red'"),
        ('{"inputs": {"adaptive": "yes"}}', "inputs.adaptive: expected bool, got 'yes'"),
        ('{"inputs": {"depth_parameters": []}}', r"inputs.depth_parameters: expected a mapping, got \[\]"),
        ('{"inputs": {"depth": "constant"}}', "inputs.traces: expected none or rgb with depth constant, got 'depth'"),
        ('{"inputs": {"tracker": "mine"}}', r"inputs.tracker: expected one of .*got 'mine' \(of a plug-in that is not"),
        ('{"inputs": {"depth": "mine"}}', r"inputs.depth: expected one of .*got 'mine' \(of a plug-in that is not"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_line_that_names_file_and_key(
    content: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "training.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=rf"\A[^\n]*training.json: {said}[^\n]*\Z"):
        resolve(str(tmp_path), {})


def test_what_is_given_takes_the_place_of_a_plug_in_that_is_not_here(checkpoint: Make) -> None:
    folder = str(checkpoint(inputs={"tracker": "mine", "tracker_parameters": {"a": 1}}))
    resolved = resolve(folder, {"tracker": "lucas_kanade"})
    assert resolved.inputs == InputsConfig()
    assert resolved.notes == ("tracker: lucas_kanade is used, the checkpoint was trained with mine",)


def _adapter(folder: Path, base: str) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def test_an_adapter_was_trained_as_its_own_record_says_else_as_what_it_was_trained_on(
    checkpoint: Make, tmp_path: Path
) -> None:
    base = checkpoint(inputs=INPUTS, execution="chunk")
    adapter = _adapter(tmp_path / "adapter", str(base))
    assert resolve(str(adapter), {}) == resolve(str(base), {})
    (adapter / "training.json").write_text('{"inputs": {"buffer": 9}}')
    assert resolve(str(adapter), {}).inputs == InputsConfig(buffer=9)


def test_an_adapter_whose_checkpoint_is_gone_says_nothing_here(tmp_path: Path) -> None:
    assert resolve(str(_adapter(tmp_path / "adapter", "/none/here")), {}).inputs == InputsConfig()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub client's cache, empty."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_checkpoint_that_was_downloaded_is_read_by_its_id(hub: Path, checkpoint: Make) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = hub / "models--owner--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / revision).symlink_to(checkpoint(inputs=INPUTS))
    assert resolve("owner/model", {}).inputs == InputsConfig(**INPUTS)


def test_a_checkpoint_that_was_not_downloaded_yet_is_said(hub: Path) -> None:
    resolved = resolve("owner/model", {})
    assert resolved.inputs == InputsConfig()
    line = "checkpoint owner/model is not on this machine yet: what it was trained with is not known"
    assert resolved.notes == training_notes("owner/model", InputsConfig()) == (line,)


def test_a_checkpoint_that_is_neither_folder_nor_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^checkpoint: expected a folder"):
        resolve(str(tmp_path / "nowhere"), {})


def test_a_policy_without_a_network_has_no_checkpoint_and_stvla_its_own() -> None:
    assert [checkpoint_of(name, "") for name in ("expert", "random", "stvla", "other")] == [
        "",
        "",
        str(default_checkpoint()),
        "",
    ]
    assert checkpoint_of("stvla", "mine") == checkpoint_of("other", "mine") == "mine"


@pytest.mark.parametrize(
    ("drawing", "said"),
    [
        ({"line_width": 4}, "drawing.line_width: expected an odd number"),
        ({"size": 100}, "drawing: expected some of line_width, .*, got 'size'"),
        ({"age_step": -1}, "drawing.age_step: expected 0 to 100 metres, got -1"),
        ({"near_depth": "far"}, "drawing.near_depth: expected float, got 'far'"),
        ({"ignore_robot": True, "near_depth": 0.3}, "drawing.ignore_robot: expected variant C without a near_depth"),
        ("thin", "drawing: expected a mapping, got 'thin'"),
    ],
)
def test_a_drawing_that_cannot_be_is_one_line(drawing: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}[^\\n]*$"):
        InputsConfig(drawing=drawing)


def test_only_traces_on_the_depth_are_drawn_on_it() -> None:
    drawing = {"line_width": 1, "ignore_robot": True}
    assert InputsConfig(drawing=drawing).perception().compositor == CompositorConfig(line_width=1, ignore_robot=True)
    assert InputsConfig(traces="beside", drawing=drawing).perception().compositor == CompositorConfig()
