"""The part of a picture that is hashed: rectangles, circles on black, and text on borders."""

import numpy as np
import pytest
from jaxtyping import UInt8

from surgrec.duplicates._region import picture_region

Frames = UInt8[np.ndarray, "n h w"]


def endoscope(*, radius: float = 60, x: float = 100, y: float = 64) -> Frames:
    """Return noise in a circle on black, 128 x 192 pixels."""
    frames = np.random.default_rng(0).integers(90, 200, (20, 128, 192)).astype(np.uint8)
    rows, columns = np.mgrid[0:128, 0:192] + 0.5
    frames[:, np.hypot(rows - y, columns - x) > radius] = 2
    return frames


def test_a_whole_picture_is_used_whole() -> None:
    region = picture_region(endoscope(radius=400))
    assert (region.center_y, region.center_x) == (64, 96)
    assert (region.half_height, region.half_width) == (64, 96)


def test_black_borders_are_left_out() -> None:
    framed = np.pad(endoscope(radius=400), ((0, 0), (30, 10), (0, 40)))
    region = picture_region(framed)
    assert (region.center_y, region.center_x) == (94, 96)
    assert (region.half_height, region.half_width) == (64, 96)


def test_dark_corners_that_change_are_no_border() -> None:
    frames = endoscope(radius=400)
    frames[:, :, :20] = np.random.default_rng(1).integers(2, 40, (20, 1, 20))
    assert picture_region(frames).half_width == 96
    frames[:, :, :20] = 20  # as dark on average
    assert picture_region(frames).half_width == 86


def test_a_border_is_found_beside_darker_parts_of_the_scene() -> None:
    frames = endoscope(radius=400)
    frames[:, -6:] = 30
    frames[:, 40:60, 40:80] = np.random.default_rng(1).integers(0, 40, (20, 20, 40))
    region = picture_region(frames)
    assert region.center_y + region.half_height == 122


@pytest.mark.parametrize("cut", [(0, 0), (0, 30), (30, 0), (14, 14)], ids=str)
def test_a_circle_has_one_square_however_it_is_cut(cut: tuple[int, int]) -> None:
    frames = endoscope()[:, :, cut[0] : 192 - cut[1]]
    region = picture_region(frames)
    assert region.center_x + cut[0] == pytest.approx(100, abs=1)
    assert region.center_y == pytest.approx(64, abs=1)
    assert region.half_height == region.half_width == pytest.approx(60 / 2**0.5, abs=1.5)


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9, 1.4])
def test_a_squeezed_field_has_the_same_region_in_shares_of_the_picture(share: float) -> None:
    frames = endoscope()
    rows = ((np.arange(round(128 * share)) + 0.5) / share).astype(int)
    region, squeezed = picture_region(frames), picture_region(frames[:, rows])
    assert squeezed.center_y / share == pytest.approx(region.center_y, abs=1)
    assert squeezed.half_height / share == pytest.approx(region.half_height, abs=1.5)
    assert squeezed.center_x == pytest.approx(region.center_x, abs=1)
    assert squeezed.half_width == pytest.approx(region.half_width, abs=1.5)


def test_text_beside_a_circle_does_not_move_the_square() -> None:
    frames = endoscope()
    frames[:, 8:14, 2:30] = 255
    frames[:, 100:106, 2:24] = 255
    region = picture_region(frames)
    assert region.center_x == pytest.approx(100, abs=1.5)
    assert region.half_width == pytest.approx(60 / 2**0.5, abs=2)


def test_a_few_white_frames_do_not_light_the_border() -> None:
    frames = endoscope()
    frames[:2] = 255
    assert picture_region(frames) == picture_region(frames[2:])
