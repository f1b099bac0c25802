"""Inputs and the shortest result of an evaluation: labels, the config of a tiny encoder."""

from pathlib import Path
from typing import Any

from surgrec.models import EncoderConfig
from surgrec.shards import VideoLabel, open_corpus
from surgrec.shards._index import rows_to_parquet

TINY = EncoderConfig(
    width=24, depth=1, num_heads=2, patch_size=16, tubelet_size=2, num_frames=4, crop_px=32
)


def write_labels(corpus: Path) -> None:
    """Give every video two phases, the second from 4 s on; in beta's val case it ends at 6 s."""
    for name, source in open_corpus([corpus]).items():
        columns = [source.index.column(column).to_pylist() for column in ("video", "case", "split")]
        labels = [
            VideoLabel(
                video=video,
                case=case,
                split=split,
                task="phase",
                start_s=start_s,
                end_s=end_s,
                value=value,
            )
            for video, case, split in sorted(set(zip(*columns, strict=True)))
            for start_s, end_s, value in (
                (0.0, 4.0, "access"),
                (4.0, 6.0 if split == "val" else 30.0, "closure"),
            )
        ]
        (corpus / name / "labels.parquet").write_bytes(rows_to_parquet(VideoLabel, labels))


def shortest_evaluation(task: str = "phase", *, count: int = 0) -> dict[str, Any]:
    """Return the shortest content of `evaluation.json`.

    Args:
        task: Its task.
        count: Number of cases, videos and windows of each kind.
    """
    counts = dict.fromkeys(("cases", "videos", "windows", "unlabeled", "failed"), count)
    interval = {"value": 0.5, "low": 0.25, "high": 0.75}
    metrics = ("macro_f1", "balanced_accuracy", "accuracy", "case_accuracy")
    return {
        "format": 1,
        "encoder": {"sha256": "ab"},
        "task": task,
        "split": {"name": "official", "sha256": "cd", "rule": {"train": ["a"]}},
        "protocol": "",
        "corpus": {"digests": {"alpha": "ef"}},
        "counts": {"train": counts, "test": counts},
        "classes": [{"value": name, "train": 1, "test": 1} for name in ("access", "closure")],
        "audit": [{"check": "cases in train and test", "found": 0, "of": 2}],
        "scores": [
            {
                "features": "trained",
                "classifier": "knn",
                "seeds": 1,
                "degenerate": False,
                "metrics": dict.fromkeys(metrics, interval),
            }
        ],
        "verdicts": [
            {
                "classifier": "knn",
                "metric": "macro_f1",
                "difference": 0.1,
                "low": 0.0,
                "high": 0.2,
                "cases": 2,
                "verdict": "not shown",
                "primary": True,
            }
        ],
    }
