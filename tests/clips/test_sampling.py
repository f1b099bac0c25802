import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError


def test_times_are_one_frame_apart_and_the_span_counts_the_last_frame() -> None:
    sampling = ClipSampling(num_frames=4, fps=2.0)
    assert sampling.span_s == 2.0
    assert sampling.times(10.0, 0.0).tolist() == [0.0, 0.5, 1.0, 1.5]
    assert sampling.times(10.0, 0.5).tolist() == [4.0, 4.5, 5.0, 5.5]
    assert sampling.times(10.0, 1.0).tolist() == [8.0, 8.5, 9.0, 9.5]


@given(
    num_frames=st.integers(1, 64),
    fps=st.floats(0.1, 60),
    spare_s=st.floats(0, 100),
    offset=st.floats(0, 1, exclude_max=True),
)
def test_every_frame_lies_within_the_stored_clip_at_the_given_rate(
    num_frames: int, fps: float, spare_s: float, offset: float
) -> None:
    sampling = ClipSampling(num_frames=num_frames, fps=fps)
    duration_s = sampling.span_s + spare_s
    times = sampling.times(duration_s, offset)
    assert len(times) == num_frames
    assert times[0] >= 0
    assert times[-1] + 1 / fps <= duration_s * (1 + 1e-12) + 1e-9
    assert np.allclose(np.diff(times), 1 / fps)


def test_a_clip_as_long_as_the_span_starts_at_its_start() -> None:
    sampling = ClipSampling(num_frames=16, fps=4.0)
    assert sampling.times(4.0, 0.9)[0] == 0.0
    assert sampling.times(4.0 - 1e-7, 0.9)[0] == 0.0, "a rounded duration is long enough"


def test_a_clip_shorter_than_the_span_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stored clip of 3\.9 s is shorter than the 4 s"):
        ClipSampling(num_frames=16, fps=4.0).times(3.9, 0.0)


@pytest.mark.parametrize(
    ("num_frames", "fps", "message"),
    [
        (0, 4.0, "num_frames is 0; give 1 to 65536"),
        (16, 0.0, r"fps is 0\.0; give more than 0 and at most 1000"),
        (16, -1.0, r"fps is -1\.0; give more than 0"),
        (16, float("nan"), "fps is nan; give more than 0"),
    ],
)
def test_a_sampling_without_frames_or_rate_is_refused(
    num_frames: int, fps: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ClipSampling(num_frames=num_frames, fps=fps)
