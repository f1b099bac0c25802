"""Overlap of the test part with the corpora that an encoder was pretrained on."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from surgrec.audit._clips import Clip, SplitClips
from surgrec.audit._findings import Finding, some
from surgrec.audit._rows import plain
from surgrec.duplicates import known_overlaps
from surgrec.errors import ConfigError, ManifestError
from surgrec.json_files import read_json
from surgrec.runs.drawn import named_videos
from surgrec.shards import open_corpus
from surgrec.splits import CaseVideo, corpus_videos
from surgrec.text import counted


class _Copy(TypedDict):
    """The part of a row of `surgrec-shard dedup --json` that matters here."""

    video: str
    other_split: str


class _Copies(TypedDict):
    found: list[_Copy]


def check_pretraining(
    split: SplitClips, corpora: Sequence[str], copies: Path | None = None
) -> list[Finding]:
    """Find test cases in the stored split `train` of corpora, from which runs draw by default.

    Args:
        split: The split. Videos and cases of rules are compared by their names in the corpora;
            those of files by case, with the source that has the name of the published set.
        corpora: Addresses of the corpora of the pretraining; empty: only `copies` are checked.
        copies: Output of `surgrec-shard dedup CORPUS --against PRETRAINING --json`, of videos that
            look like test videos of rules.

    Raises:
        SurgrecError: A corpus or the file cannot be read.
    """
    found = _of_corpora(split, corpora) if corpora else []
    return [*found, *(_copies(split, copies) if copies is not None else [])]


def _of_corpora(split: SplitClips, corpora: Sequence[str]) -> list[Finding]:
    sources = open_corpus(list(corpora))
    drawn = [video for video in corpus_videos(sources) if video.stored == "train"]
    test = split.parts.get("test", [])
    if split.sources:
        found = list(_of_rules(test, drawn))
    else:
        same = {name for name in sources if plain(name) == plain(split.dataset)}
        hidden = {name for name in same if named_videos(sources[name]).has_pseudonyms}
        cases = {video.case for video in drawn if video.source in same - hidden}
        found = [
            *_shared("pretraining_cases", "case", lambda clip: clip.case, cases, test),
            *_unknown(split, test, hidden),
        ]
    return [*found, *_known(split, sources)]


def _copies(split: SplitClips, path: Path) -> list[Finding]:
    if not split.sources:
        raise ConfigError(
            "--copies is about the videos of a corpus, and this split has none; give a YAML file "
            "of rules with --corpus"
        )
    remedy = "give the output of surgrec-shard dedup CORPUS --against PRETRAINING --json"
    copies = read_json(path, _Copies, error=ManifestError, remedy=remedy)["found"]
    names = {row["video"] for row in copies if row["other_split"] == "train"}
    test = split.parts.get("test", [])
    return list(_shared("pretraining_copies", "video", lambda clip: clip.video, names, test))


def _of_rules(test: Sequence[Clip], drawn: Sequence[CaseVideo]) -> Iterator[Finding]:
    cases = {video.case_name for video in drawn}
    yield from _shared("pretraining_cases", "case", lambda clip: clip.case, cases, test)

    videos = {video.video for video in drawn}
    yield from _shared("pretraining_videos", "video", lambda clip: clip.video, videos, test)

    patients = {video.patient for video in drawn} - {""}
    others = [clip._replace(patient="") if clip.case in cases else clip for clip in test]
    yield from _shared(
        "pretraining_patients", "patient", lambda clip: clip.patient, patients, others
    )


def _shared(
    name: str,
    unit: str,
    key: Callable[[Clip], str],
    trained: Collection[str],
    test: Sequence[Clip],
) -> Iterator[Finding]:
    shared = [key(clip) for clip in test if key(clip) in trained]
    if shared:
        relation = "look like videos of" if name == "pretraining_copies" else "are in"
        yield Finding(
            name=name,
            severity="fail",
            parts=("test",),
            found=len(shared),
            of=len(test),
            sentence=(
                f"{counted(len(set(shared)), unit)} of {len(shared)} of "
                f"{counted(len(test), 'test clip')} {relation} the pretraining corpus"
            ),
            remedy="test on others, or pretrain without them",
            examples=some(set(shared)),
        )


def _unknown(split: SplitClips, test: Sequence[Clip], hidden: Collection[str]) -> Iterator[Finding]:
    if hidden and test:
        yield Finding(
            name="pretraining_unknown",
            severity="warn",
            parts=("test",),
            found=len(test),
            of=len(test),
            sentence=(
                f"the source {', '.join(sorted(hidden))} of the pretraining has pseudonyms, which "
                "cannot be compared with the cases of file names"
            ),
            remedy="build the test videos into a corpus with the same private key",
        )


def _known(split: SplitClips, sources: Collection[str]) -> Iterator[Finding]:
    names = set(split.sources) or {split.dataset}
    for overlap in known_overlaps(names, set(sources) - names):
        yield Finding(
            name="pretraining_sets",
            severity="warn",
            parts=("test",),
            found=1,
            of=1,
            sentence=overlap.sentence(),
            remedy="compare the videos with surgrec-shard dedup, and leave these cases out",
        )
