"""Extraction: rows, features, interruption, failures, settings."""

import math
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as parquet
import pytest
import torch
from einops import rearrange

from surgrec.errors import ConfigError, MissingError, SetupError, ShardError
from surgrec.features import (
    EncoderChoice,
    ExtractConfig,
    Extracted,
    Features,
    WindowRow,
    extract,
    open_encoder,
    read_features,
)
from surgrec.features.corpora import CorpusVideos
from surgrec.normalize import normalize
from surgrec.shards import Sample, open_corpus
from tests.features.conftest import CONFIG, content, save_run
from tests.support.tool import surgrec_here

CPU = torch.device("cpu")


def run(corpus: Path, run_dir: Path, out: Path, config: ExtractConfig = CONFIG) -> list[Extracted]:
    """Extract all features of a corpus; return the progress after each video."""
    return list(extract([str(corpus)], EncoderChoice(path=run_dir), config, out))


def samples_of(corpus: Path, source: str) -> list[Sample]:
    """Return all stored clips of a source."""
    index = open_corpus([corpus])[source].index
    return [index.sample(row) for row in range(index.num_rows)]


def flip_a_bit(corpus: Path, sample: Sample) -> None:
    """Flip a bit in the middle of a sample's mp4. A second call repairs it."""
    path = corpus / sample.clip.source / sample.shard
    data = bytearray(path.read_bytes())
    data[sample.mp4_offset + sample.mp4_size // 2] ^= 4
    path.write_bytes(data)


def by_window(features: Features) -> dict[tuple[str, str, float], torch.Tensor]:
    """Return the feature of each window, by source, video and start."""
    return {
        (row.source, row.video, row.start_s): value
        for row, value in zip(features.rows, features.values, strict=True)
    }


def test_every_window_of_every_video_has_its_row_and_its_feature(
    undisturbed: Path, tiny_corpus: Path
) -> None:
    """Windows of 4 frames at 4 frames/s every 0.5 s: a video of n seconds has 2 n - 1 of them."""
    features = read_features(undisturbed)
    per_source = {
        name: sum(row.source == name for row in features.rows)
        for name in ("alpha", "beta", "gamma")
    }
    assert per_source == {"alpha": 2 * 39, "beta": 47 + 15, "gamma": 2 * 35}
    assert features.values.shape == (210, 24)
    assert len(np.unique(features.values.numpy(), axis=0)) > 200
    assert features.facts["counts"] == {
        "cases": 6,
        "videos": 6,
        "videos_failed": 0,
        "videos_too_short": 0,
        "windows": 210,
        "windows_failed": 0,
        "windows_in_gaps": 0,
        "videos_with_repeated_frames": {},
    }
    assert {row.end_s - row.start_s for row in features.rows} == {1.0}
    assert {row.split for row in features.rows} == {"train", "val"}
    assert features.failed == []
    first = features.rows[0]
    assert (first.source, first.start_s, first.row) == ("alpha", 0.0, 0)
    assert first.file == f"alpha/{first.video}.safetensors"
    assert parquet.read_schema(undisturbed / "windows.parquet").names == list(
        WindowRow.__annotations__
    )


def test_a_feature_is_the_mean_token_of_the_central_square_across_clips(
    undisturbed: Path, tiny_corpus: Path, run_dir: Path
) -> None:
    corpora = CorpusVideos([str(tiny_corpus)])
    entry = corpora.entries[0]
    pieces = corpora.open(entry).pieces(np.array([3.5, 3.75, 4.0, 4.25]))  # clips are 4 s long
    assert len(pieces) == 2
    shown = [piece.frames for piece in pieces if isinstance(piece.frames, torch.Tensor)]
    frames = torch.cat([normalize(square, 32, CPU, antialias=True) for square in shown])
    with torch.inference_mode():
        tokens = open_encoder(EncoderChoice(path=run_dir), CPU).tokens(
            rearrange(frames, "t c h w -> 1 c t h w")
        )
    feature = by_window(read_features(undisturbed))[entry.source, entry.video, 3.5]
    torch.testing.assert_close(feature, tokens[0].mean(dim=0), atol=1e-5, rtol=0)


def test_features_record_encoder_data_and_settings(undisturbed: Path, tiny_corpus: Path) -> None:
    facts = read_features(undisturbed).facts
    assert facts["encoder"]["name"] == "tiny"
    assert facts["encoder"]["provenance"]["recipe"] == "jepa"
    assert facts["settings"]["fps"] == 4.0
    assert facts["settings"]["stride_s"] == 0.5
    assert facts["data"]["addresses"] == [str(tiny_corpus)]
    assert facts["data"]["digests"]["beta"] == open_corpus([tiny_corpus])["beta"].entry.digest
    (made_by,) = facts["made_by"]
    assert (made_by["device"], made_by["batch"]) == ("cpu", 8)


def test_a_stopped_extraction_continues_with_the_next_video(
    tiny_corpus: Path, run_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    begun = extract([str(tiny_corpus)], EncoderChoice(path=run_dir), CONFIG, tmp_path / "out")
    assert [next(begun).done, next(begun).done] == [1, 2]
    begun.close()
    with pytest.raises(MissingError, match="out holds no finished features"):
        read_features(tmp_path / "out")
    assert [video.reused for video in run(tiny_corpus, run_dir, tmp_path / "out")] == [
        True,
        True,
    ] + 4 * [False]
    assert content(tmp_path / "out") == content(undisturbed)
    assert all(video.reused for video in run(tiny_corpus, run_dir, tmp_path / "out"))
    assert content(tmp_path / "out") == content(undisturbed)


@pytest.mark.slow
def test_killed_processes_resume_to_the_bytes_of_an_undisturbed_run(
    tiny_corpus: Path, run_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["features", tiny_corpus, "--encoder", run_dir, "--out", out, "--processes", 2]
    words += ["--stride_s", CONFIG.stride_s, "--batch", CONFIG.batch, "--device", "cpu"]
    command = subprocess.Popen(
        [sys.executable, "-m", "surgrec", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("*/*.safetensors")):
        assert command.poll() is None, command.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.001)
    workers = psutil.Process(command.pid).children(recursive=True)
    command.kill()
    command.communicate()
    assert len(workers) >= 2
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
    assert not (out / "features.json").exists()
    resumed = run(tiny_corpus, run_dir, out, replace(CONFIG, processes=2))
    assert sorted(video.done for video in resumed) == [1, 2, 3, 4, 5, 6]
    assert content(out) == content(undisturbed)


def test_a_folder_of_other_features_is_refused_with_the_difference(
    tiny_corpus: Path, run_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(undisturbed, tmp_path / "out"))
    other = save_run(tmp_path / "other", seed=1)
    with pytest.raises(
        ConfigError,
        match=rf"^{out} holds features of another .* "
        r"\(encoder_sha256 \w+ in the folder and \w+ now\)",
    ):
        run(tiny_corpus, other, out)
    with pytest.raises(
        ConfigError, match=r"\(stride_s 0.5 in the folder and 1.0 now\); choose another --out$"
    ):
        run(tiny_corpus, run_dir, out, replace(CONFIG, stride_s=1.0))
    with pytest.raises(ConfigError, match=r"fps 4\.0 in the folder and 2\.0 now"):
        list(extract([str(tiny_corpus)], EncoderChoice(path=run_dir, fps=2.0), CONFIG, out))
    assert content(out) == content(undisturbed)


def test_another_batch_size_may_continue_and_is_recorded(
    tiny_corpus: Path, run_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(undisturbed, tmp_path / "out"))
    next(out.glob("gamma/*.safetensors")).unlink()
    run(tiny_corpus, run_dir, out, replace(CONFIG, batch=3))
    continued, before = read_features(out), read_features(undisturbed)
    torch.testing.assert_close(continued.values, before.values, atol=1e-5, rtol=0)
    assert [made_by["batch"] for made_by in continued.facts["made_by"]] == [3, 8]


def test_windows_of_a_bad_clip_are_left_out_with_the_reason(
    corpus_copy: Path, run_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    bad = next(sample for sample in samples_of(corpus_copy, "alpha") if sample.clip.start_s == 8.0)
    flip_a_bit(corpus_copy, bad)
    out = tmp_path / "out"
    assert sum(video.failed for video in run(corpus_copy, run_dir, out)) == 9
    features, expected = read_features(out), by_window(read_features(undisturbed))
    assert [window.start_s for window in features.failed] == [
        7.5,
        8.0,
        8.5,
        9.0,
        9.5,
        10.0,
        10.5,
        11.0,
        11.5,
    ]
    for window in features.failed:
        assert (window.source, window.video, window.case) == (
            "alpha",
            bad.clip.video,
            bad.clip.case,
        )
        assert window.reason.startswith(f"{bad.key}: its bytes have the XXH3 checksum")
        del expected["alpha", bad.clip.video, window.start_s]  # type: ignore[arg-type]  # windows fail, not the video
    actual = by_window(features)
    assert actual.keys() == expected.keys()
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
    assert features.facts["counts"]["windows_failed"] == 9

    flip_a_bit(corpus_copy, bad)  # after the repair of the shard its video is processed again
    assert sum(video.reused for video in run(corpus_copy, run_dir, out)) == 5
    repaired = content(out)
    different = {name for name, data in content(undisturbed).items() if repaired[name] != data}
    assert different <= {"features.json"}, "it has the address of the corpus"


def test_a_missing_shard_is_an_outage_not_a_bad_clip(
    corpus_copy: Path, run_dir: Path, tmp_path: Path
) -> None:
    path = next(corpus_copy.glob("beta/*.tar"))
    path.unlink()
    with pytest.raises(MissingError, match=rf"^{path} does not exist"):
        run(corpus_copy, run_dir, tmp_path / "out")


def test_videos_of_a_replaced_source_are_processed_again(
    corpus_copy: Path,
    run_dir: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = Path(shutil.copytree(undisturbed, tmp_path / "out"))
    monkeypatch.setattr("surgrec.features.corpora.source_digest", lambda rows: "other clips")
    assert not any(video.reused for video in run(corpus_copy, run_dir, out))


def test_videos_shorter_than_a_window_are_counted(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    choice = EncoderChoice(path=run_dir, fps=0.4)  # windows of 10 s; one video of beta lasts 8 s
    list(extract([str(tiny_corpus)], choice, CONFIG, tmp_path / "out"))
    facts = read_features(tmp_path / "out").facts
    counts = facts["counts"]
    assert (counts["videos"], counts["videos_too_short"], counts["videos_failed"]) == (6, 1, 0)
    assert [video["source"] for video in facts["too_short"]] == ["beta"]


def test_a_video_shorter_than_a_window_is_told_with_status_3(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    words = ("features", tiny_corpus, "--encoder", run_dir, "--out", tmp_path / "out")
    done = surgrec_here(*words, "--fps", 0.4, "--stride_s", 5)
    assert done.returncode == 3
    assert "videos shorter than a window: 1; features.json lists them" in done.stderr


def test_random_weights_give_the_same_features_every_time(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, stride_s=3.0)
    outs = []
    for number, seed in enumerate((0, 0, 1)):
        outs.append(tmp_path / str(number))
        list(
            extract(
                [str(tiny_corpus)], EncoderChoice(path=run_dir, random_seed=seed), config, outs[-1]
            )
        )
    first, again, other = (content(out) for out in outs)
    assert first == again
    assert not torch.equal(read_features(outs[0]).values, read_features(outs[2]).values)
    assert first.keys() == other.keys()


def test_extraction_restores_the_number_of_threads(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        begun = extract([str(tiny_corpus)], EncoderChoice(path=run_dir), CONFIG, tmp_path / "out")
        next(begun)
        assert torch.get_num_threads() == 3
        begun.close()
    finally:
        torch.set_num_threads(before)


def test_a_folder_locked_by_another_command_is_refused(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.storage.lock._WAIT_S", 0.2)
    hold_lock = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", hold_lock, str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"another process is writing features in {tmp_path}"):
            run(tiny_corpus, run_dir, tmp_path)
        other.kill()


def test_settings_that_cannot_work_are_refused(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    for name, value in (
        *(("stride_s", value) for value in (0.0, 1e-9, math.nan, math.inf)),
        *(("batch", value) for value in (0, 10**9)),
        *(("processes", value) for value in (0, 100_000)),
    ):
        with pytest.raises(ConfigError, match=rf"{name} is \S+; give"):
            replace(CONFIG, **{name: value})
    for fps in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="fps is"):
            list(
                extract([str(tiny_corpus)], EncoderChoice(path=run_dir, fps=fps), CONFIG, tmp_path)
            )
    for seed in (-1, 2**64):
        with pytest.raises(ConfigError, match=f"random_seed is {seed}"):
            EncoderChoice(path=run_dir, random_seed=seed)
    if not torch.cuda.is_available():
        with pytest.raises(SetupError, match="no GPU"):
            run(tiny_corpus, run_dir, tmp_path, replace(CONFIG, device="cuda"))
    with pytest.raises(MissingError, match="/none is neither a corpus"):
        run(Path("/none"), run_dir, tmp_path)
    video = tmp_path / "a.mp4"
    video.write_bytes(b"any")
    with pytest.raises(ConfigError, match=f"{video} is a file; give its folder"):
        run(video, run_dir, tmp_path)
    with pytest.raises(
        ConfigError, match=f"{tmp_path} holds no corpus.json; name several corpora, or one folder"
    ):
        list(
            extract(
                [str(tiny_corpus), str(tmp_path)],
                EncoderChoice(path=run_dir),
                CONFIG,
                tmp_path / "out",
            )
        )


def test_frames_of_a_corpus_repeat_only_if_that_is_allowed_and_are_counted(
    tiny_corpus: Path, run_dir: Path, tmp_path: Path
) -> None:
    choice = EncoderChoice(path=run_dir, fps=16.0)
    with pytest.raises(
        ConfigError,
        match=r"10 of 10 clips of alpha store 8 frames per second.*--fps 8, .*_frames true",
    ):
        list(extract([str(tiny_corpus)], choice, CONFIG, tmp_path / "out"))
    assert not (tmp_path / "out").exists()

    allowed = replace(CONFIG, allow_repeated_frames=True)
    progress = list(extract([str(tiny_corpus)], choice, allowed, tmp_path / "out"))
    assert all(video.repeats_frames for video in progress)
    counts = read_features(tmp_path / "out").facts["counts"]
    assert counts["videos_with_repeated_frames"] == {"alpha": 2, "beta": 2, "gamma": 2}
    again = list(extract([str(tiny_corpus)], choice, allowed, tmp_path / "out"))
    assert all(video.reused and video.repeats_frames for video in again)


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("duration_s", 1e12, r"lasts 1e\+12 s"),
        ("duration_s", math.nan, "lasts nan s"),
        ("start_s", -4.0, "starts at -4 s"),
        ("start_s", 1e300, r"starts at 1e\+300 s"),
        ("fps", 0.0, "has 0 frames per second"),
    ],
)
def test_impossible_times_in_an_index_are_refused_before_work(
    corpus_copy: Path, run_dir: Path, tmp_path: Path, column: str, value: float, found: str
) -> None:
    index = corpus_copy / "beta/index.parquet"
    table = parquet.read_table(index)
    place = table.column_names.index(column)
    values = [*table[column].to_pylist()[:-1], value]
    parquet.write_table(table.set_column(place, table.field(place), [values]), index)
    with pytest.raises(ShardError, match=f"beta/.*{found}|beta"):
        run(corpus_copy, run_dir, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*/*.safetensors"))
