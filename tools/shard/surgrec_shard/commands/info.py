"""`surgrec-shard info`: counts of each source of a corpus."""

from surgrec.manifest import SPLITS
from surgrec.shards import open_corpus
from surgrec.terminal import print_json, print_result, result_table
from surgrec_shard.info import describe_sources


def info(corpus: list[str], json: bool = False) -> None:
    """Show videos, cases, hours, clips and size of each source.

    Args:
        corpus: One or several corpora: folders, or s3://bucket/prefix.
        json: Print one JSON list instead of a table.

    Example:
        surgrec-shard info /data/corpus
    """
    rows = describe_sources(open_corpus(corpus))
    if json:
        print_json(rows)
        return

    counts = ("videos", "failed", "cases", "hours", "train/val/test", "MB")
    table = result_table(", ".join(corpus), left=("source", "domain"), right=counts)
    for row in rows:
        table.add_row(
            row["source"],
            row["domain"],
            f"{row['videos']}",
            f"{row['videos_failed']}",
            f"{row['cases']}",
            f"{row['hours']:.2f}",
            "/".join(str(row["clips_per_split"].get(split, 0)) for split in SPLITS),
            f"{row['bytes'] / 1e6:.1f}",
        )
    print_result(table)
