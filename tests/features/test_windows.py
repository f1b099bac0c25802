"""Windows of a video, and the times of their frames."""

import numpy as np
import pytest

from surgrec.clips import ClipSampling
from surgrec.errors import SampleError
from surgrec.features._windows import (
    TimeSpan,
    joined,
    window_starts,
    window_times,
    windows_in_gaps,
)


@pytest.mark.parametrize(
    ("spans", "span_s", "stride_s", "starts"),
    [
        ([(0.0, 10.0)], 4.0, 2.0, [0, 2, 4, 6]),
        ([(0.0, 9.9)], 4.0, 2.0, [0, 2, 4]),
        ([(0.0, 9.9995)], 4.0, 2.0, [0, 2, 4, 6]),  # containers round
        ([(0.0, 3.5)], 4.0, 1.0, []),
        ([(3.7, 8.0)], 2.0, 1.0, [4, 5, 6]),  # on the grid of the video, not of the span
        ([(0.0, 4.0), (5.5, 9.0)], 2.0, 1.0, [0, 1, 2, 6, 7]),
        ([(0.0, 1.0)], 0.3, 0.1, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ([], 2.0, 1.0, []),
    ],
)
def test_windows_start_at_grid_times_at_which_a_whole_window_fits(
    spans: list[TimeSpan], span_s: float, stride_s: float, starts: list[float]
) -> None:
    np.testing.assert_allclose(window_starts(spans, span_s, stride_s), starts, atol=1e-12)


@pytest.mark.parametrize(
    ("spans", "gaps"),
    [
        ([(0.0, 9.0)], []),
        ([(0.0, 4.0), (5.5, 9.0)], [((4.0, 5.5), 3)]),  # 3, 4 and 5
        ([(2.5, 9.0)], [((0.0, 2.5), 3)]),  # 0, 1 and 2
        ([(0.0, 4.0), (5.0, 5.5), (6.0, 9.0)], [((4.0, 5.0), 2), ((5.5, 6.0), 1)]),
        ([(0.0, 4.0), (8.0, 9.0)], [((4.0, 8.0), 5)]),  # 3 to 7: no later one fits
        ([(0.0, 1e9), (2e9, 3e9)], [((1e9, 2e9), 1_000_000_001)]),
        ([], []),
    ],
)
def test_windows_that_a_gap_costs_are_counted(
    spans: list[TimeSpan], gaps: list[tuple[TimeSpan, int]]
) -> None:
    assert list(windows_in_gaps(spans, 2.0, 1.0)) == gaps


def test_a_video_with_millions_of_windows_is_refused() -> None:
    with pytest.raises(SampleError, match=r"lasts 1e\+12 s and would have more than 2000000"):
        window_starts([(0.0, 1e12)], 4.0, 1.0)


def test_a_gap_longer_than_a_frame_ends_a_time_span() -> None:
    spans = [(4.0, 8.0), (0.0, 4.0), (8.1, 9.0), (9.3, 12.0)]
    assert joined(spans, gap_s=0.125) == ((0.0, 9.0), (9.3, 12.0))
    assert joined(spans, gap_s=0.01) == ((0.0, 8.0), (8.1, 9.0), (9.3, 12.0))
    assert joined([], gap_s=1.0) == ()


def test_neighboring_windows_share_their_times_to_the_bit() -> None:
    times = window_times(np.arange(200) * 0.1, ClipSampling(num_frames=8, fps=10.0))
    assert len(np.unique(times)) == 207
    assert times[0].tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
