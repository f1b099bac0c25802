"""Windows of several lengths are paired by the times of their labels, and the others counted."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from surgrec.comparisons import Comparison, compare, write_tables
from surgrec.errors import ConfigError
from surgrec.report.comparison import write_comparison
from tests.support.results import CLASSES, write_result

IMAGE = {"frames": 4, "fps": 1.0}
"""Labels 3 s after the start of a window, as of the image presets."""
VIDEO = {"frames": 16, "fps": 7.5}
"""Labels 2 s after the start of a window, as of the presets of VideoMAE."""


def compared(folder: Path) -> Comparison:
    """Compare an image encoder with a video encoder."""
    image = write_result(folder / "image", skill=0.4, seed=1, **IMAGE)
    video = write_result(folder / "video", skill=0.9, seed=2, **VIDEO)
    return compare([f"image={image}", f"video={video}"])


def test_an_image_encoder_is_compared_with_a_video_encoder(tmp_path: Path) -> None:
    found = compared(tmp_path)
    (data_set,) = found.data_sets
    # Labels are at 3, 4, ..., 42 s and at 2, 3, ..., 42 s.
    assert len(data_set.windows.label) == 12 * 40
    for results in data_set.group.results.values():
        windows = results[0].windows
        assert windows.time_s[:3].tolist() == [3, 4, 5]
        assert (windows.label == data_set.windows.label).all()
    row = data_set.row("video", "knn")
    assert row is not None
    assert (row.predicted[0].value == data_set.windows.label).mean() > 0.9
    assert data_set.pairs[0].verdict == "worse"
    assert found.left_out == [
        "phase, split official: 480 windows compared, 12 of video left out (and 0 whole cases), "
        "as another result lacks their times"
    ]


def test_every_format_states_the_windows_left_out(tmp_path: Path) -> None:
    found, out = compared(tmp_path), tmp_path / "out"
    write_tables(found, out)
    write_comparison(found, out / "comparison.html")
    for name in ("comparison.md", "comparison.tex", "comparison.html"):
        assert "12 of video left out" in (out / name).read_text(encoding="utf-8")
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        counts = {row["method"]: row["windows_left_out"] for row in csv.DictReader(file)}
    assert counts == {"image": "0", "video": "12", "": ""}
    with (out / "pairs.csv").open(newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert (row["windows"], row["second_windows_left_out"]) == ("480", "12")


def test_the_stride_that_makes_the_times_coincide_is_stated(tmp_path: Path) -> None:
    image = write_result(tmp_path / "image", **IMAGE)
    video = write_result(tmp_path / "video", seed=1)  # labels 3.75 s after the start
    with pytest.raises(ConfigError, match=r"only 0 have .*, 3 and 3\.75 s .* --stride_s 0\.75,"):
        compare([str(image), str(video)])


def test_less_than_half_of_the_windows_in_common_is_refused(tmp_path: Path) -> None:
    words = [str(write_result(tmp_path / "a")), str(write_result(tmp_path / "b", seed=1, cases=5))]
    with pytest.raises(ConfigError, match=r"of 480 and 200 windows only 200 .* --stride_s 1,"):
        compare(words)


def test_a_case_that_one_result_lacks_is_counted(tmp_path: Path) -> None:
    words = [f"a={write_result(tmp_path / 'a')}"]
    found = compare([*words, f"b={write_result(tmp_path / 'b', seed=1, cases=11)}"])
    assert found.data_sets[0].scored.num_cases == 11
    assert "440 windows compared, 40 of a left out (and 1 whole case)" in found.left_out[0]


def test_other_labels_at_one_time_are_refused(tmp_path: Path) -> None:
    first = write_result(tmp_path / "a")
    other = pa.array([CLASSES[0]] * (6 * 480))
    second = write_result(tmp_path / "b", seed=1, columns={"label": other})
    sentence = r"cannot be paired: alpha/video00 has other labels at \d+\.750 s"
    with pytest.raises(ConfigError, match=sentence):
        compare([str(first), str(second)])


def test_files_without_times_of_labels_are_paired_by_their_windows(tmp_path: Path) -> None:
    words = [
        str(write_result(tmp_path / name, seed=seed, columns={"time_s": None}))
        for seed, name in enumerate("ab")
    ]
    assert len(compare(words).data_sets[0].windows.label) == 480
    words.append(str(write_result(tmp_path / "c", seed=2)))
    found = compare(words)
    assert (len(found.data_sets[0].windows.label), found.left_out) == (480, [])


def test_times_within_half_a_millisecond_are_one(tmp_path: Path) -> None:
    first = write_result(tmp_path / "a", frames=16, fps=16.0)  # labels at 937.5 ms
    times = np.tile(np.arange(43) + 0.9375 + 1e-9, 12 * 6)
    second = write_result(
        tmp_path / "b", seed=1, frames=16, fps=16.0, columns={"time_s": pa.array(times)}
    )
    assert compare([str(first), str(second)]).left_out == []
