"""A user's ONNX model, which gives pictures a score. docs/curation.md is its interface.

Calls have a fixed size, one thread, and every second its own place: a score does not depend on the
other pictures of a call, so the spans of a video get the scores of the whole.
"""

import functools
import math
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from surgrec.errors import ConfigError, cut
from surgrec.onnx_files import ModelFaultError, OnnxModel, read_model_file
from surgrec.recordings import BadVideoError

Rgb = Float32[np.ndarray, "3 height width"]
_Batch = Float32[np.ndarray, "batch 3 height width"]

FAILED = "model"
"""Reason of a video for whose pictures the model gives no scores."""
_MOST_BYTES = 1 << 30
_MOST_SIDE = 1024
"""Largest side of its pictures."""
_MOST_PICTURES = 64
"""Most pictures per call that a model may demand."""
_MOST_PIXELS = 1 << 24
"""Most pixels of all pictures of a call."""
_PICTURES = 8
"""Pictures per call of a model that takes any number."""
REMEDY = "export it again as docs/curation.md says"


class FrameModel:
    """A model that fits the interface. Several threads may use it at once.

    Args:
        path: The file.
        choice: Number of the class whose probability is the score, from 0; -1: the model has one
            output per picture.

    Raises:
        SetupError: ONNX Runtime is not installed.
        ConfigError: The file cannot be read, is not a model, or does not fit the interface.
    """

    def __init__(self, path: Path, choice: int = -1) -> None:
        self._path = path.absolute()
        data, self.sha256 = read_model_file(path, _MOST_BYTES, "curate.model")
        self._choice = choice

        try:
            self._model = OnnxModel(data, needed_by="curate.model", remedy=REMEDY)
            self.batch, self.height, self.width = _check_input(self._model)
            self._mean = _channels(self._model.metadata, "mean", 0.0)
            self._std = _channels(self._model.metadata, "std", 1.0)
            self._try()
        except ModelFaultError as fault:
            raise ConfigError(f"curate.model: {path} {fault}") from None

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to open the same model in another process."""
        return _same_model, (self._path, self._choice, self.sha256)

    def scores(self, pictures: Mapping[int, Rgb]) -> dict[int, float]:
        """Return the scores of some pictures, to 4 digits, by their places.

        Args:
            pictures: RGB from 0 to 1, at least one, by place: 0 to `batch` - 1.

        Raises:
            BadVideoError: The model fails.
        """
        # One of them fills the other places: a made-up picture may let the model fail.
        some = next(iter(pictures.values()))
        batch = np.stack([pictures.get(place, some) for place in range(self.batch)])
        try:
            scores = self._run(batch)
        except ModelFaultError as fault:
            # Another version of ONNX Runtime, or more memory, may help.
            detail = f"the model of curate.model {fault}"
            raise BadVideoError(FAILED, detail, may_pass=True) from None
        return {place: round(float(scores[place]), 4) for place in pictures}

    def _run(self, batch: _Batch) -> Float64[np.ndarray, " batch"]:
        normalized = (batch - self._mean) / self._std
        return self._chosen(self._model.run(normalized).astype(np.float64))

    def _chosen(self, output: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, " batch"]:
        """Return one score per picture."""
        shape = output.shape
        if shape in ((self.batch,), (self.batch, 1)):
            if self._choice >= 0:
                raise ModelFaultError("has one output per picture; leave out --curate.model_class")
            return output.reshape(self.batch)

        if len(shape) != 2 or shape[0] != self.batch or not shape[1]:
            raise ModelFaultError(
                f"gives an output of the shape {list(shape)} for {self.batch} pictures, neither "
                f"one score nor some logits for each; {REMEDY}"
            )
        if not 0 <= self._choice < shape[1]:
            raise ModelFaultError(
                f"gives {shape[1]} logits per picture; choose one with --curate.model_class, 0 to "
                f"{shape[1] - 1}"
            )
        with np.errstate(all="ignore"):  # the score of an infinite logit is not a number
            powers = np.exp(output - output.max(axis=1, keepdims=True))
            shares: Float64[np.ndarray, "batch classes"] = powers / powers.sum(axis=1)[:, None]
        return shares[:, self._choice]

    def _try(self) -> None:
        """Score random pictures, twice the first one."""
        random = np.random.default_rng(0)
        shape = (self.batch, 3, self.height, self.width)
        batches = [random.random(shape, dtype=np.float32) for _ in range(2)]
        batches[1][0] = batches[0][0]
        first, second = map(self._run, batches)
        for score in (*first, *second):
            if not math.isfinite(score):
                raise ModelFaultError(f"gives a random picture the score {score:g}; {REMEDY}")
        if first[0] != second[0]:
            raise ModelFaultError(
                f"gives one picture the scores {first[0]:g} and {second[0]:g}, by chance or by the "
                "other pictures of a call; export it in its evaluation mode"
            )


@functools.cache
def _same_model(path: Path, choice: int, sha256: str) -> FrameModel:
    """Open a model again, on the same or another machine."""
    model = FrameModel(path, choice)
    if model.sha256 != sha256:
        raise ConfigError(
            f"curate.model: {path} on the machine {socket.gethostname()} is not the file of the "
            "machine that started the build; put the model into a folder that all machines share"
        )
    return model


def _check_input(model: OnnxModel) -> tuple[int, int, int]:
    """Return the pictures per call of a model, and their height and width."""
    shape: list[Any] = list(model.shape)
    is_fitting = (
        len(shape) == 4
        and shape[1] == 3
        and all(isinstance(side, int) and 1 <= side <= _MOST_SIDE for side in shape[2:])
        and (not isinstance(shape[0], int) or 1 <= shape[0] <= _MOST_PICTURES)
    )
    batch = shape[0] if is_fitting and isinstance(shape[0], int) else _PICTURES
    if not is_fitting or batch * shape[2] * shape[3] > _MOST_PIXELS:
        raise ModelFaultError(
            f"has an input of the shape {cut(str(shape))}, not [N, 3, height, width] with a fixed "
            f"height and width of at most {_MOST_SIDE}, an N of at most {_MOST_PICTURES}, and at "
            f"most {_MOST_PIXELS:,} pixels per call; {REMEDY}"
        )
    return batch, shape[2], shape[3]


def _channels(
    metadata: Mapping[str, str], name: str, default: float
) -> Float32[np.ndarray, "3 1 1"]:
    """Return three numbers of the metadata: `0.485, 0.456, 0.406`."""
    text = metadata.get(name, f"{default}, {default}, {default}")
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    is_usable = all(map(math.isfinite, values)) and (name == "mean" or 0 not in values)
    if len(values) != 3 or not is_usable:
        raise ModelFaultError(
            f"has {cut(repr(text))} as {name} in its metadata, not three numbers such as "
            f"'0.485, 0.456, 0.406'; {REMEDY}"
        )
    return np.array(values, dtype=np.float32).reshape(3, 1, 1)
