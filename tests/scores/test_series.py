"""Labels over the seconds of a video: rates that differ, gaps, wrong times."""

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.scores.frames import PhaseVideo, score_frames
from surgrec.scores.series import Series, align, sample


def every(period_s: float, values: list[int]) -> Series:
    return Series(times_s=np.arange(len(values)) * period_s, values=np.array(values))


def test_labels_of_25_fps_give_one_value_per_second_at_1_fps() -> None:
    frames = every(1 / 25, [0] * 50 + [1] * 75 + [2] * 25)
    seconds = sample(frames, label_fps=25.0, rate_fps=1.0)
    assert seconds.times_s.tolist() == [0, 1, 2, 3, 4, 5]
    assert seconds.values.tolist() == [0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize("label_fps", [25.0, 30.0, 29.97, 1.0])
def test_a_rate_of_labels_does_not_change_scores_at_1_fps(label_fps: float) -> None:
    count = round(60 * label_fps)
    phase = (np.arange(count) / label_fps > 19.5).astype(np.int64)
    truth = Series(times_s=np.arange(count) / label_fps, values=phase)
    predicted = every(1.0, [0] * 25 + [1] * 36)
    video = PhaseVideo(name="v", case=0, truth=truth, predicted=predicted)
    table = score_frames(
        [video], num_cases=1, num_phases=2, label_fps=label_fps, prediction_fps=1.0
    )
    # The five seconds from 20 to 24 are wrong.
    assert table.counts.labeled.sum() == 60
    assert table.by_video["video_accuracy"].tolist() == pytest.approx([55 / 60])


def test_frame_numbers_given_as_seconds_are_refused() -> None:
    frame_numbers = every(1.0, [0] * 50)
    with pytest.raises(ConfigError, match="1 s apart, which is 1 fps and not the stated 25 fps"):
        sample(frame_numbers, label_fps=25.0, rate_fps=1.0)


def test_times_without_a_label_are_left_out_and_not_filled() -> None:
    gap = Series(times_s=np.array([0.0, 1, 2, 7, 8]), values=np.array([0, 0, 1, 1, 2]))
    found = sample(gap, label_fps=1.0, rate_fps=1.0)
    assert found.times_s.tolist() == [0, 1, 2, 7, 8]
    assert found.values.tolist() == [0, 0, 1, 1, 2]


def test_a_labeled_time_without_a_prediction_is_named() -> None:
    video = PhaseVideo(
        name="case 3", case=0, truth=every(1.0, [0] * 10), predicted=every(1.0, [0] * 8)
    )
    with pytest.raises(ConfigError, match=r"case 3: 2 of 10 labeled times .* first at 8 s"):
        score_frames([video], num_cases=1, num_phases=1, label_fps=1.0, prediction_fps=1.0)


def test_predictions_of_another_rate_hold_for_their_period() -> None:
    found = align(every(1.0, [0] * 6), every(2.0, [0, 1, 2]), prediction_fps=0.5)
    assert found.values.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "times", [[0.0, 0.0, 1.0], [1.0, 0.0, 2.0], [-1.0, 0.0, 1.0], [0, np.nan, 2]]
)
def test_times_that_do_not_ascend_from_zero_are_refused(times: list[float]) -> None:
    with pytest.raises(ConfigError, match="not ascending seconds"):
        Series(times_s=np.array(times), values=np.zeros(3, dtype=np.int64))
