"""The rules that hold for every file: sizes, kinds, paths, numbers; and where they are raised."""

import contextlib
import json
import os
import socket
import struct
import threading
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal

from stvla_ros.doctor.fastdds import read_profile
from stvla_ros.errors import InputError
from stvla_ros.learning.demonstrations.staging import load_episode
from stvla_ros.perception.depth.pretrained import load_config
from stvla_ros.robots.embodiments import read_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.safe_files import (
    VARIABLE,
    FileLimits,
    check_instruction,
    file_limits,
    json_lines,
    read_bytes,
)
from stvla_ros.safe_paths import fill_template, path_inside
from stvla_ros.settings import load_yaml, parse_mapping
from stvla_ros.sim.remote.protocol import receive

PAGE = Path(__file__).parents[2] / "docs/reference/limits.md"


def test_the_reference_lists_every_limit_with_its_number() -> None:
    page = PAGE.read_text()
    for each in fields(FileLimits):
        assert f"| `{each.name}` | {each.default} |" in page


@pytest.mark.parametrize(
    "text", ["pixels=5", "picture_pixels=0", "picture_pixels=x", "picture_pixels", "picture_pixels=inf"]
)
def test_a_limit_that_is_none_is_refused_by_the_variables_name(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match=VARIABLE):
        file_limits()


def test_limits_are_raised_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "picture_pixels=1e9, json_bytes=5")
    assert (file_limits().picture_pixels, file_limits().json_bytes) == (10**9, 5)
    assert file_limits().chunk_bytes == FileLimits().chunk_bytes


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_read(tmp_path: Path, make) -> None:
    make(tmp_path / "there")
    with pytest.raises(InputError, match="expected a file"):
        read_bytes(tmp_path / "there", "json_bytes")
    with pytest.raises(InputError, match="expected a file"):
        read_bytes(Path("/dev/zero"), "json_bytes")


def test_a_file_that_says_nothing_of_its_size_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_bytes(Path("/proc/self/status"), "json_bytes")
    monkeypatch.setenv(VARIABLE, "json_bytes=10")
    with pytest.raises(InputError, match="at most 10 bytes"):
        read_bytes(Path("/proc/self/status"), "json_bytes")


def test_lines_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"a": 1}\n\n[2]\n')
    assert list(json_lines(file)) == [{"a": 1}, [2]]
    monkeypatch.setenv(VARIABLE, "json_bytes=5")
    with pytest.raises(InputError, match="line 1: expected at most 5 bytes"):
        list(json_lines(file))
    monkeypatch.setenv(VARIABLE, "table_rows=2")
    with pytest.raises(InputError, match="at most 2 lines"):
        list(json_lines(file))


@given(st.text(max_size=60), st.text(max_size=10), st.integers(-5, 10**12))
def test_a_filled_pattern_is_short_or_refused(template: str, word: str, number: int) -> None:
    for pattern in (template, "{a}" + template, "{n:" + template + "}"):
        try:
            filled = fill_template(pattern, {"a": word, "n": number}, "here")
        except InputError as error:
            assert str(error).startswith("here")
        else:
            assert len(filled) <= 500


@given(st.lists(st.sampled_from(["..", ".", "a", "/", "", "\0", "b c", "…", "\\"]), max_size=6))
def test_a_path_inside_stays_inside(parts: list[str]) -> None:
    folder = Path("/data/set")
    try:
        path = path_inside(folder, "/".join(parts), "here")
    except InputError:
        return
    assert os.path.normpath(path).startswith("/data/set/") or os.path.normpath(path) == "/data/set"


@pytest.mark.parametrize("text", [None, 5, b"x", "x" * 1001])
def test_an_instruction_is_a_text_of_a_length(text: object) -> None:
    with pytest.raises(InputError, match="goal: expected"):
        check_instruction(text, "goal")
    assert check_instruction("x" * 1000, "goal")


# --- YAML -------------------------------------------------------------------------------------------------------------

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 12)
)
HOSTILE = {
    "aliases": ALIASES,
    "merges": MERGES,
    "itself": "a: &a [*a]",
    "digits": "tick_hz: " + "9" * 4000,
    "base 60": "tick_hz: 1" + ":1" * 50_000,
    "deep": "[" * 100_000,
    "long": "a: " + "x" * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_robots_file_that_stands_for_gigabytes_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(HOSTILE[name])
    assert "expected" in refusal(lambda: read_embodiment(file), file)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_mapping_given_as_text_is_held_to_the_same(name: str) -> None:
    refusal(lambda: parse_mapping("parameter tracker_parameters", HOSTILE[name]), "parameter tracker_parameters")


def test_aliases_of_every_day_are_followed() -> None:
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}],
    }  # fmt: skip
    assert load_yaml(yaml.safe_dump({"numbers": list(range(20_000))}))["numbers"][-1] == 19_999


# --- XML --------------------------------------------------------------------------------------------------------------

LAUGHS = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b0 "ha">' + "".join(
    f'<!ENTITY b{level} "{f"&b{level - 1};" * 10}">' for level in range(1, 12)
)


def chain(joints: int) -> str:
    links = "".join(f'<link name="l{number}"/>' for number in range(joints + 1))
    return f'<robot name="r">{links}' + "".join(
        f'<joint name="j{number}" type="revolute"><parent link="l{number}"/><child link="l{number + 1}"/>'
        '<axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>'
        for number in range(joints)
    ) + "</robot>"  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [f"{LAUGHS}]><a>&b11;</a>", f'{LAUGHS[:22]}<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "<a>" * 100_000],
)
def test_a_profile_with_entities_of_its_own_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "profile.xml"
    for encoding in ("utf-8", "utf-16"):
        file.write_bytes(content.encode(encoding))
        refusal(lambda: read_profile(file), file)


@pytest.mark.parametrize(
    "content",
    [
        f"{LAUGHS}]><robot name='&b11;'/>",
        "<a>" * 100_000,
        chain(20_000),
        f"<robot>{' ' * 5_000_000}</robot>",
        "<robot/>",
    ],
    ids=["laughs", "deep", "chain", "long", "empty"],
)
def test_a_hostile_robot_description_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "arm.urdf"
    file.write_text(content)
    refusal(lambda: UrdfArm(file, ["j0"], "l1"), file)
    refusal(lambda: UrdfArm(content, ["j0"], "l1"), "robot_description")


def test_a_chain_of_as_many_joints_as_are_let_in_can_be_built() -> None:
    assert UrdfArm(chain(1000), ["j0"], "l1").names == ("j0",)


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_arrays_that_are_packed_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "episode.npz"
    np.savez_compressed(file, rgb=np.zeros(2_000_000_000 // 8))
    assert file.stat().st_size < 3_000_000
    assert "stored as they are" in refusal(lambda: load_episode(file), file)


def test_a_message_of_a_worker_has_at_most_a_gigabyte_of_arrays_all_in_all() -> None:
    ours, theirs = socket.socketpair()
    header = json.dumps({"a": [{"$array": ["|u1", [200 << 20]]}, {"$array": ["|u1", [900 << 20]]}]}).encode()

    def send() -> None:
        with contextlib.suppress(OSError):
            ours.sendall(struct.pack("!I", len(header)) + header + bytes(200 << 20))

    with ours, theirs:
        sender = threading.Thread(target=send)
        sender.start()
        with pytest.raises(ValueError, match="array of uint8 with shape"):
            receive(theirs, 60.0)
        theirs.close()
        sender.join()


@pytest.mark.parametrize(
    "sizes", [{"num_hidden_layers": 10**6}, {"hidden_size": 10**9}, {"image_size": 10**6, "patch_size": 1}]
)
def test_a_depth_network_of_impossible_sizes_is_refused(tmp_path: Path, sizes: dict[str, int]) -> None:
    described = {"model_type": "zoedepth", "backbone_config": {"model_type": "beit", **sizes}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    from transformers import ZoeDepthForDepthEstimation

    line = refusal(lambda: load_config(ZoeDepthForDepthEstimation, str(tmp_path), "x/y"), tmp_path)
    assert "at most" in line and "backbone_config" in line
