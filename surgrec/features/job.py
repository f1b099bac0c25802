"""What every process of an extraction does: one video after the other, each into a file of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from surgrec import __version__
from surgrec.errors import ConfigError
from surgrec.features.encoders import EncoderChoice, FrozenEncoder, open_encoder
from surgrec.features.extract_video import Precision, steady_arithmetic, video_features
from surgrec.features.files import FeaturesHeader, read_header_and_starts, write_features_file
from surgrec.features.videos import Recording, Recordings
from surgrec.storage import open_store


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every process is told. Picklable."""

    recordings: Recordings
    choice: EncoderChoice
    stride_s: float
    batch: int
    precision: Precision
    settings: Mapping[str, Any]
    """What determines a feature but for the video, as JSON; it stands in every file."""
    out: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The features of one video are in their file."""

    recording: Recording
    file: str
    """Relative to the folder of the features."""
    header: FeaturesHeader
    starts: Float64[np.ndarray, " n"]
    was_there: bool
    """Whether the file was there already."""


class Worker:
    """The encoder on a device, for one video after the other."""

    def __init__(self, job: Job, device: str) -> None:
        self._job = job
        self._device = torch.device(device)
        self._store = open_store(job.out)
        self._frozen = open_encoder(job.choice, self._device)
        if feature_settings(self._frozen, job.stride_s, job.precision) != job.settings:
            raise ConfigError(
                f"{job.choice.path} was replaced meanwhile; wait until its run is done, or take a copy of it"
            )

    def extract(self, recording: Recording) -> Outcome:
        """Writes the features of a video, unless they are there.

        A video with failures is done again: its shard or file may have been mended.
        """
        footage = self._job.recordings.open(recording)
        file = f"{recording.source}/{footage.name}.safetensors"
        if (self._job.out / file).exists():
            header, starts = read_header_and_starts(self._job.out / file)
            if (
                header.settings == self._job.settings
                and header.digest == footage.digest
                and not header.failed
            ):
                return Outcome(
                    recording=recording, file=file, header=header, starts=starts, was_there=True
                )
        with steady_arithmetic(self._device):
            video = video_features(
                footage,
                self._frozen,
                stride_s=self._job.stride_s,
                batch=self._job.batch,
                precision=self._job.precision,
                device=self._device,
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
            digest=footage.digest,
            made_by=made_by,
        )
        return Outcome(
            recording=recording, file=file, header=header, starts=video.start_s, was_there=False
        )


def feature_settings(
    frozen: FrozenEncoder, stride_s: float, precision: Precision
) -> dict[str, Any]:
    """What determines a feature but for the video, as JSON."""
    return {
        "encoder_sha256": frozen.facts["sha256"],
        "num_frames": frozen.sampling.num_frames,
        "fps": frozen.sampling.fps,
        "stride_s": stride_s,
        "precision": precision,
        "view": "central square",
    }
