"""What a language model wrote, read as boxes, points and ways: whatever it wrote."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.policy.grounding.answers import BOXES, POINTS, WAY, parse_answer
from stvla_ros.policy.grounding.places import box_text, path_text, point_text

PIXEL = st.integers(0, 224)
PLACES = st.tuples(PIXEL, PIXEL)
LABELS = st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), max_size=20)


def read(text: str):
    return parse_answer(text, 224, (448, 224))


@examples(quick=100)
@given(
    st.lists(st.tuples(PLACES, LABELS), max_size=4),
    st.lists(PLACES, max_size=8),
    st.sampled_from(["{}", "```json\n[{}]\n```"]),
)
def test_what_is_written_is_read_again(points, way, around) -> None:
    parts = [point_text(place, label) for place, label in points] + ([path_text(way, "gripper")] if way else [])
    found = read(around.replace("{}", ",\n".join(parts)))
    if points:
        np.testing.assert_allclose(found[POINTS].places, [[2.0 * x, y] for (x, y), _ in points])
        assert found[POINTS].labels == tuple(label for _, label in points)
    if way:
        np.testing.assert_allclose(found[WAY].places, [[2.0 * x, y] for x, y in way])
        assert found[WAY].is_path
    assert set(found) == ({POINTS} if points else set()) | ({WAY} if way else set())


@pytest.mark.parametrize(
    "text",
    [
        box_text((10, 20, 30, 40), "plate"),
        '{"label": "plate", "bbox_2d": [10,20,30,40]}',
        'Sure! {"response": "ok"} [{"bbox_2d": [30, 40, 10, 20], "label": "plate"}, {"bbox_2d": [1, 2, 3',
        '{"bbox_2d": [10.0, 20.0, 30.0, 40.0], "label": "plate"',
        '{"point_2d": [, ], "label": "nothing"} {"bbox_2d": [10, 20, 30, 40], "label": "plate"}',
    ],
)
def test_a_box_is_read_however_much_is_wrong_around_it(text: str) -> None:
    found = read(text)
    assert found[BOXES].corners.tolist() == [[20.0, 20.0, 60.0, 40.0]] and found[BOXES].labels == ("plate",)


def test_numbers_in_brackets_are_places_without_labels() -> None:
    found = read("the cup <box>[[10, 20, 30, 40]]</box> and points (5, 6), [7, 8]")
    assert found[BOXES].corners.tolist() == [[20, 20, 60, 40]] and found[BOXES].labels == ("",)
    assert found[POINTS].places.tolist() == [[10, 6], [14, 8]]


@pytest.mark.parametrize(
    "text",
    ["", "I do not see it.", "[1, 2, 3]", "[5, 5, 5, 9]", "{[}]", '{"bbox_2d": null}', "[1e9, 2]", "[[[[", "(1, nan)"],
)
def test_what_holds_no_place_is_read_as_none(text: str) -> None:
    assert read(text) == {}


def test_what_reaches_beyond_the_picture_is_cut() -> None:
    found = read("[-50, 10, 9999, 20] (300, 300)")
    assert found[BOXES].corners.tolist() == [[0, 10, 448, 20]] and found[POINTS].places.tolist() == [[448, 224]]


@examples(quick=300)
@given(st.text(alphabet='[](){}0123456789,.-":bopintx_2dlaejcry \n', max_size=200))
def test_no_text_is_too_strange(text: str) -> None:
    for thought in read(text).values():
        places = getattr(thought, "corners", None) if hasattr(thought, "corners") else thought.places
        assert np.isfinite(places).all() and (places >= 0).all() and (places <= 448).all()


def test_thousands_of_places_are_not_all_drawn() -> None:
    assert len(read("[1, 2] " * 5000)[POINTS].places) == 256
