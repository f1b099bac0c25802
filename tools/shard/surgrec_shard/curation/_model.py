"""A user's ONNX model, which gives pictures a score. docs/curation.md is its interface.

Calls have a fixed size, one thread, and every second its own place: a score does not depend on the
other pictures of a call, so the spans of a video get the scores of the whole.
"""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from surgrec.errors import ConfigError, SetupError, cut, reason
from surgrec.recordings import BadVideoError
from surgrec.recordings.process import starting
from surgrec.regular_files import read_regular

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
_ALLOWED_S = 600.0
"""Seconds that a call may last."""
_PICTURES = 8
"""Pictures per call of a model that takes any number."""
REMEDY = "export it again as docs/curation.md says"


class _FaultError(Exception):
    """A fault of a model, as the rest of a sentence that begins with its name."""


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
        try:
            data = read_regular(path, _MOST_BYTES)
        except OSError as error:
            raise ConfigError(
                f"curate.model: {path} cannot be read ({reason(error)}); give an ONNX file"
            ) from None
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._choice = choice

        try:
            self._session = _open(data)
            self._input, self.batch, self.height, self.width = _check_input(self._session)
            _check_output(self._session)
            metadata = self._session.get_modelmeta().custom_metadata_map
            self._mean = _channels(metadata, "mean", 0.0)
            self._std = _channels(metadata, "std", 1.0)
            self._try()
        except _FaultError as fault:
            raise ConfigError(f"curate.model: {path} {fault}") from None

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
        except _FaultError as fault:
            # Another version of ONNX Runtime, or more memory, may help.
            detail = f"the model of curate.model {fault}"
            raise BadVideoError(FAILED, detail, may_pass=True) from None
        return {place: round(float(scores[place]), 4) for place in pictures}

    def _run(self, batch: _Batch) -> Float64[np.ndarray, " batch"]:
        normalized = (batch - self._mean) / self._std
        try:
            with _time_limit() as options:
                (output,) = self._session.run(None, {self._input: normalized}, options)
        except _errors() as error:
            words = f"has not answered for {_ALLOWED_S:g} s" if options.terminate else _words(error)
            raise _FaultError(f"fails ({words}); {REMEDY}") from None
        return self._chosen(np.asarray(output, dtype=np.float64))

    def _chosen(self, output: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, " batch"]:
        """Return one score per picture."""
        shape = output.shape
        if shape in ((self.batch,), (self.batch, 1)):
            if self._choice >= 0:
                raise _FaultError("has one output per picture; leave out --curate.model_class")
            return output.reshape(self.batch)

        if len(shape) != 2 or shape[0] != self.batch or not shape[1]:
            raise _FaultError(
                f"gives an output of the shape {list(shape)} for {self.batch} pictures, neither "
                f"one score nor some logits for each; {REMEDY}"
            )
        if not 0 <= self._choice < shape[1]:
            raise _FaultError(
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
                raise _FaultError(f"gives a random picture the score {score:g}; {REMEDY}")
        if first[0] != second[0]:
            raise _FaultError(
                f"gives one picture the scores {first[0]:g} and {second[0]:g}, by chance or by the "
                "other pictures of a call; export it in its evaluation mode"
            )


def _open(data: bytes) -> Any:
    """Return a session of ONNX Runtime. It reads no other file, and runs in the caller's thread."""
    try:
        import onnxruntime  # here, because it is an optional extra
    except ImportError:
        raise SetupError(
            "curate.model needs ONNX Runtime: run pip install '.[onnx]' in a clone of SurgRec"
        ) from None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # faults are exceptions
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", f"{os.devnull}/"
    )
    try:
        return onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except _errors() as error:
        words = _words(error)
        if "external" in words.lower():
            raise _FaultError(
                "has weights in another file, which is not read; save it as one file, with "
                "onnx.save(onnx.load(FILE), NEW_FILE)"
            ) from None
        raise _FaultError(f"is not a model that ONNX Runtime loads ({words}); {REMEDY}") from None


@contextmanager
def _time_limit() -> Iterator[Any]:
    """Yield options of a call that end it after some time."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    timer = Timer(_ALLOWED_S, setattr, (options, "terminate", True))
    timer.daemon = True
    with starting("the time limit of the model"):
        timer.start()
    try:
        yield options
    finally:
        timer.cancel()


def _errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of ONNX Runtime, which have no common class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = (each for each in vars(state).values() if isinstance(each, type))
    own = tuple(each for each in found if issubclass(each, Exception))
    return (*own, RuntimeError, ValueError, MemoryError)


def _words(error: Exception) -> str:
    """Return the text of ONNX Runtime's error without its codes."""
    text = reason(error).removeprefix("[ONNXRuntimeError] : ")
    return cut(text.split(" : ", 2)[-1], 300)


def _check_input(session: Any) -> tuple[str, int, int, int]:
    """Return the name of the input, its pictures per call, and their height and width."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise _FaultError(f"has {len(inputs)} inputs, not one; {REMEDY}")
    (only,) = inputs
    if only.type != "tensor(float)":
        raise _FaultError(f"has an input of the type {only.type}, not tensor(float); {REMEDY}")

    shape = list(only.shape)
    is_fitting = (
        len(shape) == 4
        and shape[1] == 3
        and all(isinstance(side, int) and 1 <= side <= _MOST_SIDE for side in shape[2:])
        and (not isinstance(shape[0], int) or 1 <= shape[0] <= _MOST_PICTURES)
    )
    batch = shape[0] if is_fitting and isinstance(shape[0], int) else _PICTURES
    if not is_fitting or batch * shape[2] * shape[3] > _MOST_PIXELS:
        raise _FaultError(
            f"has an input of the shape {cut(str(shape))}, not [N, 3, height, width] with a fixed "
            f"height and width of at most {_MOST_SIDE}, an N of at most {_MOST_PICTURES}, and at "
            f"most {_MOST_PIXELS:,} pixels per call; {REMEDY}"
        )
    return str(only.name), batch, shape[2], shape[3]


def _check_output(session: Any) -> None:
    outputs = session.get_outputs()
    if len(outputs) != 1:
        raise _FaultError(f"has {len(outputs)} outputs, not one; {REMEDY}")
    if outputs[0].type != "tensor(float)":
        raise _FaultError(
            f"has an output of the type {outputs[0].type}, not tensor(float); {REMEDY}"
        )


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
        raise _FaultError(
            f"has {cut(repr(text))} as {name} in its metadata, not three numbers such as "
            f"'0.485, 0.456, 0.406'; {REMEDY}"
        )
    return np.array(values, dtype=np.float32).reshape(3, 1, 1)
