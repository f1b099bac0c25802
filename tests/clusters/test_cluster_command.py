import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from surgrec.features import EncoderChoice, ExtractConfig, extract
from surgrec.shards import Source, open_corpus
from tests.features.conftest import save_run
from tests.support.tool import surgrec_here


@pytest.fixture(scope="module")
def features(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the tiny corpus, several windows per clip."""
    folder = tmp_path_factory.mktemp("clusters")
    choice = EncoderChoice(path=save_run(folder / "run", seed=0))
    config = ExtractConfig(stride_s=0.5, batch=8, device="cpu")
    list(extract([str(tiny_corpus)], choice, config, folder / "features"))
    return folder / "features"


def shard_digests(corpus: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in corpus.rglob("*.tar")
    }


def clusters_by_split(source: Source) -> dict[str, set[int | None]]:
    found: dict[str, set[int | None]] = {}
    splits, clusters = (source.index.column(name).to_pylist() for name in ("split", "cluster_1"))
    for split, cluster in zip(splits, clusters, strict=True):
        found.setdefault(split, set()).add(cluster)
    return found


def test_clusters_are_written_and_a_mixture_chooses_by_them(
    corpus_copy: Path, features: Path, tmp_path: Path
) -> None:
    before = shard_digests(corpus_copy)
    page = tmp_path / "clusters.html"
    run = surgrec_here(
        *("cluster", corpus_copy, "--features", features, "--levels", "[4, 2]"),
        *("--write", "true", "--html", page, "--json"),
    )
    assert run.returncode == 0, run.stderr

    # The columns are there for train clips alone, and no shard changed.
    result = json.loads(run.stdout)
    assert [level["level"] for level in result["levels"]] == [1, 2]
    sources = open_corpus(corpus_copy)
    for source in sources.values():
        for split, clusters in clusters_by_split(source).items():
            assert (None in clusters) == (split != "train")
        assert pa.types.is_floating(source.index.column("cluster_distance").type)
    assert shard_digests(corpus_copy) == before

    # All clustered clips have one digest of the clusters.
    digests = {
        digest
        for source in sources.values()
        for digest in source.index.column("clustering").drop_null().unique().to_pylist()
    }
    assert len(digests) == 1

    # The page has a picture of each coarse cluster and asks for nothing.
    text = page.read_text()
    assert text.count("<figure>") == result["levels"][1]["clusters"]
    assert text.count("data:image/jpeg") == result["levels"][1]["clusters"]
    assert "http" not in text

    mix = surgrec_here(
        *("mix", corpus_copy, "--samples", 2048, "--json"),
        *("--mixture.clusters.policy", "balance", "--mixture.clusters.share", 0.5),
    )
    assert mix.returncode == 0, mix.stderr
    chosen = {row["source"]: row["samples"] for row in json.loads(mix.stdout)}
    for name, source in sources.items():
        train = source.index.column("split").to_pylist().count("train")
        assert chosen[name] == round(0.5 * train)


def test_the_same_command_again_changes_nothing(corpus_copy: Path, features: Path) -> None:
    words = ("cluster", corpus_copy, "--features", features, "--levels", "[3]", "--write", "true")
    first = surgrec_here(*words).stderr
    assert "written into" in first
    before = {path: path.read_bytes() for path in corpus_copy.rglob("*") if path.is_file()}
    assert "columns: as before" in surgrec_here(*words).stderr
    assert before == {path: path.read_bytes() for path in corpus_copy.rglob("*") if path.is_file()}

    # It prints the trainings that show what the policy changes.
    lines = [line.split() for line in first.splitlines() if line.startswith("accelerate launch")]
    options = [line[line.index("--mixture.clusters.policy") :] for line in lines]
    assert [words[1] for words in options] == ["balance", "off"]
    sizes = []
    for words in options:
        mix = surgrec_here("mix", corpus_copy, "--samples", 2048, "--json", *words)
        assert mix.returncode == 0, mix.stderr
        sizes.append(sum(row["samples"] for row in json.loads(mix.stdout)))
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--levels", "[5000]"), "the levels have 5000 clusters of"),
        (("--levels", "[4]", "--splits", "[test]", "--write", "true"), "no clip of the corpus is"),
        (("--levels", "[4]", "--html", "."), "give --html the name of a file"),
    ],
)
def test_what_cannot_be_clustered_is_refused_in_one_sentence(
    tiny_corpus: Path, features: Path, words: tuple[str, ...], message: str
) -> None:
    run = surgrec_here("cluster", tiny_corpus, "--features", features, *words)
    assert run.returncode == 1
    assert message in run.stderr


def test_features_of_another_corpus_are_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    run = surgrec_here("cluster", tiny_corpus, "--features", tmp_path, "--levels", "[4]")
    assert run.returncode == 1
    assert "holds no finished features" in run.stderr
