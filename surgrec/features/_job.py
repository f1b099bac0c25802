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
from surgrec.features._extract_video import Precision, steady_arithmetic, video_features
from surgrec.features._files import FeaturesHeader, read_header_and_starts, write_features_file
from surgrec.features._videos import VideoEntry, VideoSet
from surgrec.features.interface import VideoEncoder
from surgrec.storage import open_store


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings that all processes share. Picklable."""

    videos: VideoSet
    choice: EncoderChoice
    stride_s: float
    batch: int
    precision: Precision
    settings: Mapping[str, Any]
    """All that determines a feature except the video, as JSON. Every file contains it."""
    out: Path
    allow_repeated_frames: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result for one video. Its features are in `file`."""

    entry: VideoEntry
    file: str
    """Relative to the folder of the features."""
    header: FeaturesHeader
    starts: Float64[np.ndarray, " n"]
    reused: bool
    """Whether the file existed already."""


class Worker:
    """An encoder on a device that processes one video after the other."""

    def __init__(self, job: Job, device: str) -> None:
        self._job = job
        self._device = torch.device(device)
        self._store = open_store(job.out)
        self._encoder = open_encoder(job.choice, self._device)
        if feature_settings(self._encoder, job.stride_s, job.precision) != job.settings:
            raise ConfigError(
                f"{job.choice.path} was overwritten during extraction; wait until its run is "
                "done, or copy it"
            )

    def extract(self, entry: VideoEntry) -> Outcome:
        """Write the features of a video, unless they exist.

        A video with failures is processed again, as its shard or file may have been repaired.
        """
        reader = self._job.videos.open(entry)
        file = f"{entry.source}/{reader.name}.safetensors"

        # Reuse the file of an earlier command.
        if (self._job.out / file).exists():
            header, starts = read_header_and_starts(self._job.out / file)
            if (
                header.settings == self._job.settings
                and header.digest == reader.digest
                and not header.failed
                and (self._job.allow_repeated_frames or not header.repeats_frames)
            ):
                return Outcome(entry=entry, file=file, header=header, starts=starts, reused=True)

        with steady_arithmetic(self._device):
            video = video_features(
                reader,
                self._encoder,
                stride_s=self._job.stride_s,
                batch=self._job.batch,
                precision=self._job.precision,
                device=self._device,
                allow_repeated_frames=self._job.allow_repeated_frames,
            )

        made_by = {
            "surgrec": __version__,
            "torch": torch.__version__,
            "device": self._device.type,
            "batch": self._job.batch,
        }
        header = write_features_file(
            self._store,
            file,
            video,
            settings=self._job.settings,
            digest=reader.digest,
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
        "view": "central square",
    }
