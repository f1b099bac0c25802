import itertools
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import surgrec.shards
from surgrec.annotations import Label
from surgrec.errors import ShardError
from surgrec.shards import (
    Clip,
    CorpusFile,
    Dropped,
    SourceEntry,
    VideoLabel,
    shard_name,
    source_digest,
)
from surgrec.shards.layout import (
    CLIP_FIELDS,
    LOCATION_FIELDS,
    OPTIONAL_FIELDS,
    check_key,
    check_source_name,
    clip_json,
    is_shard_name,
    read_clip_json,
)
from tests.support.samples import CLIP, make_clips

LABELS = [
    Label(task="phase", start_s=0.0, end_s=4.5, value="dissection"),
    Label(task="tool", start_s=1.0, end_s=2.0, value="häkchen"),
]


def test_a_key_names_source_video_and_start_in_milliseconds() -> None:
    clip = replace(CLIP, source="set-80", start_s=3612.5)
    assert clip.key == "set-80_0123456789ab_003612500"


def test_keys_of_a_video_sort_by_time() -> None:
    starts = [0.0, 0.5, 10.0, 99.999, 3600.0, 99_999.0]
    keys = [replace(CLIP, start_s=start_s).key for start_s in starts]
    assert keys == sorted(keys)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", fullmatch=True), st.floats(0, 10**6))
def test_every_key_fits_every_reader(source: str, start_s: float) -> None:
    key = check_key(replace(CLIP, source=source, start_s=start_s).key)
    assert "." not in key
    assert len(f"{key}.json".encode("ascii")) <= 100


@pytest.mark.parametrize("key", ["", "a.b", "_a", "-a", "a b", "ä", "a/b", "a\n", "a" * 96, "../a"])
def test_a_key_that_some_reader_rejects_is_refused(key: str) -> None:
    with pytest.raises(ShardError, match="is invalid; use at most 95 letters"):
        check_key(key)


def test_a_shard_name_says_source_split_group_part_and_digest() -> None:
    name = shard_name("set-80", "train", 12, 3, "1f3a9c07" + "0" * 56)
    assert name == "set-80-train-00012003-1f3a9c07.tar"
    assert is_shard_name(name)
    assert shard_name("set-80", "train", 12, 3) == "set-80-train-00012003.tar"
    assert is_shard_name("set-80-train-00012003.tar")
    for name in (
        "set-80-train-00012003-1f3a9c0.tar",
        "set-80-train-00012003-1F3A9C07.tar",
        "set-80-train-00012003.tar.idx",
        "a-train-1.tar",
        "a-dev-00000000.tar",
        "../a-train-00000000.tar",
        "",
    ):
        assert not is_shard_name(name)


@pytest.mark.parametrize(
    ("group", "part", "message"),
    [
        (100_000, 0, "alpha needs a group 100000, .* raise pack.group_videos"),
        (0, 1000, "alpha: group 0 needs a shard 1000, .* raise pack.shard_bytes"),
    ],
)
def test_more_shards_than_the_name_can_count_are_refused(
    group: int, part: int, message: str
) -> None:
    with pytest.raises(ShardError, match=message):
        shard_name("alpha", "train", group, part)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", "a_b", "-a", "ä", "a" * 41, "a\n"])
def test_an_invalid_source_name_is_refused(name: str) -> None:
    with pytest.raises(ShardError, match=r"FILE: .* is not a valid source name"):
        check_source_name(name, "FILE")
    assert check_source_name("Cholec80-2", "FILE") == "Cholec80-2"


def test_the_json_of_a_clip_reads_back_as_it_was() -> None:
    assert read_clip_json(clip_json(CLIP, LABELS), "FILE") == (CLIP, LABELS)
    assert read_clip_json(clip_json(CLIP, []), "FILE") == (CLIP, [])


def test_the_score_of_a_model_is_in_the_json_if_there_is_one() -> None:
    scored = replace(CLIP, model_score=0.0)
    assert json.loads(clip_json(scored, [])) == {
        **json.loads(clip_json(CLIP, [])),
        "model_score": 0.0,
    }
    assert read_clip_json(clip_json(scored, []), "FILE") == (scored, [])


def test_the_json_of_a_clip_is_byte_for_byte_the_same_and_ascii() -> None:
    data = clip_json(CLIP, LABELS)
    assert data == clip_json(replace(CLIP), list(LABELS))
    assert data.isascii()
    assert list(json.loads(data)) == sorted([*CLIP_FIELDS, "labels"])


@pytest.mark.parametrize("labels", [[], LABELS])
def test_the_json_of_every_clip_has_the_same_keys_and_plain_types(labels: list[Label]) -> None:
    """Hugging Face datasets infer a schema from the first samples: no null or list may follow."""
    empty = Clip(**{name: type(getattr(CLIP, name))() for name in CLIP_FIELDS})
    types = {field.name: field.type for field in fields(Clip) if field.name in CLIP_FIELDS}
    types |= {"labels": str}
    for clip in (CLIP, empty):
        row = json.loads(clip_json(clip, labels))
        assert {name: type(value) for name, value in row.items()} == types


def change(**values: Any) -> bytes:
    return json.dumps({**json.loads(clip_json(CLIP, LABELS)), **values}).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\x01", "NUL bytes, as after a power failure"),
        (b"[]", "is a list, not an object"),
        (b"{}", "labels"),
        (change(surgeon="A"), "surgeon"),
        (change(labels=[]), "labels is a list, not a text"),
        (change(labels='[{"task": "phase"}]'), "start_s"),
        (
            change(labels='[{"task": 3, "start_s": 0.0, "end_s": 1.0, "value": "x"}]'),
            r"labels: \[0\].task is a whole number, not a text",
        ),
        (change(fps="8"), "fps is a text, not a number"),
        (change(num_frames=80.0), "num_frames is a number, not a whole number"),
        (change(fps=float("nan")), "has NaN in place of a number"),
        (change(labels="[" * 100_000), "labels is nested more than 64 levels deep"),
        (change(case=None), "case is null, not a text"),
    ],
)
def test_json_of_another_format_is_refused_with_file_and_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ShardError, match=f"shard/key.*{reason}"):
        read_clip_json(data, "shard/key")


def test_the_digest_of_a_source_is_fixed_and_ignores_the_order_of_rows() -> None:
    rows = [(clip.key, f"{number:064x}") for number, clip in enumerate(make_clips(3))]
    assert source_digest(rows) == source_digest(rows[::-1])
    assert source_digest(rows) == "53b85378c8b109369605178d485f03a0d135f089fb987580d83b1773e8d4678b"
    assert source_digest(rows[:2]) != source_digest(rows)
    swapped = [(rows[0][0], rows[1][1]), (rows[1][0], rows[0][1]), rows[2]]
    assert source_digest(swapped) != source_digest(rows)


def test_the_specification_names_every_field() -> None:
    readme = Path(surgrec.shards.__file__).with_name("README.md").read_text(encoding="utf-8")
    for name in (*CLIP_FIELDS, *LOCATION_FIELDS, *OPTIONAL_FIELDS, "labels"):
        assert f"`{name}`" in readme
    for kind in (CorpusFile, SourceEntry, VideoLabel, Dropped):
        for field in fields(kind):
            assert re.search(rf"\b{field.name}\b", readme)


def test_the_documented_patterns_give_energon_the_stored_splits() -> None:
    readme = (Path(surgrec.shards.__file__).parent / "README.md").read_text(encoding="utf-8")
    patterns = dict(re.findall(r"--split-parts '(\w+):([^']+)'", readme))
    assert [*patterns] == ["train", "val", "test"]
    for source in ("cholec80", "a-train-b", "test", "x-val-1"):
        for split, sha256 in itertools.product(patterns, ("", "3f" * 32)):
            path = f"{source}/{shard_name(source, split, 12, 3, sha256)}"
            matched = [name for name, pattern in patterns.items() if re.fullmatch(pattern, path)]
            assert matched == [split], path
