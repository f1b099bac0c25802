"""The rows of an evaluation split: the videos or the labels that its rules select in corpora."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from surgrec.annotations import NONE_PRESENT
from surgrec.audit._clips import Clip, SplitClips
from surgrec.errors import ConfigError
from surgrec.shards import Source, VideoLabel, open_corpus, read_corpus_labels
from surgrec.splits import CaseVideo, Parts, Split, corpus_videos, divide, read_split


def read_rules(path: Path, corpora: Sequence[str], task: str) -> SplitClips:
    """Return the videos that a split file selects, or their labels of a task.

    Args:
        path: YAML file of rules.
        corpora: Addresses of corpora.
        task: Task of the labels; empty: one row per video, without a label.

    Raises:
        SurgrecError: A file or a corpus cannot be read, or a rule matches nothing.
        ConfigError: The selected videos have no label of the task.
    """
    if not corpora:
        raise ConfigError(
            f"{path} has rules over the cases of a corpus; give the corpus with --corpus"
        )
    split = read_split(path)
    sources = open_corpus(list(corpora))
    parts = divide(split, corpus_videos(sources))
    labels = _labels(sources, task) if task else None
    clips = clips_of(split, parts, labels)
    if task and not any(clip.label for clip in clips.clips):
        raise ConfigError(f"the selected videos have no label of --task {task}; check its name")
    return clips


def clips_of(
    split: Split, parts: Parts, labels: Mapping[tuple[str, str], Sequence[VideoLabel]] | None
) -> SplitClips:
    """Return the videos of a divided split as rows: one for each label, or else one.

    Args:
        split: The split.
        parts: The videos that it selects.
        labels: Labels of one task, by source and video; None: rows without labels.
    """
    videos = parts.by_name
    clips = [
        clip
        for part, chosen in videos.items()
        for video in chosen
        for clip in _clips_of_video(part, video, labels)
    ]

    return SplitClips(
        name=split.name,
        clips=clips,
        case_rule="a case of the corpus",
        sources=tuple(sorted({video.source for chosen in videos.values() for video in chosen})),
        digests={split.name: split.sha256},
        duplicate_groups={
            video.video: video.duplicate_groups for chosen in videos.values() for video in chosen
        },
        absent=tuple(parts.absent),
    )


def _clips_of_video(
    part: str, video: CaseVideo, labels: Mapping[tuple[str, str], Sequence[VideoLabel]] | None
) -> Iterator[Clip]:
    # The name of a video is a digest of its file, so it is the same under any source.
    clip = Clip(
        part=part,
        path=video.video,
        case=video.case_name,
        video=video.video,
        patient=video.patient,
    )

    # A video without labels is one row, so that its case is checked.
    found = [
        label
        for label in (labels or {}).get((video.source, video.video), ())
        if label.value != NONE_PRESENT
    ]
    if not found:
        yield clip
    for label in found:
        yield clip._replace(label=label.value, start=label.start_s, end=label.end_s)


def _labels(sources: Mapping[str, Source], task: str) -> dict[tuple[str, str], list[VideoLabel]]:
    labels: dict[tuple[str, str], list[VideoLabel]] = defaultdict(list)
    for name, source in sources.items():
        for label in read_corpus_labels(source):
            if label.task == task:
                labels[name, label.video].append(label)
    return labels
