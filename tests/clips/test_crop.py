import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.clips import Box, central_crop
from surgrec.clips._crop import bounding_box, multi_scale_crop, random_resized_crop

SIDES = st.integers(1, 2000)
KEYS = st.integers(0, 2**64 - 1)


def crop(height: int, width: int, key: int) -> Box:
    return random_resized_crop(height, width, scale=(0.3, 1.0), aspect_ratio=(0.75, 1.35), key=key)


def test_crops_never_change() -> None:
    assert crop(256, 455, 1) == Box(top=0, left=95, height=254, width=247)
    assert crop(64, 96, 2) == Box(top=6, left=2, height=55, width=41)


@given(SIDES, SIDES, KEYS)
def test_a_crop_lies_inside_the_frame_and_depends_on_its_key_alone(
    height: int, width: int, key: int
) -> None:
    box = crop(height, width, key)
    assert box.top >= 0
    assert box.left >= 0
    assert 1 <= box.height <= height - box.top
    assert 1 <= box.width <= width - box.left
    assert box == crop(height, width, key)


@given(st.integers(200, 600), st.integers(200, 600), KEYS)
def test_area_and_aspect_ratio_of_a_crop_are_within_their_ranges(
    height: int, width: int, key: int
) -> None:
    box = crop(height, width, key)
    assert 0.74 < box.width / box.height < 1.37  # whole pixels
    longest = max(height / width, width / height)
    if longest < 1.7:  # some crop of every area fits
        assert 0.29 < box.height * box.width / (height * width) <= 1.0


def test_crops_of_many_keys_fill_their_ranges_and_the_frame() -> None:
    boxes = [crop(256, 256, key) for key in range(1000)]
    area = np.array([box.height * box.width for box in boxes]) / 256**2
    ratio = np.array([box.width / box.height for box in boxes])
    assert (area.min(), area.max()) == pytest.approx((0.3, 1.0), abs=0.05)
    assert (ratio.min(), ratio.max()) == pytest.approx((0.75, 1.35), abs=0.03)
    assert np.median(np.log(ratio)) == pytest.approx(np.log(0.75 * 1.35) / 2, abs=0.05)
    small = [box for box in boxes if max(box.height, box.width) < 200]
    free = [(box.left / (256 - box.width), box.top / (256 - box.height)) for box in small]
    assert np.mean(free, axis=0) == pytest.approx([0.5, 0.5], abs=0.05)


def test_if_no_crop_fits_the_nearest_central_crop_is_used() -> None:
    box = random_resized_crop(20, 400, scale=(1.0, 1.0), aspect_ratio=(0.75, 1.35), key=0)
    assert box == Box(top=0, left=186, height=20, width=27)


def test_a_crop_of_the_whole_area_is_the_frame() -> None:
    assert random_resized_crop(100, 100, scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0), key=3) == Box(
        top=0, left=0, height=100, width=100
    )


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (100, 200, 1.0, Box(top=0, left=50, height=100, width=100)),
        (200, 100, 1.0, Box(top=50, left=0, height=100, width=100)),
        (99, 200, 1.0, Box(top=0, left=50, height=99, width=99)),
        (100, 100, 2.0, Box(top=25, left=0, height=50, width=100)),
    ],
)
def test_a_central_crop_is_the_largest_of_its_shape(
    height: int, width: int, ratio: float, expected: Box
) -> None:
    assert central_crop(height, width, aspect_ratio=ratio) == expected


def test_multi_scale_crops_have_ten_sizes_and_thirteen_positions() -> None:
    """As in VideoMAE, on a frame of 320 x 568: sides of 320, 280, 240 and 211, at most one step
    apart."""
    boxes = [multi_scale_crop(320, 568, key=key) for key in range(4000)]
    sides = [320, 280, 240, 211]
    sizes = {
        (one, other)
        for i, one in enumerate(sides)
        for j, other in enumerate(sides)
        if abs(i - j) <= 1
    }
    assert {(box.height, box.width) for box in boxes} == sizes
    assert len(sizes) == 10
    small = [box for box in boxes if (box.height, box.width) == (240, 280)]
    positions = {(box.top, box.left) for box in small}
    assert positions == {
        (20 * row, 72 * column)
        for row in range(5)
        for column in range(5)
        if (row + column) % 2 == 0
    }
    assert len(positions) == 13


def test_multi_scale_crops_never_change_and_are_drawn_evenly() -> None:
    assert multi_scale_crop(320, 568, key=1) == Box(top=40, left=144, height=280, width=280)
    boxes = [multi_scale_crop(320, 568, key=key) for key in range(4000)]
    counts = np.unique([(box.height, box.width) for box in boxes], axis=0, return_counts=True)[1]
    assert counts.min() > 320
    assert counts.max() < 480


@given(SIDES, SIDES, KEYS)
def test_a_multi_scale_crop_lies_inside_the_frame(height: int, width: int, key: int) -> None:
    box = multi_scale_crop(height, width, key=key)
    assert 0 <= box.top <= height - box.height
    assert 0 <= box.left <= width - box.width


def test_a_bounding_box_is_the_smallest_around_all_boxes() -> None:
    boxes = [Box(top=4, left=30, height=10, width=20), Box(top=8, left=10, height=2, width=25)]
    assert bounding_box(boxes) == Box(top=4, left=10, height=10, width=40)
    assert bounding_box(boxes[:1]) == boxes[0]
