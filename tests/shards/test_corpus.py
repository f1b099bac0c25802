import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from surgrec.errors import MissingError, ShardError
from surgrec.shards import CorpusFile, Sample, open_corpus, read_corpus_labels, unlisted_files
from surgrec.shards._index import SourceIndex
from surgrec.shards.layout import CORPUS_FILE, INDEX_FILE, SCHEMA_VERSION
from surgrec.storage import open_store
from tests.support.samples import make_clips, make_mp4, samples_to_parquet, write_corpus


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_corpus(
        tmp_path / "corpus", {name: make_clips(10, name) for name in ("alpha", "beta")}
    )


def edit(root: Path, *path: str | int, value: Any) -> None:
    """Set one value in corpus.json; the value `...` removes it."""
    data = json.loads((root / CORPUS_FILE).read_text())
    parent = data
    for step in path[:-1]:
        parent = parent[step]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    (root / CORPUS_FILE).write_text(json.dumps(data))


def index_samples(root: Path, source: str) -> list[Sample]:
    index = open_corpus([root])[source].index
    return [index.sample(row) for row in range(index.num_rows)]


def test_a_corpus_opens_with_its_sources_their_entries_and_their_indexes(root: Path) -> None:
    sources = open_corpus([root])
    assert list(sources) == ["alpha", "beta"]
    for name, source in sources.items():
        assert source.name == name
        assert source.index.num_rows == source.entry.samples == 10
        assert [shard.samples for shard in source.entry.shards] == [4, 4, 2]
        assert source.store.address == str(root)


def test_corpus_json_reads_back_as_it_was_written(root: Path) -> None:
    store = open_store(root)
    corpus = CorpusFile.read(store)
    assert corpus is not None
    assert corpus.schema_version == SCHEMA_VERSION
    before = (root / CORPUS_FILE).read_bytes()
    corpus.write(store)
    assert (root / CORPUS_FILE).read_bytes() == before
    assert CorpusFile.read(store) == corpus


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    assert CorpusFile.read(open_store(tmp_path)) is None
    with pytest.raises(
        ShardError, match=re.escape(f"{tmp_path} contains no corpus (no corpus.json)")
    ):
        open_corpus([tmp_path])
    CorpusFile().write(open_store(tmp_path))
    with pytest.raises(ShardError, match=f"{tmp_path} contains no corpus"):
        open_corpus([tmp_path])


def test_several_roots_open_together(tmp_path: Path) -> None:
    roots = [
        write_corpus(tmp_path / name, {name: make_clips(3, name)}) for name in ("alpha", "beta")
    ]
    sources = open_corpus([str(roots[0]), roots[1]])
    assert {name: source.store.address for name, source in sources.items()} == {
        "alpha": str(roots[0]),
        "beta": str(roots[1]),
    }


def test_a_single_string_or_path_is_one_root(root: Path) -> None:
    assert open_corpus(str(root)).keys() == open_corpus(root).keys() == open_corpus([root]).keys()


def test_two_roots_with_a_source_of_the_same_name_are_refused(root: Path, tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "other", {"beta": make_clips(2, "beta")})
    with pytest.raises(ShardError, match=re.escape(f"'beta' is in both {root} and {other}")):
        open_corpus([root, other])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ["schema_version"],
            1,
            "has schema version 1, but this version of SurgRec reads version 4; "
            "build the corpus again",
        ),
        (["schema_version"], ..., "has no schema version, but this version of SurgRec reads"),
        (["schema_version"], 5, "has schema version 5, .* reads version 4; update SurgRec"),
        (
            ["schema_version"],
            "2",
            "has schema version '2', but this version of SurgRec reads version 4",
        ),
        (["sources"], [], "sources is a list, not an object"),
        (["sources", "../x"], {"shards": []}, "'../x' is not a valid source name"),
        (["sources", "a/b"], {"shards": []}, "'a/b' is not a valid source name"),
        (["sources", "beta"], 3, "sources.beta is a whole number, not an object"),
        (
            ["sources", "beta", "samples"],
            "10",
            "sources.beta.samples is a text, not a whole number",
        ),
        (["sources", "beta", "samples"], ..., "samples"),
        (["sources", "beta", "hours"], None, "sources.beta.hours is null, not a number"),
        (["sources", "beta", "domain"], ["x"], "sources.beta.domain is a list, not a text"),
        (["sources", "beta", "surprise"], 1, "surprise"),
        (["sources", "beta", "shards"], "none", "sources.beta.shards is a text, not a list"),
        (
            ["sources", "beta", "shards", 0, "bytes"],
            1.5,
            r"sources.beta.shards\[0\].bytes is a number",
        ),
        (["sources", "beta", "shards", 0, "md5"], "x", "md5"),
        (["settings"], [1], "settings is a list, not an object"),
        (["encoder"], None, "encoder is null, not an object"),
        (["surprise"], 1, "has the unknown field surprise"),
        (["sources", "beta", "samples"], -1, "sources.beta.samples has the fault: expected a"),
        (["sources", "beta", "hours"], float("nan"), "has NaN in place of a number"),
        (["sources", "beta", "bytes"], 1 << 80, "of more than 64 bits"),
    ],
)
def test_a_corpus_json_of_another_format_is_refused_with_the_reason(
    root: Path, path: list[str | int], value: Any, message: str
) -> None:
    edit(root, *path, value=value)
    with pytest.raises(ShardError, match=f"{root}/corpus.json.*{message}"):
        open_corpus([root])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 100_000,
        b"\0" * 99,
        b'{"a": 1, "a": 2}',
    ],
)
def test_a_file_that_is_not_a_corpus_json_is_refused(root: Path, data: bytes) -> None:
    (root / CORPUS_FILE).write_bytes(data)
    with pytest.raises(ShardError, match=f"{root}/corpus.json"):
        open_corpus([root])


def test_an_index_with_another_number_of_rows_is_refused(root: Path) -> None:
    samples = index_samples(root, "beta")
    (root / "beta" / INDEX_FILE).write_bytes(samples_to_parquet(samples[:-1]))
    with pytest.raises(
        ShardError, match=r"beta/index.parquet has 9 rows, but corpus.json lists 10"
    ):
        open_corpus([root])


@pytest.mark.parametrize(
    "shard", ["../../etc/passwd", "/etc/passwd", "", "beta-train-00000000.tar.idx"]
)
def test_an_index_with_an_invalid_shard_name_is_refused(root: Path, shard: str) -> None:
    samples = index_samples(root, "beta")
    samples[4] = replace(samples[4], shard=shard)
    (root / "beta" / INDEX_FILE).write_bytes(samples_to_parquet(samples))
    with pytest.raises(ShardError, match=f"names the shard '{shard}', an invalid name"):
        open_corpus([root])


def test_an_index_of_another_source_is_refused(root: Path) -> None:
    (root / "beta" / INDEX_FILE).write_bytes((root / "alpha" / INDEX_FILE).read_bytes())
    with pytest.raises(
        ShardError, match=r"beta/index.parquet is the index of the source 'alpha', not of 'beta'"
    ):
        open_corpus([root])


def test_a_missing_index_is_missing(root: Path) -> None:
    (root / "beta" / INDEX_FILE).unlink()
    with pytest.raises(MissingError, match=r"beta/index.parquet"):
        open_corpus([root])


def test_labels_of_a_source_are_those_it_was_built_with(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    labels = {
        (label.task, label.start_s, label.end_s, label.value)
        for label in read_corpus_labels(sources["alpha"])
    }
    assert labels == {
        ("phase", 0.0, 5.0, "access"),
        ("phase", 5.0, 20.0, "dissection"),
        ("tool", 3.0, 6.0, "grasper"),
    }
    assert read_corpus_labels(sources["gamma"]) == []


def test_missing_tables_of_a_source_are_named(tiny_corpus: Path, root: Path) -> None:
    assert open_corpus([tiny_corpus])["alpha"].missing_tables() == []
    assert open_corpus([root])["alpha"].missing_tables() == ["labels.parquet", "dropped.parquet"]


def test_shards_and_offset_files_that_no_entry_lists_are_found(root: Path) -> None:
    for name in ("alpha-train-00009000.tar", "alpha-train-00009000.tar.idx", "notes.tar"):
        (root / "alpha" / name).touch()
    (root / "beta/beta-val-00000000.tar").touch()
    store, sources = (
        open_store(root),
        {name: source.entry for name, source in open_corpus([root]).items()},
    )
    unlisted = list(unlisted_files(store, sources))
    assert unlisted == [
        "alpha/alpha-train-00009000.tar",
        "alpha/alpha-train-00009000.tar.idx",
        "beta/beta-val-00000000.tar",
    ]
    assert list(unlisted_files(store, sources, "beta/")) == unlisted[2:]


def test_a_pickled_source_opens_its_index_again(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(5000)}, clips_per_shard=5000)
    source = open_corpus([root])["alpha"]
    data = pickle.dumps(source)
    assert len(data) < 4000, "no rows"
    sent = pickle.loads(data)
    assert sent.index.table().equals(source.index.table())


def test_a_pickled_index_of_the_callers_own_rows_keeps_them(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(8)})
    table = open_corpus([root])["alpha"].index.table()
    index = SourceIndex(table.append_column("quality", pa.array(range(8))), "here")
    assert pickle.loads(pickle.dumps(index)).table().equals(index.table())


def test_a_pickled_source_that_was_replaced_since_is_refused(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(8)})
    data = pickle.dumps(open_corpus([root])["alpha"])
    write_corpus(root, {"alpha": make_clips(8)}, mp4=lambda clip: make_mp4(clip) * 2)
    with pytest.raises(ShardError, match=r"index\.parquet was replaced after the process"):
        pickle.loads(data)
