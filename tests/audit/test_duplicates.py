"""Near-duplicates across the parts of a split, from the duplicate groups of corpora."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from surgrec_shard.duplicate_groups import groups_table
from surgrec_shard.further_columns import publish_further_columns

from surgrec.audit import Audit, audit_split, read_split_clips, require_passed
from surgrec.errors import ConfigError, ShardError
from surgrec.shards import Dropped, VideoLabel, open_corpus
from surgrec.shards._index import rows_to_parquet
from surgrec.storage import open_store
from tests.support.samples import CLIP, write_corpus

RULES = "name: ours\ntrain: {stored: [train]}\nval: {stored: [val]}\ntest: {stored: [test]}\n"
VIDEOS = {
    **{f"case-{number}": "train" for number in (1, 2, 3)},
    **{f"case-{number}": "val" for number in (4, 5)},
    **{f"case-{number}": "test" for number in (6, 7, 8)},
}


def corpus(root: Path, groups: Mapping[str, int | None]) -> str:
    """Write a corpus with one video per case, of which some are in duplicate groups.

    Args:
        root: Its folder.
        groups: The group of each case; None: the video was never compared.
    """
    clips = [
        replace(CLIP, source="alpha", case=case, video=f"{number:012x}", split=split)
        for number, (case, split) in enumerate(VIDEOS.items(), start=1)
    ]
    write_corpus(root, {"alpha": clips})
    (root / "alpha/labels.parquet").write_bytes(rows_to_parquet(VideoLabel, []))
    (root / "alpha/dropped.parquet").write_bytes(rows_to_parquet(Dropped, []))
    if groups:
        sources = open_corpus(str(root))
        rows = sources["alpha"].index.table().to_pylist()
        found = {
            (row["key"], row["sha256"]): groups.get(row["case"], 0)
            for row in rows
            if groups.get(row["case"], 0) is not None
        }
        table = groups_table({key: number or 0 for key, number in found.items()})
        publish_further_columns(open_store(str(root)), sources, table, is_alone=True)
    return str(root)


def audited(folder: Path, corpora: list[str], **options: list[str]) -> Audit:
    (folder / "split.yaml").write_text(RULES)
    return audit_split(read_split_clips([str(folder / "split.yaml")], corpora=corpora), **options)


def found(audit: Audit) -> dict[tuple[str, tuple[str, ...]], tuple[str, int, int]]:
    return {
        (each.name, each.parts): (each.severity, each.found, each.of)
        for each in audit.findings
        if "copies" in each.name
    }


def test_a_copy_in_train_and_test_fails_unless_it_is_allowed(tmp_path: Path) -> None:
    copies = corpus(tmp_path / "corpus", {"case-2": 1, "case-7": 1})
    audit = audited(tmp_path, [copies])
    assert found(audit) == {("shared_copies", ("train", "test")): ("fail", 1, 3)}
    message = (
        "split ours: 1 of 3 test videos shows the same as 1 train video of other cases "
        r"\(alpha/case-7 is like alpha/case-2\); look at the times"
    )
    with pytest.raises(ConfigError, match=message):
        require_passed(audit)
    allowed = audited(tmp_path, [copies], allow=["shared_copies"])
    require_passed(allowed)
    assert allowed.overrides == [
        "allowed by --allow shared_copies: 1 of 3 test videos shows the same as 1 train video of "
        "other cases"
    ]


def test_all_pairs_of_parts_and_each_part_are_compared(tmp_path: Path) -> None:
    groups = {"case-1": 1, "case-4": 1, "case-5": 2, "case-6": 2, "case-7": 2}
    audit = audited(tmp_path, [corpus(tmp_path / "corpus", groups)])
    assert found(audit) == {
        ("shared_copies", ("train", "val")): ("fail", 1, 2),
        ("shared_copies", ("val", "test")): ("fail", 2, 3),
        ("copies_in_part", ("test",)): ("warn", 2, 3),
    }


def test_videos_that_were_never_compared_are_named(tmp_path: Path) -> None:
    audit = audited(tmp_path, [corpus(tmp_path / "corpus", {"case-1": None, "case-6": 1})])
    (finding,) = [each for each in audit.findings if "copies" in each.name]
    assert finding.name == "copies_unknown"
    assert finding.sentence == "1 of 8 videos were not searched for near-duplicates"
    assert finding.examples == (f"{1:012x}",)


def test_a_column_of_groups_that_are_no_numbers_is_refused(tmp_path: Path) -> None:
    copies = corpus(tmp_path / "corpus", {})
    sources = open_corpus(copies)
    rows = sources["alpha"].index.table().select(["key", "sha256"])
    table = rows.append_column("duplicate_group", pa.array(["a"] * rows.num_rows))
    publish_further_columns(open_store(copies), sources, table, is_alone=True)
    with pytest.raises(ShardError, match=r"column duplicate_group .* has no whole numbers"):
        audited(tmp_path, [copies])
