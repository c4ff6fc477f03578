"""What a camera's streams say of themselves, and what is held against them."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.perception.stream_checks import (
    HOLD_S,
    AlternatingPictures,
    ClockWatch,
    DepthWatch,
    FrozenPicture,
    look_at_depth,
)

SECOND = 1_000_000_000
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_the_same_picture_under_new_stamps_is_frozen_for_their_difference() -> None:
    watch = FrozenPicture()
    assert [watch.update(PICTURE, stamp * SECOND) for stamp in (5, 6, 8)] == [0.0, 1.0, 3.0]


def test_one_changed_value_ends_it() -> None:
    watch = FrozenPicture()
    watch.update(PICTURE, 0)
    changed = PICTURE.copy()
    changed[4, 7, 1] ^= 1
    assert watch.update(changed, SECOND) == 0.0
    assert watch.update(changed, 2 * SECOND) == 1.0


def test_another_size_or_an_earlier_stamp_starts_anew() -> None:
    watch = FrozenPicture()
    watch.update(PICTURE, 5 * SECOND)
    assert watch.update(PICTURE[:24], 6 * SECOND) == 0.0
    assert watch.update(PICTURE[:24], SECOND) == 0.0


def test_a_driver_that_sends_its_last_buffers_in_turn_is_frozen() -> None:
    watch = FrozenPicture()
    buffers = [PICTURE + number for number in range(3)]
    said = [watch.update(buffers[index % 3], index * SECOND) for index in range(9)]
    assert said == [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_the_buffer_that_was_seen_may_be_written_again() -> None:
    watch = FrozenPicture()
    buffer = PICTURE.copy()
    watch.update(buffer, 0)
    buffer += 1
    assert watch.update(buffer, SECOND) == 0.0


# --- depth -----------------------------------------------------------------------------------------------------------

TABLE = np.linspace(700, 1100, 48)[:, None].repeat(64, 1).astype(np.uint16)


def watched(*maps: np.ndarray, period_s: float = 0.1) -> list[str]:
    watch = DepthWatch()
    return [watch.update(each, round(index * period_s * SECOND)) for index, each in enumerate(maps)]


def test_a_constant_depth_is_no_sensor_that_hangs_whatever_the_stamps_do() -> None:
    watch, pictures = DepthWatch(), np.random.default_rng(3).integers(0, 256, (40, 48, 64, 3), np.uint8)
    stamps = [*([0] * 10), *(100 + index for index in range(10)), *(1_000_000 + index for index in range(20))]
    assert {watch.update(TABLE, stamp * SECOND, rgb) for stamp, rgb in zip(stamps, pictures, strict=True)} == {""}


@pytest.mark.parametrize(("side", "levels", "hangs"), [(40, 60, True), (40, 10, False), (8, 60, False)])
def test_a_depth_that_stands_still_hangs_only_if_something_moved(side: int, levels: int, hangs: bool) -> None:
    """A simulated arm at rest changes the colour of single edges, and no distance by a millimetre."""
    watch, random, table = DepthWatch(), np.random.default_rng(4), np.tile(TABLE, (4, 4))
    for index in range(40):
        depth = table + random.integers(0, 9, table.shape, np.uint16) if index < 10 else table
        rgb = np.full((*table.shape, 3), 100, np.uint8)
        if index > 10:
            rgb[:side, :side] += levels
        said = watch.update(depth, index * SECOND // 10, rgb)
    assert ("no new depth" in said) == hangs


def test_a_table_is_nothing_to_speak_of() -> None:
    assert watched(*[TABLE] * 20) == [""] * 20
    assert watched(*[TABLE.astype(np.float32) * 1e-3] * 20) == [""] * 20


@pytest.mark.parametrize("dead", [np.zeros((48, 64), np.uint16), np.full((48, 64), np.nan, np.float32)])
def test_a_sensor_that_sees_no_distance_any_more_is_told_after_a_second(dead: np.ndarray) -> None:
    said = watched(*[dead] * 20)
    assert said[: round(HOLD_S * 10) + 1] == [""] * 11
    assert said[12] == "0.0% of the pixels have a distance, for 1.2 s"


def test_a_sensor_that_is_covered_for_a_moment_is_nothing_to_speak_of() -> None:
    assert watched(*([TABLE] + [TABLE * 0] * 9) * 3) == [""] * 30


def test_metres_that_are_millimetres_are_told_with_the_first_map() -> None:
    (said,) = watched(TABLE.astype(np.float32))
    assert said.startswith("a median distance of 904 m is not that of a table; as millimetres it would be")


def test_metres_that_are_written_as_millimetres_are_told() -> None:
    (said,) = watched(np.ones((48, 64), np.uint16))
    assert said.startswith("a median distance of 0.001 m is not that of a table: another unit")


@pytest.mark.parametrize("maximum", [65535, 10_000])
def test_a_saturated_sensor_is_told(maximum: int) -> None:
    assert watched(*[np.full((48, 64), maximum, np.uint16)] * 15)[-1]


def test_a_wall_nearby_is_no_saturated_sensor() -> None:
    assert watched(*[np.full((48, 64), 800, np.uint16)] * 15)[-1] == ""


def test_the_numbers_of_a_map() -> None:
    half = TABLE.copy()
    half[:24] = 0
    look = look_at_depth(half)
    assert look.share == 0.5 and 0.9 < look.median_m < 1.1


@given(hnp.arrays(st.sampled_from([np.float32, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
@examples(quick=50)
def test_whatever_a_depth_map_holds_it_is_judged(depth: np.ndarray) -> None:
    watched(*[depth] * 3, period_s=1.0)


# --- two cameras -----------------------------------------------------------------------------------------------------


def scene(seed: int) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return blocks.repeat(20, 0).repeat(20, 1)


def noisy(picture: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-3, 4, picture.shape)
    return np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)


def alternations(pictures: list[np.ndarray]) -> list[str]:
    watch = AlternatingPictures()
    return [watch.update(picture) for picture in pictures]


@pytest.mark.parametrize("order", ["01" * 6, "0110" * 4, "012" * 5])
def test_pictures_of_several_cameras_on_one_topic_are_told(order: str) -> None:
    scenes = [scene(0), scene(1), scene(2)]
    said = alternations([noisy(scenes[int(camera)], seed) for seed, camera in enumerate(order)])
    assert said[-1] == "pictures go back and forth between two scenes: two cameras publish here"


def test_cameras_of_two_sizes_on_one_topic_are_told() -> None:
    assert alternations([scene(0), scene(1)[:120, :160]] * 6)[-1]


def test_one_camera_is_one_whatever_moves_in_its_picture() -> None:
    pictures = []
    for index in range(60):
        picture = noisy(scene(0), index)
        x = 40 + abs(index * 30 % 400 - 200)  # there and back, a third of the picture
        picture[60:180, x : x + 100] = 200
        pictures.append(picture)
    assert alternations(pictures) == [""] * 60


def test_brightness_that_flickers_is_no_second_camera() -> None:
    assert alternations([noisy(scene(0) // (1 + index % 2), index) for index in range(20)]) == [""] * 20


def test_a_scene_that_changes_once_is_no_second_camera() -> None:
    assert alternations([noisy(scene(index // 10), index) for index in range(40)]) == [""] * 40


def test_pictures_of_nothing_are_compared_without_harm() -> None:
    assert alternations([np.zeros((1, 1, 3), np.uint8), np.full((48, 64, 3), 255, np.uint8)] * 2) == [""] * 4


# --- clocks ----------------------------------------------------------------------------------------------------------


def clock_said(ages_s: list[float], oldest_s: float = 1.5) -> list[str]:
    watch = ClockWatch(oldest_s)
    return [watch.update(SECOND, age, index * 0.2) for index, age in enumerate(ages_s)]


@pytest.mark.parametrize(
    "age_s, text",
    [
        (56 * 31_557_600.0, "observations are 56.0 years old: the camera's clock is not this machine's"),
        (-0.3, "observations come from the future by 300.0 ms: the camera's clock is not this machine's"),
        (2.0, "observations are 2.0 s old when they come, nothing older than 1.5 s is acted on"),
    ],
)
def test_another_clock_is_told_after_a_second(age_s: float, text: str) -> None:
    said = clock_said([age_s] * 10)
    assert said[:6] == [""] * 6 and said[6:] == [text] * 4


def test_an_age_that_was_wrong_for_a_moment_is_not_told() -> None:
    assert clock_said([2.0, 2.0, 0.1] * 10) == [""] * 30


def test_where_any_age_is_acted_on_only_a_missing_stamp_is_told() -> None:
    assert clock_said([1e9] * 10, oldest_s=0.0) == [""] * 10
    assert ClockWatch(0.0).update(0, 0.0, 0.0).startswith("the stamp is zero")
