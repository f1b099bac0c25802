"""Pretraining of surgical-video encoders: shards, exact balanced streams, MAE and JEPA, evaluation.

The public API is `open_corpus`, `load_clips`, `ClipDataset` and `load_encoder`; each room adds more
in its package. Data passes through the rooms in this order: manifest, shards, stream, clips, masks,
models, objectives, training, features, evaluation, report. The rooms `storage`, `errors`,
`terminal` and `cli` serve the others. The package `surgrec_shard` is the offline tool that writes
shards.

Names are imported on first use, so `import surgrec` loads neither torch nor pyarrow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surgrec.clips import ClipDataset, load_clips
    from surgrec.features import load_encoder
    from surgrec.shards import open_corpus

__version__ = "0.1.0"

__all__ = ["ClipDataset", "__version__", "load_clips", "load_encoder", "open_corpus"]

_ROOM_OF = {
    "ClipDataset": "surgrec.clips",
    "load_clips": "surgrec.clips",
    "load_encoder": "surgrec.features",
    "open_corpus": "surgrec.shards",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'surgrec' has no attribute {name!r}")
    return getattr(import_module(_ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
