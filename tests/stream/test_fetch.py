import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from surgrec.errors import MissingError, SampleError, ShardError, StorageError
from surgrec.shards import Sample, Source, open_corpus
from surgrec.storage._local import LocalStore
from surgrec.stream import Fetcher
from surgrec.stream._fetch import coalesce_ranges
from tests.support.samples import CLIP, make_clips, make_mp4, write_corpus


def sample_at(source: str, shard: str, offset: int, size: int) -> Sample:
    return Sample(
        key=f"{source}_{shard}_{offset}",
        clip=replace(CLIP, source=source),
        shard=shard,
        offset=offset,
        size=size,
        mp4_offset=offset,
        mp4_size=size,
        sha256="",
    )


SAMPLES = st.lists(
    st.builds(
        sample_at,
        st.sampled_from(["alpha", "beta"]),
        st.sampled_from(["one.tar", "two.tar"]),
        st.integers(0, 3000),
        st.integers(0, 400),
    ),
    max_size=25,
)


@given(SAMPLES, st.integers(0, 500))
def test_ranges_cover_every_sample_once_and_merge_exactly_the_neighbors(
    samples: list[Sample], gap: int
) -> None:
    ranges = coalesce_ranges(samples, gap)
    assert sorted(index for byte_range in ranges for index in byte_range.samples) == list(
        range(len(samples))
    )
    for byte_range in ranges:
        members = sorted(
            (samples[index] for index in byte_range.samples), key=lambda member: member.mp4_offset
        )
        assert {(member.clip.source, member.shard) for member in members} == {
            (byte_range.source, byte_range.shard)
        }
        assert members[0].mp4_offset == byte_range.offset
        end = byte_range.offset
        for member in members:
            assert member.mp4_offset <= end + gap  # no wider gap is read
            end = max(end, member.mp4_offset + member.mp4_size)
        assert end == byte_range.offset + byte_range.size
    for one in ranges:
        for other in ranges:
            if (one.source, one.shard) == (other.source, other.shard) and one.offset < other.offset:
                assert other.offset > one.offset + one.size + gap


def test_neighbors_are_read_together_and_distant_samples_apart() -> None:
    near = [sample_at("alpha", "one.tar", offset, 100) for offset in (500, 0, 250)]
    far = sample_at("alpha", "one.tar", 5000, 100)
    ranges = coalesce_ranges([*near, far], gap_bytes=150)
    assert [(byte_range.offset, byte_range.size, byte_range.samples) for byte_range in ranges] == [
        (0, 600, (1, 2, 0)),
        (5000, 100, (3,)),
    ]


def test_nothing_is_read_for_no_sample() -> None:
    assert coalesce_ranges([]) == []


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Source]:
    return open_corpus(
        [
            write_corpus(
                tmp_path / "corpus", {name: make_clips(10, name) for name in ("alpha", "beta")}
            )
        ]
    )


def all_samples(corpus: dict[str, Source]) -> list[Sample]:
    return [
        source.index.sample(row)
        for source in corpus.values()
        for row in range(source.index.num_rows)
    ]


@pytest.mark.parametrize("threads", [1, 8])
def test_every_sample_gets_its_own_bytes_in_the_order_asked_for(
    corpus: dict[str, Source], threads: int
) -> None:
    samples = all_samples(corpus)[::-1] + all_samples(corpus)[3:5]  # two of them twice
    assert Fetcher(corpus, threads).fetch(samples) == [make_mp4(sample.clip) for sample in samples]


@pytest.mark.parametrize(
    ("quick_s", "threads"), [(1e9, "MainThread"), (0.0, "fetch")], ids=["at once", "after a while"]
)
def test_only_a_store_that_answers_at_once_is_read_without_threads(
    corpus: dict[str, Source], monkeypatch: pytest.MonkeyPatch, quick_s: float, threads: str
) -> None:
    monkeypatch.setattr("surgrec.stream._fetch._QUICK_S", quick_s)
    readers: list[str] = []
    read_range = LocalStore.read_range

    def record_thread(store: LocalStore, name: str, offset: int, size: int) -> bytes:
        readers.append(threading.current_thread().name)
        return read_range(store, name, offset, size)

    monkeypatch.setattr(LocalStore, "read_range", record_thread)
    fetcher, samples = Fetcher(corpus, 8), all_samples(corpus)
    assert fetcher.fetch(samples) == [make_mp4(sample.clip) for sample in samples]
    assert all(name.startswith("fetch") for name in readers), (
        "the first reads use threads, as the speed is unknown"
    )
    readers.clear()
    assert fetcher.fetch([]) == []
    assert fetcher.fetch(samples) == [make_mp4(sample.clip) for sample in samples]
    assert readers
    assert all(name.startswith(threads) for name in readers)


def before_checksums(sample: Sample) -> Sample:
    """Return a sample of a corpus that was built before its index had the fast checksum."""
    return replace(sample, xxh3_64=None)


@pytest.mark.parametrize("has_checksum", [True, False], ids=["xxh3_64", "sha256"])
def test_only_the_sample_whose_bytes_changed_is_an_error(
    corpus: dict[str, Source], has_checksum: bool
) -> None:
    samples = all_samples(corpus)
    if not has_checksum:
        samples = [*map(before_checksums, samples)]
    damaged = samples[2]
    path = Path(corpus["alpha"].store.address, "alpha", damaged.shard)
    data = bytearray(path.read_bytes())
    data[damaged.mp4_offset + 17] ^= 1
    path.write_bytes(data)
    mp4s = Fetcher(corpus, 2).fetch(samples)
    assert [index for index, mp4 in enumerate(mp4s) if isinstance(mp4, SampleError)] == [2]
    found = bytes(data[damaged.mp4_offset : damaged.mp4_offset + damaged.mp4_size])
    if damaged.xxh3_64 is not None:
        digest, listed = xxhash.xxh3_64_hexdigest(found), f"{damaged.xxh3_64:016x}"
        kind = "XXH3 checksum"
    else:
        digest, listed = hashlib.sha256(found).hexdigest()[:12], damaged.sha256[:12]
        kind = "SHA-256"
    assert str(mp4s[2]) == (
        f"{damaged.key}: its bytes have the {kind} {digest}, but the index lists {listed}"
    )
    assert mp4s[3:] == [make_mp4(sample.clip) for sample in samples[3:]]


def test_the_fast_checksum_takes_the_place_of_the_digest(corpus: dict[str, Source]) -> None:
    sample = replace(all_samples(corpus)[0], sha256="0" * 64)
    mp4, error = Fetcher(corpus, 1).fetch([sample, before_checksums(sample)])
    assert mp4 == make_mp4(sample.clip)
    assert "but the index lists 000000000000" in str(error)


def test_a_missing_shard_is_missing_and_no_bad_sample(corpus: dict[str, Source]) -> None:
    samples = all_samples(corpus)
    Path(corpus["beta"].store.address, "beta", samples[-1].shard).unlink()
    with pytest.raises(MissingError, match=samples[-1].shard):
        Fetcher(corpus, 2).fetch(samples)


def test_a_shard_that_was_cut_short_is_no_bad_sample(corpus: dict[str, Source]) -> None:
    samples = all_samples(corpus)
    path = Path(corpus["alpha"].store.address, "alpha", samples[0].shard)
    path.write_bytes(path.read_bytes()[: samples[0].mp4_offset + 10])
    with pytest.raises(StorageError, match=rf"{samples[0].shard}.* cut short"):
        Fetcher(corpus, 2).fetch(samples)


def test_a_shard_that_was_replaced_is_told_from_a_bad_sample(corpus: dict[str, Source]) -> None:
    samples = all_samples(corpus)
    path = Path(corpus["alpha"].store.address, "alpha", samples[0].shard)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(
        ShardError,
        match=rf"{samples[0].shard} was replaced or damaged after its index was written "
        rf"\(no {samples[0].key}\.mp4",
    ):
        Fetcher(corpus, 1).fetch(samples)
