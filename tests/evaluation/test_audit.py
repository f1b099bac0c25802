"""Audit of an evaluation: leaks, pretraining overlap, odd labels."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgrec.encoders import read_preset
from surgrec.errors import CheckpointError, ConfigError
from surgrec.evaluation._audit import (
    Check,
    SplitAudit,
    audit_label_times,
    audit_labels,
    audit_pretraining,
    audit_split,
    require_task,
    train_values,
)
from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._published_sets import audit_published_sets
from surgrec.evaluation.kinds import KINDS
from surgrec.manifest import Video
from surgrec.runs.drawn import pretraining_data, record_drawn
from surgrec.shards import Clip, Source, VideoLabel, open_corpus
from surgrec.splits import CaseVideo, Parts, Rule, Split, corpus_videos
from surgrec.stream import Level, Mixture, Stream
from tests.support.samples import CLIP, make_clips, write_corpus
from tests.support.videos import build_corpus, make_video


def videos(*names: str) -> list[CaseVideo]:
    """Return videos from names `source/case/video`."""
    parts = [name.split("/") for name in names]
    return [
        CaseVideo(source=source, case=case, video=video, stored="train")
        for source, case, video in parts
    ]


def parts(train: list[CaseVideo], test: list[CaseVideo], **others: Any) -> Parts:
    """Return the parts of a split."""
    return Parts(**({"train": train, "test": test, "absent": [], "named": 0} | others))


def label(video: str, value: str) -> VideoLabel:
    """Return a label of the task `phase`."""
    return VideoLabel(
        video=video, case="", split="train", task="phase", start_s=0.0, end_s=1.0, value=value
    )


def windows(*values: str, num_cases: int = 1) -> PartWindows:
    """Return a part whose labeled windows have these values."""
    return PartWindows(
        rows=[],
        values=list(values),
        times_s=np.zeros(len(values)),
        indices=np.arange(len(values)),
        unlabeled=0,
        failed=0,
        num_cases=num_cases,
    )


def provenance(
    sources: dict[str, Source], names: Sequence[str], splits: Sequence[str] = ("train",)
) -> dict[str, Any]:
    """Return the provenance of an encoder whose run drew from these sources."""
    mixture = Mixture(
        splits=list(splits), levels=[Level(by="source", alpha=0.0), Level(by="case", alpha=0.0)]
    )
    stream = Stream({name: sources[name] for name in names}, mixture, seed=1)
    return {"drawn": record_drawn(stream, 5000, {}), "init_from": None}


def pretraining_audit(
    test: list[CaseVideo], claimed: Mapping[str, Any], sources: dict[str, Source], **options: bool
) -> SplitAudit:
    """Audit an encoder of this provenance; nothing is allowed unless an option says so."""
    options = {"allow_overlap": False, "allow_unknown": False} | options
    return audit_pretraining(test, pretraining_data(claimed, "run"), sources, **options)


def counts(checks: list[Check]) -> dict[str, tuple[int, int]]:
    """Return the count and the total of each check."""
    return {check.check: (check.found, check.of) for check in checks}


SEEN, UNKNOWN = (
    "test cases that the encoder was pretrained on",
    "test cases for which this is unknown",
)


def audited(
    train: list[CaseVideo], test: list[CaseVideo], *, allow: list[str] | None = None, **others: Any
) -> SplitAudit:
    """Return the audit of a split without labels."""
    rule = Rule(sources=[], cases=[], stored=[])
    split = Split(name="ours", train=rule, test=rule, sha256="")
    return audit_split(split, parts(train, test, **others), {}, allow=allow)


def test_disjoint_parts_pass_and_report_the_compared_numbers() -> None:
    train, test = videos("a/1/p", "a/2/q", "a/2/r"), videos("a/3/s", "b/1/t")
    found = counts(audited(train, test).checks)
    assert found == {
        "cases in train and test": (0, 4),
        "videos in train and test": (0, 5),
        "few_test_cases: test has 2 cases, too few for a verdict": (2, 10),
    }
    rows = audited(train, test, absent=["7"], named=40).checks
    assert asdict(rows[2]) == {
        "check": "cases that the split names and the corpus lacks",
        "found": 1,
        "of": 40,
    }


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            ["a/1/p", "a/2/q", "a/3/r"],
            ["a/2/s", "a/3/t", "a/4/u"],
            r"2 of 3 test clips are of 2 cases that train has, too \(a/2, a/3\); divide the set",
        ),
        (
            ["a/1/p", "a/2/q"],
            ["b/1/p", "b/2/r"],
            r"1 of 2 test clips are of 1 file that train has, too \(p\); leave the clips out",
        ),
        # Equal parts are a finding beside that of their cases.
        (
            ["a/1/p", "a/2/q"],
            ["a/1/p", "a/2/q"],
            r"of 2 cases that train has, too \(a/1, a/2\), and it has 1 other failing finding",
        ),
        (
            ["a/1/p", "a/2/q"],
            ["a/3/r", "a/3/s"],
            r"test has 1 case \(a/3\), but an interval needs 2; name two or more such cases",
        ),
        (
            ["a/1/p", "a/1/q"],
            ["a/2/r", "a/3/s"],
            r"train has 1 case \(a/1\), but the choice of settings needs 2; ",
        ),
    ],
)
def test_leaks_and_parts_of_one_case_are_refused_by_name(
    train: list[str], test: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        audited(videos(*train), videos(*test))


@pytest.mark.parametrize(
    ("val", "message"),
    [
        (["a/1/p", "a/5/w"], r"1 of 2 val clips are of 1 case that train has, too \(a/1\)"),
        (["a/5/s"], "1 of 2 test clips are of 1 file that val has, too"),
        (["a/3/s", "a/4/t"], r"2 of 2 test clips are of 2 cases that val has, too \(a/3, a/4\)"),
    ],
)
def test_a_val_part_is_audited_against_both_others(val: list[str], message: str) -> None:
    train, test = videos("a/1/p", "a/2/q"), videos("a/3/s", "a/4/t")
    with pytest.raises(ConfigError, match=message):
        audited(train, test, val=videos(*val))
    rows = counts(audited(train, test, val=videos("a/5/u")).checks)
    assert rows["cases in several of train, val and test"] == (0, 5)
    assert rows["videos in several of train, val and test"] == (0, 5)


def test_a_leak_that_is_allowed_by_name_stands_in_the_overrides() -> None:
    train, test = videos("a/1/p", "a/2/q"), videos("a/2/r", "a/3/s")
    with pytest.raises(ConfigError, match=r"""or give --allow "\['shared_cases'\]", which the"""):
        audited(train, test, allow=[])
    audit = audited(train, test, allow=["shared_cases"])
    assert counts(audit.checks)["cases in train and test"] == (1, 3)
    assert audit.overrides == [
        "allowed by --allow shared_cases: 1 of 2 test clips are of 1 case that train has, too"
    ]
    with pytest.raises(ConfigError, match="'shared_case' is not a finding"):
        audited(train, test, allow=["shared_case"])


def test_a_patient_in_train_and_test_is_refused_and_counted() -> None:
    train = [replace(video, patient=video.case) for video in videos("a/1/p", "a/2/q")]
    test = [replace(video, patient=video.case) for video in videos("b/2/r", "b/3/s")]
    with pytest.raises(ConfigError, match=r"1 patient of whom train has other cases \(2\)"):
        audited(train, test)
    audit = audited(train, test, allow=["shared_patients"])
    assert counts(audit.checks)["patients in train and test"] == (1, 3)


def test_many_leaking_cases_are_named_in_short() -> None:
    shared = videos(*(f"a/{number}/{number}" for number in range(1, 9)))
    moved = videos(*(f"a/{number}/{number + 20}" for number in range(1, 9)))
    with pytest.raises(ConfigError, match=r"8 cases .*\(a/1, a/2, a/3, a/4, a/5\); divide"):
        audited([*shared, *videos("a/9/9")], moved)


def test_pretrained_test_cases_are_counted_exactly(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source in ("beta", "gamma")]
    everywhere, from_val = provenance(sources, [*sources]), provenance(sources, ["beta"], ["val"])
    with pytest.raises(
        ConfigError,
        match=r"pretrained on 3 of 4 test cases \(beta/.*allow_pretraining_overlap true",
    ):
        pretraining_audit(test, everywhere, sources)
    audit = pretraining_audit(test, everywhere, sources, allow_overlap=True)
    assert counts(audit.checks) == {SEEN: (3, 4), UNKNOWN: (0, 4)}
    assert audit.overrides == [
        "allowed by --allow_pretraining_overlap: the encoder was pretrained on 3 of 4 test cases"
    ]
    audit = pretraining_audit(test, from_val, sources, allow_overlap=True)
    assert counts(audit.checks) == {SEEN: (1, 4), UNKNOWN: (0, 4)}


@pytest.mark.parametrize("source", ["cholec80", "HeiChole", "multibypass140-bern", "cholect50"])
def test_a_source_that_a_preset_was_pretrained_on_is_refused(source: str) -> None:
    stated = {"pretraining": asdict(read_preset("surgenetxl").pretraining)}
    data = pretraining_data(json.loads(json.dumps(stated)), "surgenetxl")
    test = videos(f"{source}/1/u", f"{source}/2/v", "ours/3/w")
    with pytest.raises(
        ConfigError, match=rf"2 of 3 test .*{source}.*allow_pretraining_overlap true"
    ):
        audit_published_sets(test, data, allow_overlap=False)
    audit = audit_published_sets(test, data, allow_overlap=True)
    assert [(check.found, check.of) for check in audit.checks] == [(2, 3)]
    (override,) = audit.overrides
    assert override.startswith("allowed by --allow_pretraining_overlap: 2 of 3 test cases are of")


def test_sources_that_no_preset_names_are_counted_and_pass() -> None:
    stated = {"pretraining": asdict(read_preset("surgrec_mae").pretraining)}
    data = pretraining_data({"drawn": {"sources": {}}, "init_from": stated}, "run")
    audit = audit_published_sets(videos("ours/1/u"), data, allow_overlap=False)
    assert [(check.found, check.of) for check in audit.checks] == [(0, 1)]
    assert not audit.overrides
    with pytest.raises(ConfigError, match="m2cai16-tool has the name of M2CAI16"):
        audit_published_sets(videos("m2cai16-tool/1/u"), data, allow_overlap=False)


def test_damaged_names_of_pretraining_data_are_refused() -> None:
    with pytest.raises(
        CheckpointError, match=r"of run is damaged \(pretraining.data is not a list"
    ):
        pretraining_data({"pretraining": {"data": [7]}}, "run")


def test_only_videos_of_drawn_clips_are_recorded(tmp_path: Path) -> None:
    clips = [case_clip(str(number), number) for number in range(8)]
    sources = open_corpus([write_corpus(tmp_path, {"alpha": clips})])
    stream = Stream(sources, Mixture(), seed=1)
    drawn = {stream.sample(draw).clip.case for draw in stream.draws(np.arange(3))}
    test = corpus_videos(sources)
    claimed = {"drawn": record_drawn(stream, 3, {}), "init_from": None}
    audit = pretraining_audit(test, claimed, sources, allow_overlap=True)
    assert counts(audit.checks)[SEEN] == (len(drawn), 8)


def test_the_substitutes_of_bad_samples_are_recorded_as_drawn(tmp_path: Path) -> None:
    clips = [case_clip(str(number), number) for number in range(8)]
    sources = open_corpus([write_corpus(tmp_path, {"alpha": clips})])
    stream = Stream(sources, Mixture(), seed=1)
    (draw,) = stream.draws(np.arange(1))
    substitute = stream.key(next(stream.substitutes(draw)))
    claimed = {"drawn": record_drawn(stream, 1, {"alpha": {substitute}}), "init_from": None}
    audit = pretraining_audit(corpus_videos(sources), claimed, sources, allow_overlap=True)
    assert counts(audit.checks)[SEEN] == (2, 8)


def test_another_video_of_a_drawn_case_is_an_overlap(tmp_path: Path) -> None:
    clips = [replace(clip, case="one") for clip in make_clips(3)]
    clips += [
        replace(clip, case="one", video="ba9876543210", split="test") for clip in make_clips(3)
    ]
    sources = open_corpus([write_corpus(tmp_path / "corpus", {"alpha": clips})])
    test = [video for video in corpus_videos(sources) if video.stored == "test"]
    with pytest.raises(ConfigError, match=r"pretrained on 1 of 1 test cases \(alpha/one\)"):
        pretraining_audit(test, provenance(sources, ["alpha"]), sources)


def test_a_source_without_a_draw_is_not_an_overlap(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source == "gamma"]
    audit = pretraining_audit(test, provenance(sources, ["alpha", "beta"]), sources)
    assert counts(audit.checks) == {SEEN: (0, 2), UNKNOWN: (0, 2)}
    assert audit.overrides == []


@dataclass(frozen=True)
class LaterCorpus:
    """A corpus at the time of the evaluation, after a run that drew the cases 1, 2 and 3.

    Case 3 has two videos. The run drew the first one.
    """

    clips: list[Clip]
    seen: int
    of: int
    source: str = "alpha"
    unknown: int = 0


def case_clip(case: str, video: int, **fields: Any) -> Clip:
    """Return a clip of a case and a video."""
    return replace(CLIP, case=case, video=f"{video:012x}", **fields)


def rekeyed(case: str, video: int) -> Clip:
    """Return a clip whose case has another pseudonym than in the pretraining."""
    return case_clip(f"{case} with another key", video)


LATER = {
    "unchanged": LaterCorpus([case_clip("1", 1), case_clip("2", 2), case_clip("3", 3)], 3, 3),
    "a withdrawn clip": LaterCorpus([case_clip("1", 1), case_clip("2", 2)], 2, 2),
    "a withdrawn video of a case with two": LaterCorpus(
        [case_clip("1", 1), case_clip("3", 33)], 2, 2
    ),
    "further cases": LaterCorpus([case_clip("1", 1), case_clip("9", 9)], 1, 2),
    "encoded again": LaterCorpus(
        [case_clip("1", 1, fps=4.0, num_frames=40, config="0" * 12), case_clip("2", 2, width=48)],
        2,
        2,
    ),
    "renamed source": LaterCorpus([case_clip("1", 1), case_clip("2", 2)], 2, 2, source="omega"),
    "renamed source, withdrawn video": LaterCorpus(
        [case_clip("1", 1), case_clip("2", 2), case_clip("3", 33)], 3, 3, source="omega"
    ),
    "renamed source, other pseudonyms": LaterCorpus(
        [rekeyed("1", 1), rekeyed("2", 2), rekeyed("3", 3), rekeyed("9", 9)], 3, 4, source="omega"
    ),
    "renamed source, other pseudonyms, withdrawn video": LaterCorpus(
        [rekeyed("1", 1), rekeyed("2", 2), rekeyed("3", 33)], 2, 3, source="omega", unknown=1
    ),
    "other key": LaterCorpus([rekeyed("1", 1), rekeyed("2", 2), rekeyed("3", 3)], 3, 3),
    "other key, further case": LaterCorpus(
        [rekeyed("1", 1), rekeyed("2", 2), rekeyed("3", 3), rekeyed("9", 9)], 3, 4
    ),
    "other key, withdrawn video": LaterCorpus(
        [rekeyed("1", 1), rekeyed("2", 2), rekeyed("3", 33)], 2, 3, unknown=1
    ),
    "one corrected case name": LaterCorpus(
        [case_clip("1b", 1), case_clip("2", 2), case_clip("3", 3), case_clip("9", 9)], 3, 4
    ),
    "renamed source, other videos of two of its cases": LaterCorpus(
        [case_clip("1", 101), case_clip("2", 102), case_clip("9", 109)],
        0,
        3,
        source="omega",
        unknown=2,
    ),
    "videos copied to the same case of the same source": LaterCorpus(
        [case_clip("1", 101), case_clip("2", 102), case_clip("9", 109)], 2, 3
    ),
    "video under another case": LaterCorpus(
        [case_clip("1", 1), case_clip("2", 2), case_clip("3", 3), case_clip("8", 33)], 3, 4
    ),
}


@pytest.mark.parametrize("name", LATER)
def test_drawn_cases_are_found_in_a_corpus_that_changed_since(tmp_path: Path, name: str) -> None:
    drawn = [case_clip("1", 1), case_clip("2", 2), case_clip("3", 3)]
    drawn += [case_clip("3", 33, split="val")]
    then = open_corpus([write_corpus(tmp_path / "then", {"alpha": drawn})])
    later = LATER[name]
    clips = [replace(clip, source=later.source, split="test") for clip in later.clips]
    now = open_corpus([write_corpus(tmp_path / "now", {later.source: clips})])
    claimed = json.loads(json.dumps(provenance(then, ["alpha"])))
    audit = pretraining_audit(corpus_videos(now), claimed, now, allow_overlap=True)
    assert counts(audit.checks) == {
        SEEN: (later.seen, later.of),
        UNKNOWN: (later.unknown, later.of),
    }


def pseudonyms(source: str, *videos: int, key: int = 1) -> dict[str, list[Clip]]:
    """Return clips of cases whose names look like those of a private corpus."""
    return {
        source: [
            case_clip(f"{key:06x}{video % 10:06x}", video, source=source, split="test")
            for video in videos
        ]
    }


@pytest.mark.parametrize(
    ("later", "seen", "unknown"),
    [
        # A renamed source has other pseudonyms, as has another key.
        (pseudonyms("omega", 11, 12, key=2), 0, 2),
        (pseudonyms("alpha", 11, 12, key=2), 0, 2),
        (pseudonyms("omega", 11, 12), 0, 2),
        # Known pseudonyms are of the same key and source.
        (pseudonyms("alpha", 11, 14), 1, 0),
        # Videos of the pretraining show that its source is another one.
        (pseudonyms("alpha", 1, 2) | pseudonyms("omega", 14, 15, key=2), 2, 0),
        # Public case names of a source of its own, with a case that the pretraining cannot have.
        ({"omega": [case_clip("video01", 11, source="omega", split="test")]}, 0, 0),
    ],
)
def test_pseudonyms_that_cannot_be_compared_are_unknown(
    tmp_path: Path, later: dict[str, list[Clip]], seen: int, unknown: int
) -> None:
    drawn = [replace(clip, split="train") for clip in pseudonyms("alpha", 1, 2, 3)["alpha"]]
    then = open_corpus([write_corpus(tmp_path / "then", {"alpha": drawn})])
    now = open_corpus([write_corpus(tmp_path / "now", later)])
    claimed = json.loads(json.dumps(provenance(then, ["alpha"])))
    allowed = {"allow_overlap": True, "allow_unknown": True}
    audit = pretraining_audit(corpus_videos(now), claimed, now, **allowed)
    of = sum(map(len, later.values()))
    assert counts(audit.checks) == {SEEN: (seen, of), UNKNOWN: (unknown, of)}
    if unknown:
        with pytest.raises(
            ConfigError, match=r"is unknown \((the pseudonyms of|it drew cases of the names)"
        ):
            pretraining_audit(corpus_videos(now), claimed, now)


@pytest.mark.parametrize("public", [True, False])
def test_another_video_of_a_case_in_a_renamed_source_is_never_no_overlap(
    tmp_path: Path, public: bool
) -> None:
    corpora = (("then", "alpha", "train", "testsrc2"), ("now", "omega", "test", "testsrc"))
    for name, source, split, pattern in corpora:
        path = make_video(tmp_path / f"{name}.mp4", pattern=pattern)
        video = Video(
            path=path,
            source=source,
            domain="laparoscopy",
            case="c1",
            split=split,
            license="CC0",
        )
        build_corpus(tmp_path / name, [video], private=tmp_path / "private", public=public)
    then, now = (open_corpus([tmp_path / name]) for name in ("then", "now"))
    with pytest.raises(ConfigError, match="pretrained on 1 of 1 test cases is unknown"):
        pretraining_audit(corpus_videos(now), provenance(then, ["alpha"]), now)


def test_the_digests_of_a_record_are_keyed_by_the_drawn_data(tmp_path: Path) -> None:
    """Nobody finds a video or a case in two records by an equal digest, or by a table."""
    clips = [case_clip("1", 1), case_clip("2", 2)]
    more = [*clips, case_clip("3", 3)]
    records = []
    for name, drawn in (("one", clips), ("two", more)):
        sources = open_corpus([write_corpus(tmp_path / name, {"alpha": drawn})])
        records.append(provenance(sources, ["alpha"])["drawn"])
        assert provenance(sources, ["alpha"])["drawn"] == records[-1], "a resume writes it again"
    digests = [base64.b64decode(record["sources"]["alpha"]) for record in records]
    words = [{data[at : at + 6] for at in range(0, len(data), 6)} for data in digests]
    assert [len(each) for each in words] == [4, 6]
    assert not words[0] & words[1]

    for kind, name in (("video", f"{1:012x}"), ("case", "1")):
        unkeyed = hashlib.sha256(f"{kind}\0{name}".encode()).digest()[:6]
        assert unkeyed not in words[0] | words[1]


def test_a_record_of_an_earlier_version_without_a_key_is_read(tmp_path: Path) -> None:
    clips = [case_clip("1", 1, split="test"), case_clip("2", 2, split="test")]
    sources = open_corpus([write_corpus(tmp_path / "corpus", {"alpha": clips})])
    pairs = b"".join(
        hashlib.sha256(f"{kind}\0{name}".encode()).digest()[:6]
        for kind, name in (("video", f"{1:012x}"), ("case", "1"))
    )
    record = {"sources": {"alpha": base64.b64encode(pairs).decode()}}
    claimed = {"drawn": record, "init_from": None}
    audit = pretraining_audit(corpus_videos(sources), claimed, sources, allow_overlap=True)
    assert counts(audit.checks) == {SEEN: (1, 2), UNKNOWN: (0, 2)}


@pytest.mark.parametrize("missing", ["drawn", "initial weights", "their initial weights"])
def test_unrecorded_training_data_are_refused_unless_allowed_by_name(
    tiny_corpus: Path, missing: str
) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source == "gamma"]
    recorded = provenance(sources, ["alpha"])
    external = {"name": "vitl.pt", "format": "vjepa2", "init_from": None}
    claimed = {
        "drawn": {"init_from": None},
        "initial weights": recorded | {"init_from": external},
        "their initial weights": recorded
        | {"init_from": recorded | {"name": "first", "init_from": external}},
    }[missing]
    name = "run" if missing == "drawn" else "vitl.pt"
    finding = f"whether the encoder was pretrained on 2 of 2 test cases is unknown \\({name} has no"
    with pytest.raises(ConfigError, match=finding + ".*give --allow_unknown_pretraining true"):
        pretraining_audit(test, claimed, sources)
    options = {
        "allow_unknown": "allow_unknown_pretraining",
        "allow_overlap": "allow_pretraining_overlap",
    }
    for option, words in options.items():
        audit = pretraining_audit(test, claimed, sources, **{option: True})
        assert counts(audit.checks) == {SEEN: (0, 2), UNKNOWN: (2, 2)}
        (sentence,) = audit.overrides
        assert sentence.startswith(f"allowed by --{words}: {finding[:40]}")


def test_allowing_unknown_data_does_not_allow_a_known_overlap(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source == "alpha"]
    claimed = provenance(sources, ["alpha"]) | {"init_from": {"name": "vitl.pt"}}
    with pytest.raises(ConfigError, match="was pretrained on 2 of 2 test cases"):
        pretraining_audit(test, claimed, sources, allow_unknown=True)


def test_the_initial_weights_of_a_run_count_as_its_pretraining(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source == "gamma"]
    first = provenance(sources, ["gamma"]) | {"name": "first"}
    claimed = provenance(sources, ["alpha"]) | {"init_from": first}
    with pytest.raises(ConfigError, match="was pretrained on 2 of 2 test cases"):
        pretraining_audit(test, claimed, sources)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ([], "no mapping 'sources'"),
        ({"sources": 7}, "no mapping 'sources'"),
        ({"sources": {"alpha": 7}}, "not base64"),
        ({"sources": {"alpha": "ä"}}, "not base64"),
        ({"sources": {"alpha": "AAAA"}}, "3 bytes are not pairs of digests"),
        ({"sources": {}, "key": 7}, "its key is not 32 hexadecimal digits"),
        ({"sources": {}, "key": "ab"}, "its key is not 32 hexadecimal digits"),
        ({"sources": {}, "pseudonymous": "alpha"}, "'pseudonymous' is not a list of its sources"),
        ({"sources": {}, "pseudonymous": ["b"]}, "'pseudonymous' is not a list of its sources"),
    ],
)
def test_a_damaged_record_is_refused_by_name(record: Any, problem: str) -> None:
    with pytest.raises(CheckpointError, match=f"pretraining data of run.* is damaged .*{problem}"):
        pretraining_data({"drawn": record}, "run")


def test_a_task_needs_labeled_cases_in_both_parts_and_several_values() -> None:
    split = parts(videos("a/1/p", "a/2/q"), videos("a/3/r", "a/4/s"))
    labels = {("a", video): [label(video, "x"), label(video, "y")] for video in "pqrs"}
    require_task("phase", split, labels)
    message = r"test has 1 case with a label of phase \(a/4\), but an interval needs 2; name two or"
    with pytest.raises(ConfigError, match=message):
        require_task(
            "phase", split, {video: rows for video, rows in labels.items() if video != ("a", "r")}
        )
    one = train_values(split, {video: rows[:1] for video, rows in labels.items()})
    with pytest.raises(ConfigError, match="all train labels of phase are 'x'"):
        KINDS["classes"].require("phase", one)


def test_labels_in_another_unit_are_counted(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    video = sources["beta"].index.column("video").to_pylist()[0]
    labels = [
        replace(label(video, "x"), start_s=start_s, end_s=start_s + 25)
        for start_s in (0.0, 7.0, 600.0)
    ]
    check = audit_label_times({("beta", video): labels}, sources)
    assert (check.found, check.of) == (1, 3)
    assert check.check == "labels that begin after the last clip of their video"


def test_odd_labels_are_counted() -> None:
    labeled = LabeledWindows(
        windows("access", "access", "Phase", num_cases=3), windows("access", "step", "closure")
    )
    checks = counts(audit_labels("step", labeled))
    assert checks["labeled windows whose label looks like a table's header"] == (2, 6)
    assert checks["test windows whose label no train window has"] == (2, 3)
    assert checks["train cases without a labeled window"] == (3, 3)
