"""The drift of a run: how far the features of fixed clips are from those of its start.

Continued pretraining can lose much of what its initial weights knew, with a falling loss and a
constant rank of the features.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float32
from safetensors.torch import save_file
from torch import Tensor

from surgrec.clips import ClipSampling
from surgrec.clips.windows import ClipWindow, place_window
from surgrec.errors import CheckpointError, ConfigError, SampleError
from surgrec.features.in_memory import features_of_clips, frozen
from surgrec.json_files import decode_json
from surgrec.models import Encoder
from surgrec.models.tensor_files import open_tensor_file
from surgrec.ranges import Range, check_ranges
from surgrec.stream import Stream
from surgrec.terminal import escape, warn
from surgrec.training._launch import Precision
from surgrec.training._measurement import gathered_unless_stopped
from surgrec.training._ranks import on_main, own_share

REFERENCE_FILE = "drift_reference.safetensors"
"""Name of the file with the features of the start in a run folder."""
_HEADER, _FEATURES = "surgrec", "features"
_REMEDY = "remove it, and the drift is measured from the step at which the run goes on"
_DRAWN = 20
"""Positions of the order that are looked at, for each clip."""
_LEAST = 4
"""Fewest clips whose features can be compared."""


@dataclass(frozen=True, kw_only=True)
class DriftConfig:
    """Comparison of the encoder's features with those of the start, on fixed clips."""

    every: Annotated[int, Range(1, 10**9)] | None = None
    """Steps from one comparison to the next. None: no comparison."""
    clips: Annotated[int, Range(8, 4096)] = 64
    """Clips, the first of the order."""

    def __post_init__(self) -> None:
        check_ranges(self, context="drift.")


class _ReferenceHeader(TypedDict):
    """The header of the reference file."""

    step: int
    pretrained: bool
    clips: list[tuple[str, str]]
    """Source and key of each clip, in the order of the rows."""


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """The features of the start."""

    step: int
    """Steps done when they were computed: 0, or more in a run that began without this file."""
    pretrained: bool
    """Whether they are of pretrained weights."""
    clips: list[tuple[str, str]]
    """Source and key of each clip."""
    features: Float32[Tensor, "k d"]


@dataclass(kw_only=True)
class Drift:
    """The comparison with the start of a run.

    Every method is a collective. It raises `StoppedMeasurement` if a rank is asked to stop.
    """

    config: DriftConfig
    run_dir: Path
    accelerator: Accelerator
    stream: Stream
    sampling: ClipSampling
    join_clips: bool
    precision: Precision
    is_stop_coming: Callable[[], bool]
    _reference: _Reference | None = None

    @property
    def path(self) -> Path:
        """The file with the features of the start."""
        return self.run_dir / REFERENCE_FILE

    def begin(self, encoder: Encoder, step: int, *, pretrained: bool) -> None:
        """Load the features of the start, or compute and store them if this is the start.

        Args:
            encoder: The run's encoder, whole.
            step: Steps done.
            pretrained: Whether the run started from pretrained weights.

        Raises:
            CheckpointError: The file is damaged.
            ConfigError: Too few clips can be decoded.
            StorageError: A shard cannot be read.
        """
        if step and on_main(self.accelerator, self.path.exists):
            self._reference = on_main(self.accelerator, lambda: _read(self.path))
            return

        clips = _first_clips(self.stream, self.config.clips)
        features = self._features(encoder, clips)
        good = [clip for clip, feature in zip(clips, features, strict=True) if feature is not None]
        if len(good) < _LEAST:
            raise ConfigError(
                f"drift: {len(good)} of the first {len(clips)} clips can be decoded, and it needs "
                f"{_LEAST}; check the corpus with surgrec-shard verify, or remove drift.every"
            )
        self._reference = _Reference(
            step=step,
            pretrained=pretrained,
            clips=good,
            features=torch.stack([feature for feature in features if feature is not None]),
        )
        on_main(self.accelerator, self._write)

    def measure(self, encoder: Encoder, step: int) -> dict[str, Any]:
        """Return the row of drift.jsonl after `step` steps, the same on every rank.

        Raises:
            CheckpointError: Features have another width than those of the start.
            ConfigError: Too few of the clips are still in the corpora.
            StorageError: A shard cannot be read.
        """
        began = time.perf_counter()
        reference = self._reference
        assert reference is not None, "begin comes first"
        features = self._features(encoder, reference.clips)
        rows = [row for row, feature in enumerate(features) if feature is not None]
        if len(rows) < _LEAST:
            raise ConfigError(
                f"drift: {len(rows)} of the {len(features)} clips in {self.path} are still in the "
                f"corpora and can be decoded, and it needs {_LEAST}; {_REMEDY}"
            )

        now = torch.stack([feature for feature in features if feature is not None])
        start = reference.features[rows]
        if now.shape != start.shape:
            raise CheckpointError(
                f"{self.path} has features of width {start.shape[1]}, but the encoder has "
                f"{now.shape[1]}; {_REMEDY}"
            )
        return {
            "step": step,
            "cosine": float(F.cosine_similarity(now, start, dim=1).mean()),
            "cka": linear_cka(now, start),
            "clips": len(rows),
            "from_step": reference.step,
            "pretrained": reference.pretrained,
            "seconds": round(time.perf_counter() - began, 3),
        }

    def _features(
        self, encoder: Encoder, clips: Sequence[tuple[str, str]]
    ) -> list[Float32[Tensor, " d"] | None]:
        """Return the feature of each clip; None if it is gone or cannot be decoded."""
        own = [self._window(*clip) for clip in own_share(self.accelerator, clips)]
        present = [window for window in own if window is not None]

        def share() -> list[Float32[Tensor, " d"] | None]:
            with frozen(encoder, self.sampling) as encoder_:
                found = iter(
                    features_of_clips(present, self.stream.sources, encoder_, self.precision)
                )
            return [None if window is None else _unless_bad(next(found)) for window in own]

        return gathered_unless_stopped(
            self.accelerator, encoder, share, is_stop_coming=self.is_stop_coming
        )

    def _window(self, source: str, key: str) -> ClipWindow | None:
        """Return the first window of a clip; None if the clip is gone."""
        if source not in self.stream.sources:
            return None
        index = self.stream.sources[source].index
        row = pc.index(index.column("key"), key).as_py()
        if row < 0:
            return None
        return place_window(
            self.stream, source, row, self.sampling, offset=0.0, join=self.join_clips
        )

    def _write(self) -> None:
        reference = self._reference
        assert reference is not None
        if reference.step:
            warn(
                f"{escape(str(self.run_dir))}: this run has no features "
                f"of its start, so the drift is measured from step {reference.step}"
            )

        header: _ReferenceHeader = {
            "step": reference.step,
            "pretrained": reference.pretrained,
            "clips": reference.clips,
        }

        # A reader sees the whole file or none.
        partial = self.path.with_name(self.path.name + ".partial")
        save_file({_FEATURES: reference.features}, partial, metadata={_HEADER: json.dumps(header)})
        partial.replace(self.path)


def linear_cka(x: Float32[Tensor, "n d"], y: Float32[Tensor, "n e"]) -> float:
    """Return the linear centered kernel alignment of two sets of features, from 0 to 1.

    It is 1 for features that differ by a rotation and a common factor. Source: Kornblith et al.
    2019, arXiv:1905.00414.
    """
    grams = []
    for features in (x, y):
        centered = features.double() - features.double().mean(dim=0)
        grams.append(centered @ centered.T)
    alignment = (grams[0] * grams[1]).sum()
    norms = torch.linalg.matrix_norm(grams[0]) * torch.linalg.matrix_norm(grams[1])
    return float(alignment / norms.clamp_min(torch.finfo(torch.float64).tiny))


def _first_clips(stream: Stream, count: int) -> list[tuple[str, str]]:
    """Return source and key of the first samples of the order, each once."""
    found: dict[tuple[str, str], None] = {}
    for draw in stream.draws(np.arange(_DRAWN * count)):
        found[draw.source, stream.key(draw)] = None
        if len(found) == count:
            break
    return list(found)


def _unless_bad(feature: Float32[Tensor, " d"] | SampleError) -> Float32[Tensor, " d"] | None:
    return None if isinstance(feature, SampleError) else feature


def _read(path: Path) -> _Reference:
    with open_tensor_file(path) as file:
        header = decode_json(
            file.metadata.get(_HEADER, ""),
            _ReferenceHeader,
            f"{path}, header",
            error=CheckpointError,
            remedy=_REMEDY,
        )
        features = file.read(file.names).get(_FEATURES)
    if features is None or features.ndim != 2 or len(features) != len(header["clips"]):
        raise CheckpointError(
            f"{path} does not have one row of features for each of its clips; {_REMEDY}"
        )
    return _Reference(
        step=header["step"],
        pretrained=header["pretrained"],
        clips=[(source, key) for source, key in header["clips"]],
        features=features.float(),
    )
