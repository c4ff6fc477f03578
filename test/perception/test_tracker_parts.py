"""The pieces of the Lucas-Kanade tracker, each against its definition: patches, neighbours, matching there and back."""

import cv2
import numpy as np
import pytest

from stvla_ros.perception.trackers.matching import match
from stvla_ros.perception.trackers.neighbours import NEIGHBOURS, carried, carried_along
from stvla_ros.perception.trackers.patches import (
    FLAT_DIFFERENCE,
    PATCH,
    Patches,
    cut_patches,
    search_patches,
    similarity,
)
from stvla_ros.perception.trackers.seeding import empty_cells, find_corners
from stvla_ros.perception.trackers.shrinking import in_full, in_shrunk, share_of, shrunk

SETTINGS = {"window": 21, "levels": 3, "max_return_error": 1.0, "min_similarity": 0.5}


def textured(seed: int = 0, width: int = 160, height: int = 120) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 20, 235, cv2.NORM_MINMAX)


def alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return similarity(Patches.of(a), Patches.of(b))


GREY = textured()
PLACES = np.array([[40.0, 30.0], [90.0, 60.0], [120.0, 85.0]], np.float32)


# --- patches ---


def test_a_patch_is_the_window_around_its_point() -> None:
    half = PATCH // 2
    (patch,) = cut_patches(GREY, PLACES[:1])
    np.testing.assert_array_equal(patch.reshape(PATCH, PATCH), GREY[30 - half : 31 + half, 40 - half : 41 + half])


def test_a_patch_between_pixels_is_their_mean() -> None:
    between, left, right = (cut_patches(GREY, PLACES[:1] + [[dx, 0.0]])[0] for dx in (0.5, 0.0, 1.0))
    np.testing.assert_allclose(between, (left + right) / 2.0, atol=1.0)


def test_similarity_is_the_correlation_of_textured_patches() -> None:
    a, b = cut_patches(GREY, PLACES[:2])
    assert alike(a[None], b[None])[0] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-4)
    assert alike(a[None], 0.5 * a[None] + 40.0)[0] == pytest.approx(1.0, abs=1e-4)
    assert alike(a[None], 255.0 - a[None])[0] == pytest.approx(-1.0, abs=1e-4)


def test_similarity_of_several_places_is_that_of_each_alone() -> None:
    patches, flat = cut_patches(GREY, PLACES), np.full((1, PATCH * PATCH), 90, np.float32)
    own = np.concatenate([patches, flat])
    places = np.stack([np.roll(own, shift, axis=0) for shift in range(3)])
    together = alike(own, places)
    assert together.shape == (3, 4)
    for row, found in zip(places, together, strict=True):
        assert found.tolist() == alike(own, row).tolist()


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        # Grey levels of standard deviation: below 3 it is as good as without texture, and brightness is compared.
        (2.9, 1.0 - 10.0 / FLAT_DIFFERENCE),
        (3.1, 1.0),
    ],
)
def test_similarity_of_patches_without_texture_goes_by_their_brightness(spread: float, expected: float) -> None:
    patch = 100.0 + spread * np.where(np.arange(PATCH * PATCH - 1) % 2, 1.0, -1.0)[None].astype(np.float32)
    assert alike(patch, patch + np.float32(10.0))[0] == pytest.approx(expected, abs=1e-3)


def test_patches_without_texture_that_differ_much_are_unlike() -> None:
    dark, bright = np.full((1, PATCH * PATCH), 20, np.float32), np.full((1, PATCH * PATCH), 220, np.float32)
    assert alike(dark, bright)[0] == -1.0
    assert alike(dark, dark)[0] == 1.0


@pytest.mark.parametrize("shift", [(0, 0), (5, 0), (-5, 2), (1, -4), (5, 5)])
def test_a_search_finds_the_place_that_looks_like_the_patch_and_how_alike_it_is(shift: tuple[int, int]) -> None:
    found, looks = search_patches(GREY, Patches.around(GREY, PLACES + np.float32(shift)), PLACES, 5)
    np.testing.assert_allclose(found, PLACES + np.float32(shift), atol=1e-3)
    assert looks == pytest.approx([1.0] * 3, abs=1e-3)


def test_a_search_looks_no_farther_than_its_radius() -> None:
    found, looks = search_patches(GREY, Patches.around(GREY, PLACES + np.float32([4, 0])), PLACES, 3)
    assert np.abs(found - PLACES).max() <= 3.0
    assert (looks < 0.99).all()


def test_corners_are_those_of_what_the_mask_shows_apart_and_no_more_than_asked_for() -> None:
    picture = np.full((120, 160), 90, np.uint8)
    picture[40:80, 30:70], picture[40:80, 100:140] = 200, 200
    mask = np.zeros_like(picture)
    mask[:, 85:] = 255
    corners = find_corners(picture, mask, 10, 8.0)
    expected = np.array([[x, y] for x in (99.5, 139.5) for y in (39.5, 79.5)])
    gaps = np.linalg.norm(corners[:, None] - expected[None], axis=2)
    assert len(corners) == 4 and (gaps.min(axis=0) < 2.5).all()
    assert len(find_corners(picture, mask, 2, 8.0)) == 2
    assert len(find_corners(picture, np.zeros_like(mask), 10, 8.0)) == 0


def test_cells_without_a_point_are_shown_to_the_pictures_border() -> None:
    mask, cell = empty_cells((100, 150), np.array([[10.0, 10.0], [149.0, 99.0]]), 6)
    assert cell == 50 and mask.shape == (100, 150)
    assert not mask[:50, :50].any() and not mask[50:, 100:].any()
    assert mask[50:, :100].all() and mask[:50, 50:].all()
    assert empty_cells((100, 100), np.array([[10.0, 10.0]]), 1) is None


# --- smaller pictures ---


@pytest.mark.parametrize(
    ("width", "height", "share"),
    [(640, 480, 1), (1280, 720, 1), (1281, 720, 2), (1920, 1080, 2), (2560, 1440, 2), (3840, 2160, 4)],
)
def test_a_picture_of_more_than_720p_is_tracked_in_at_half_its_size_as_often_as_it_takes(width, height, share) -> None:
    assert share_of((height, width)) == share


@pytest.mark.parametrize("share", [1, 2, 4])
@pytest.mark.parametrize("size", [(160, 240), (163, 241)])
def test_what_is_at_a_point_is_where_the_smaller_picture_has_it(share: int, size: tuple[int, int]) -> None:
    place = np.array([[101.25, 60.75]])
    y, x = np.mgrid[: size[0], : size[1]]
    spot = np.uint8(250.0 * np.exp(-((x - place[0, 0]) ** 2 + (y - place[0, 1]) ** 2) / 200.0))
    small = shrunk(spot, share).astype(float)
    rows, columns = np.mgrid[: small.shape[0], : small.shape[1]]
    centre = np.array([[(columns * small).sum(), (rows * small).sum()]]) / small.sum()
    np.testing.assert_allclose(in_full(centre, share), place, atol=0.05)
    np.testing.assert_allclose(in_shrunk(place, share), centre, atol=0.05)


# --- neighbours ---


def grid(x: float, y: float) -> np.ndarray:
    return np.stack(np.meshgrid(x + 10.0 * np.arange(3), y + 10.0 * np.arange(3)), -1).reshape(-1, 2)


def test_where_a_lost_point_may_be_is_told_by_its_own_neighbours_and_by_all_that_moves_as_one_body() -> None:
    turn = cv2.getRotationMatrix2D((100.0, 100.0), 5.0, 1.0)
    turn[:, 2] += (7.0, -4.0)
    before = np.concatenate([grid(40, 40), grid(140, 140), grid(300, 20)])
    after = before @ turn[:, :2].T + turn[:, 2]
    after[-9:] = before[-9:]  # these stand still, and say nothing
    lost = np.array([[52.0, 47.0], [151.0, 149.0]])
    stayed, neighbours, body = carried_along(lost, before, after, 1.0)
    np.testing.assert_allclose(stayed, lost)
    np.testing.assert_allclose(body, lost @ turn[:, :2].T + turn[:, 2], atol=0.05)
    np.testing.assert_allclose(neighbours, body, atol=1.0)


def test_too_few_moving_neighbours_say_nothing() -> None:
    before = grid(40, 40)[: NEIGHBOURS - 1]
    lost = np.array([[45.0, 45.0]])
    assert carried_along(lost, before, before + 5.0, 1.0).shape == (1, 1, 2)
    assert carried_along(lost, before, before + 5.0, 100.0).tolist() == [lost.tolist()]
    assert carried(lost, before, before + 5.0, 1.0).tolist() == [False]


def test_a_point_is_carried_when_all_of_its_nearest_moved() -> None:
    before = np.concatenate([grid(40, 40), grid(300, 300)])
    after = before.copy()
    after[:9] += (6.0, 0.0)
    points = np.array([[50.0, 50.0], [310.0, 310.0]])
    assert carried(points, before, after, 5.0).tolist() == [True, False]
    assert carried(points, before, after, 7.0).tolist() == [False, False]
    after[4] = before[4]  # the one in the middle of the first
    assert carried(points, before, after, 5.0).tolist() == [False, False]


# --- matching ---


@pytest.mark.parametrize("guess", [None, PLACES + np.float32([5.0, 3.0])])
def test_matching_finds_where_points_went(guess: np.ndarray | None) -> None:
    moved = np.roll(GREY, (3, 6), axis=(0, 1))
    there, good, patches = match(GREY, moved, PLACES, guess, **SETTINGS)
    assert good.all()
    np.testing.assert_allclose(there, PLACES + [6.0, 3.0], atol=0.05)
    np.testing.assert_allclose(patches.pixels, cut_patches(moved, there))


def test_what_is_gone_is_not_found() -> None:
    _, good, _ = match(GREY, np.full_like(GREY, 128), PLACES, **SETTINGS)
    assert not good.any()


def test_no_points_give_none() -> None:
    there, good, patches = match(GREY, GREY, PLACES[:0], **SETTINGS)
    assert there.shape == (0, 2) and good.shape == (0,) and patches.pixels.shape == (0, PATCH * PATCH)
