"""`surgrec cluster`: clusters of the clips of a corpus, for mixtures that choose by them."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from surgrec_shard.disk import writing_to
from surgrec_shard.further_columns import publish_further_columns

from surgrec.commands._train_extra import train_extra
from surgrec.errors import ConfigError
from surgrec.ranges import Range, Seed
from surgrec.shards import open_corpus
from surgrec.storage import open_store
from surgrec.stream.cluster_policy import ClusterPolicy
from surgrec.terminal import escape, print_json, print_result, result_table, say, spinner
from surgrec.text import counted

if TYPE_CHECKING:
    from surgrec.clusters import LevelSummary

_TRAINING = "accelerate launch --quiet recipes/jepa.py --config jepa_vitl16"
_OFF = ClusterPolicy()


def cluster(
    corpus: str,
    *,
    features: Path,
    levels: list[int],
    splits: list[str] = ["train"],  # noqa: B006
    rounds: Annotated[int, Range(0, 1000)] = 10,
    seed: Seed = 0,
    share: Annotated[float, Range(0, 1000, above=True)] = 0.5,
    max_repeats: Annotated[int, Range(1, 1000)] = 1,
    write: bool = False,
    only_builder: bool = False,
    html: Path | None = None,
    json: bool = False,
) -> None:
    """Cluster the clips of a corpus by their features, so that a mixture can choose by clusters.

    The vector of a clip is the mean of its windows. The finest level clusters the clips, and each
    further level the centroids of the level below it. The same features and seed give the same
    clusters.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        features: Features of the corpus, by `surgrec features CORPUS`.
        levels: Number of clusters by level, from the finest to the coarsest.
        splits: Stored splits whose clips are clustered. Clips of other splits have no influence
            and get no cluster.
        rounds: Resampling rounds of each level above the finest one. They make room for rare clips.
        seed: Seed of the clusters.
        share: Draws of an epoch, as a share of the clips, for which the table shows the effect of
            the policy `balance`.
        max_repeats: Most draws of a clip in such an epoch.
        write: Write the columns cluster_1, cluster_2, ..., cluster_distance and clustering into the
            indexes of the corpus. No shard is touched.
        only_builder: No other command writes to the corpus meanwhile; needed for --write in stores
            without conditional writes.
        html: Write a page with pictures of the largest and smallest clusters to this file.
        json: Print JSON instead of a table.

    Example:
        surgrec features /data/corpus --encoder runs/jepa --out features --stride_s 4
        surgrec cluster /data/corpus --features features --levels '[5000, 500, 50]' --write true
    """
    if html is not None and html.is_dir():
        raise ConfigError(f"{html} is a folder; give --html the name of a file")
    policy = ClusterPolicy(policy="balance", share=share, max_repeats=max_repeats, seed=seed)
    with train_extra():
        from surgrec.clusters import cluster_corpus
        from surgrec.report.clusters import write_clusters

    sources = open_corpus(corpus)
    with spinner("opening the features") as status:
        clustered = cluster_corpus(
            sources,
            features,
            sizes=levels,
            splits=splits,
            rounds=rounds,
            seed=seed,
            tell=lambda stage: status.update(stage),
        )
        summary = clustered.summary(policy)

    if write:
        changed = publish_further_columns(
            open_store(corpus), sources, clustered.columns(), is_alone=only_builder
        )
        say(escape(f"written into {', '.join(changed)}" if changed else "columns: as before"))
    if html is not None:
        with writing_to(html.parent, "choose another --html"):
            write_clusters(clustered, summary, policy, html)
        say(escape(f"page: {html}"))
    if json:
        print_json({"clips": clustered.num_clips, "levels": [asdict(level) for level in summary]})
        return

    print_result(_table(summary, f"{counted(clustered.num_clips, 'clip')} of {corpus}"))
    say("to see what the policy changes, train with and without it:")
    for run, policy_words in (("with", _policy_words(policy)), ("without", _policy_words(_OFF))):
        say(escape(f"{_TRAINING} --corpus {quote(corpus)} --run_dir runs/{run} {policy_words}"))


def _policy_words(policy: ClusterPolicy) -> str:
    """Return the options of a recipe for a policy."""
    words = f"--mixture.clusters.policy {policy.policy}"
    if policy.policy == "off":
        return words
    return (
        f"{words} --mixture.clusters.share {policy.share:g} "
        f"--mixture.clusters.max_repeats {policy.max_repeats} "
        f"--mixture.clusters.seed {policy.seed}"
    )


def _table(summary: "list[LevelSummary]", title: str) -> Table:
    table = result_table(
        escape(title),
        left=("level",),
        right=(
            *("clusters", "smallest", "median", "largest", "Gini", "Gini drawn"),
            *("source", "case", "format"),
        ),
    )
    for row in summary:
        table.add_row(
            f"{row.level}",
            *(f"{row.clusters}", f"{row.smallest}", f"{row.median:g}", f"{row.largest}"),
            *(f"{row.gini:.2f}", f"{row.gini_drawn:.2f}"),
            *(f"{row.source_purity:.0%}", f"{row.case_purity:.0%}", f"{row.format_purity:.0%}"),
        )
    return table
