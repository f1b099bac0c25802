"""A page shows the same clips every time, of all domains, and held-out ones if possible."""

from pathlib import Path

import numpy as np

from surgrec.clips import ClipSampling
from surgrec.report._contact_sheet import contact_sheet
from surgrec.report._example_clips import choose_samples, read_clips, spread_samples, take_turns
from surgrec.shards import open_corpus


def test_samples_are_spread_over_all_videos(tiny_corpus: Path) -> None:
    source = open_corpus([tiny_corpus])["alpha"]
    rows = np.arange(source.index.num_rows)
    chosen = spread_samples(source, rows, 4)
    assert len({sample.clip.video for sample in chosen}) == 2
    assert chosen == spread_samples(source, rows, 4)
    assert len(spread_samples(source, rows, 1000)) == source.entry.samples


def test_groups_take_turns_until_all_are_empty() -> None:
    assert take_turns([[1, 2, 3], [], [4], [5, 6]]) == [1, 4, 5, 2, 6, 3]


def test_chosen_clips_are_from_splits_the_run_does_not_draw_from(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    chosen = choose_samples(sources, drawn_splits=["train"], min_duration_s=1.0, count=6)
    assert chosen.held_out
    assert [sample.clip.split for _, sample in chosen.samples] == ["val", "val"]


def test_without_another_split_drawn_clips_of_all_domains_are_chosen(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    chosen = choose_samples(sources, drawn_splits=["train", "val"], min_duration_s=3.0, count=4)
    assert not chosen.held_out
    assert [sample.clip.source for _, sample in chosen.samples] == [
        "alpha",
        "gamma",
        "beta",
        "gamma",
    ]
    assert min(sample.clip.duration_s for _, sample in chosen.samples) > 3


def test_a_clip_that_cannot_be_decoded_is_left_out_and_named(corpus_copy: Path) -> None:
    chosen = choose_samples(
        open_corpus([corpus_copy]), drawn_splits=["train"], min_duration_s=1.0, count=2
    )
    (_, bad), (_, good) = chosen.samples
    with (corpus_copy / "beta" / bad.shard).open("r+b") as file:
        file.seek(bad.mp4_offset)
        file.write(bytes(bad.mp4_size))
    clips = read_clips(chosen, ClipSampling(num_frames=4, fps=4.0), 32)
    assert clips.samples == [good]
    assert clips.pixels.shape == (1, 3, 4, 32, 32)
    assert len(clips.bad) == 1
    assert bad.key in clips.bad[0]


def test_a_contact_sheet_goes_on_without_a_bad_clip(corpus_copy: Path) -> None:
    source = open_corpus([corpus_copy])["beta"]
    whole = contact_sheet(source)
    assert whole.picture is not None
    assert not whole.bad
    sample = source.index.sample(0)
    with (corpus_copy / "beta" / sample.shard).open("r+b") as file:
        file.seek(sample.mp4_offset)
        file.write(bytes(sample.mp4_size))
    sheet = contact_sheet(source)
    assert sheet.picture is not None
    assert [reason.partition(":")[0] for reason in sheet.bad] == [sample.key]
