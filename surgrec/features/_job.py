"""The work of one process of an extraction: one video after the other, one file per video."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from surgrec import __version__
from surgrec.errors import ConfigError
from surgrec.features._encoders import EncoderChoice, open_encoder
from surgrec.features._extract_video import Precision, features_by_encoder, steady_arithmetic
from surgrec.features._files import (
    FeaturesHeader,
    VideoFeatures,
    read_reusable,
    write_features_file,
)
from surgrec.features._videos import VideoEntry, VideoSet
from surgrec.features.interface import VideoEncoder
from surgrec.storage import open_store


@dataclass(frozen=True, kw_only=True)
class Target:
    """An encoder of an extraction, and the folder of its features. Picklable."""

    choice: EncoderChoice
    settings: Mapping[str, Any]
    """All that determines a feature except the video, as JSON. Every file contains it."""
    out: Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings that all processes share. Picklable."""

    videos: VideoSet
    targets: tuple[Target, ...]
    """One or several, all with the same windows."""
    stride_s: float
    batch: int
    precision: Precision
    allow_repeated_frames: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result for one video and one encoder. The features are in `file`."""

    entry: VideoEntry
    file: str
    """Relative to the folder of the features."""
    header: FeaturesHeader
    starts: Float64[np.ndarray, " n"]
    reused: bool
    """Whether the file existed already."""


class Worker:
    """Encoders on a device that process one video after the other."""

    def __init__(self, job: Job, device: str) -> None:
        self._job = job
        self._device = torch.device(device)
        self._encoders = [open_encoder(target.choice, self._device) for target in job.targets]
        for target, encoder in zip(job.targets, self._encoders, strict=True):
            if feature_settings(encoder, job.stride_s, job.precision) != target.settings:
                raise ConfigError(
                    f"{target.choice.path} was overwritten during extraction; wait until its run "
                    "is done, or copy it"
                )

    def extract(self, entry: VideoEntry) -> list[Outcome]:
        """Write the features of a video for each target, unless they exist.

        A video with failures is processed again, as its shard or file may have been repaired.
        """
        reader = self._job.videos.open(entry)
        file = f"{entry.source}/{reader.name}.safetensors"
        reused = [self._reused(target, entry, file, reader.digest) for target in self._job.targets]
        missing = [number for number, outcome in enumerate(reused) if outcome is None]
        computed: list[VideoFeatures] = []
        if missing:
            with steady_arithmetic(self._device):
                computed = features_by_encoder(
                    reader,
                    [self._encoders[number] for number in missing],
                    stride_s=self._job.stride_s,
                    batch=self._job.batch,
                    precision=self._job.precision,
                    device=self._device,
                    allow_repeated_frames=self._job.allow_repeated_frames,
                )

        written = (
            self._write(self._job.targets[number], entry, file, reader.digest, video)
            for number, video in zip(missing, computed, strict=True)
        )
        return [outcome or next(written) for outcome in reused]

    def _reused(self, target: Target, entry: VideoEntry, file: str, digest: str) -> Outcome | None:
        """Return the outcome of an earlier command, if its file serves."""
        found = read_reusable(target.out / file, target.settings, digest)
        if found is None:
            return None
        header, starts = found
        if header.repeats_frames and not self._job.allow_repeated_frames:
            return None
        return Outcome(entry=entry, file=file, header=header, starts=starts, reused=True)

    def _write(
        self, target: Target, entry: VideoEntry, file: str, digest: str, video: VideoFeatures
    ) -> Outcome:
        made_by = {
            "surgrec": __version__,
            "torch": torch.__version__,
            "device": self._device.type,
            "batch": self._job.batch,
        }

        header = write_features_file(
            open_store(target.out),
            file,
            video,
            settings=target.settings,
            digest=digest,
            made_by=made_by,
        )
        return Outcome(entry=entry, file=file, header=header, starts=video.start_s, reused=False)


def feature_settings(
    encoder: VideoEncoder, stride_s: float, precision: Precision
) -> dict[str, Any]:
    """Return all that determines a feature except the video, as JSON."""
    return {
        "encoder_sha256": encoder.facts["sha256"],
        "num_frames": encoder.sampling.num_frames,
        "fps": encoder.sampling.fps,
        "stride_s": stride_s,
        "precision": precision,
        "view": encoder.preprocessing.view,
    }
