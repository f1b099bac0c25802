"""Inputs and the shortest result of an evaluation: labels, the config of a tiny encoder."""

from pathlib import Path
from typing import Any

from surgrec.features import WindowRow
from surgrec.models import Encoder, EncoderConfig, save_encoder
from surgrec.runs.drawn import record_drawn
from surgrec.shards import VideoLabel, open_corpus
from surgrec.shards._index import rows_to_parquet
from surgrec.stream import Mixture, Stream

TINY = EncoderConfig(
    width=24, depth=1, num_heads=2, patch_size=16, tubelet_size=2, num_frames=4, crop_px=32
)

FACTS: dict[str, Any] = {"encoder": {"config": {"width": 8}}}
"""The facts of features that the probes read."""


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


def write_run(folder: Path, corpus: Path, **mixture: Any) -> Path:
    """Write a run folder whose encoder claims training on the corpus with this mixture."""
    folder.mkdir()
    stream = Stream(open_corpus([corpus]), Mixture(**mixture), seed=0)
    drawn = record_drawn(stream, 4000, {})
    provenance = {"config": {"sampling_fps": 4.0}, "init_from": None, "drawn": drawn}
    save_encoder(Encoder(TINY), folder / "encoder.safetensors", provenance)
    return folder


def window_row(case: str, start_s: float, *, video: str = "", source: str = "alpha") -> WindowRow:
    """Return a window of 2 s; its video has the name of the case if no other is given."""
    return WindowRow(
        source=source,
        domain="d",
        case=case,
        video=video or case,
        split="test",
        start_s=float(start_s),
        end_s=start_s + 2.0,
        file="",
        row=0,
    )


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
        "format": 2,
        "encoder": {"sha256": "ab"},
        "task": task,
        "kind": "classes",
        "split": {"name": "official", "sha256": "cd", "rule": {"train": ["a"]}},
        "protocol": "",
        "corpus": {"digests": {"alpha": "ef"}},
        "counts": {"train": counts, "test": counts},
        "classes": [{"value": name, "train": 1, "test": 1} for name in ("access", "closure")],
        "audit": [{"check": "cases in train and test", "found": 0, "of": 2}],
        "overrides": [],
        "classifiers": {"knn": "kNN"},
        "metrics": list(metrics),
        "primary_metric": "macro_f1",
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


def damage_a_clip(corpus: Path) -> None:
    """Flip one bit in the MP4 of a clip of the source beta."""
    sample = open_corpus([corpus])["beta"].index.sample(0)
    path = corpus / "beta" / sample.shard
    data = bytearray(path.read_bytes())
    data[sample.mp4_offset + sample.mp4_size // 2] ^= 4
    path.write_bytes(data)
