"""Inputs of an evaluation: labels for every video of a corpus, and the config of a tiny encoder."""

from pathlib import Path

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
