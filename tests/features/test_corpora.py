"""Videos of a corpus: stored clips joined by time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from surgrec.clips import torchcodec_classes
from surgrec.features._videos import VideoEntry
from surgrec.features.corpora import CorpusVideos, JoinedClips
from surgrec.shards import Sample, open_corpus
from tests.support.samples import CLIP

VideoDecoder, _ = torchcodec_classes()


def samples_of_video(corpus: Path, source: str, video: str) -> list[Sample]:
    """Return the stored clips of a video by start time."""
    index = open_corpus([corpus])[source].index
    samples = [index.sample(row) for row in range(index.num_rows)]
    return sorted(
        (sample for sample in samples if sample.clip.video == video),
        key=lambda sample: sample.clip.start_s,
    )


def whole_frames(corpus: Path, entry: VideoEntry) -> torch.Tensor:
    """Decode all stored frames of a video, clip by clip."""
    clips = []
    for sample in samples_of_video(corpus, entry.source, entry.video):
        data = (corpus / entry.source / sample.shard).read_bytes()
        clips.append(VideoDecoder(data[sample.mp4_offset : sample.mp4_offset + sample.mp4_size])[:])
    return torch.cat(clips)


def test_entries_are_the_videos_of_a_corpus_with_their_metadata(
    tiny_corpus: Path,
) -> None:
    corpora = CorpusVideos([str(tiny_corpus)])
    known = [(entry.source, entry.domain, entry.split) for entry in corpora.entries]
    assert known[:2] == [("alpha", "laparoscopy", "train")] * 2
    assert sorted(known[2:4]) == [("beta", "laparoscopy", "train"), ("beta", "laparoscopy", "val")]
    assert known[4:] == [("gamma", "cataract", "train")] * 2
    assert len({entry.case for entry in corpora.entries}) == 6
    assert corpora.facts["digests"].keys() == {"alpha", "beta", "gamma"}


def test_clips_join_to_the_timeline_of_their_video(tiny_corpus: Path) -> None:
    corpora = CorpusVideos([str(tiny_corpus)])
    entry = corpora.entries[0]
    reader = corpora.open(entry)
    assert reader.spans == ((0.0, 20.0),)

    stored = whole_frames(tiny_corpus, entry)
    assert len(stored) == 160

    times = np.array([3.5, 3.75, 3.99, 4.0, 4.25, 7.875, 8.0, 8.1, 19.9, 20.0])
    pieces = reader.pieces(times)
    assert [piece.indices.tolist() for piece in pieces] == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    for piece in pieces:
        assert isinstance(piece.frames, torch.Tensor)
        on_screen = np.minimum(np.floor(times[piece.indices] * 8 + 1e-6), 159)
        expected = stored[on_screen][..., 16:80]  # the central square
        assert torch.equal(piece.frames, expected)


def test_times_of_stored_clips_equal_times_in_the_original_video(
    tiny_corpus: Path,
) -> None:
    """A stored frame is nearest to the video's frame of the same time, within 0.15 s."""
    corpora = CorpusVideos([str(tiny_corpus)])
    original = VideoDecoder(tiny_corpus.parent / "videos/alpha/alpha-one.mp4")[:].float()
    times = np.arange(2.5, 17.5, 0.75)
    for entry in (entry for entry in corpora.entries if entry.source == "alpha"):
        pieces = [piece.frames for piece in corpora.open(entry).pieces(times)]
        stored = torch.cat(
            [frames for frames in pieces if isinstance(frames, torch.Tensor)]
        ).float()
        assert len(stored) == len(times)

        difference = (stored[:, None] - original[None, ..., 16:80]).abs().mean(dim=(2, 3, 4))
        if difference.min() < 10:  # alpha-one; the frames of the other video differ much more
            nearest = difference.argmin(dim=1).numpy() / 10
            np.testing.assert_allclose(nearest, times, atol=0.15)
            return
    raise AssertionError("neither video of alpha looks like alpha-one")


def test_a_missing_clip_ends_a_time_span(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    video = CorpusVideos([str(tiny_corpus)]).entries[0].video
    samples = samples_of_video(tiny_corpus, "alpha", video)
    assert JoinedClips([*samples[:2], *samples[3:]], sources).spans == (
        (0.0, 8.0),
        (12.0, 20.0),
    )


def test_clips_with_rounded_times_are_joined() -> None:
    """At 29.97 frames/s a clip of 10 s ends at 10.01001 s, and the index rounds."""
    clips = [
        replace(CLIP, fps=30000 / 1001, num_frames=300, duration_s=10.01, start_s=start_s)
        for start_s in (0.0, 10.01001)
    ]
    samples = [
        Sample(
            key=f"k{number}",
            clip=clip,
            shard="s",
            offset=0,
            size=0,
            mp4_offset=0,
            mp4_size=0,
            sha256="",
        )
        for number, clip in enumerate(clips)
    ]
    assert len(JoinedClips(samples, {}).spans) == 1


def test_the_digest_changes_with_the_bytes_of_a_clip(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    samples = samples_of_video(
        tiny_corpus, "alpha", CorpusVideos([str(tiny_corpus)]).entries[0].video
    )
    other = [*samples[:-1], replace(samples[-1], sha256="0" * 64)]
    assert JoinedClips(samples, sources).digest == JoinedClips(samples[::-1], sources).digest
    assert JoinedClips(samples, sources).digest != JoinedClips(other, sources).digest
