"""A user's ONNX model: opened without reading another file, and run on one thread of the CPU."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from jaxtyping import Float32

from surgrec.errors import ConfigError, SetupError, cut, how_to_install, reason
from surgrec.recordings.process import starting
from surgrec.regular_files import read_regular

_ALLOWED_S = 600.0
"""Seconds that a call may last."""


class ModelFaultError(Exception):
    """A fault of a model, as the rest of a sentence that begins with its name."""


class OnnxModel:
    """A model with one input and one output of float32. Several threads may use it at once.

    Results do not depend on the number of cores.

    Args:
        data: The bytes of the file.
        needed_by: The option that asks for the model, for the error without ONNX Runtime.
        remedy: Last words of the sentence about a model that does not fit.

    Raises:
        SetupError: ONNX Runtime is not installed.
        ModelFaultError: The file is not a model, needs other files, or has other inputs or outputs.
    """

    def __init__(self, data: bytes, *, needed_by: str, remedy: str) -> None:
        self._remedy = remedy
        self._session = _open(data, needed_by, remedy)
        (self._input,) = self._only("input", self._session.get_inputs())
        self._only("output", self._session.get_outputs())

    @property
    def shape(self) -> list[int | str | None]:
        """Declared shape of the input; text or None for a size that is not fixed."""
        return list(self._input.shape)

    @property
    def metadata(self) -> dict[str, str]:
        """Properties that the file states about itself."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, values: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Return the output for an input of the declared shape.

        Raises:
            ModelFaultError: The model fails, or does not answer.
        """
        try:
            with _time_limit() as options:
                (output,) = self._session.run(None, {self._input.name: values}, options)
        except _errors() as error:
            words = f"has not answered for {_ALLOWED_S:g} s" if options.terminate else _words(error)
            raise ModelFaultError(f"fails ({words}); {self._remedy}") from None
        return np.asarray(output, dtype=np.float32)

    def _only(self, kind: str, found: list[Any]) -> list[Any]:
        """Refuse several inputs or outputs, and one of another type."""
        if len(found) != 1:
            raise ModelFaultError(f"has {len(found)} {kind}s, not one; {self._remedy}")
        if found[0].type != "tensor(float)":
            raise ModelFaultError(
                f"has an {kind} of the type {found[0].type}, not tensor(float); {self._remedy}"
            )
        return found


def read_model_file(path: Path, most_bytes: int, option: str) -> tuple[bytes, str]:
    """Return the bytes of a file of a model, and their SHA-256.

    Args:
        path: The file.
        most_bytes: Largest size that is read.
        option: The option that names the file.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        data = read_regular(path, most_bytes)
    except OSError as error:
        raise ConfigError(
            f"{option}: {path} cannot be read ({reason(error)}); give an ONNX file"
        ) from None
    return data, hashlib.sha256(data).hexdigest()


def shuffle_weights(data: bytes, seed: int) -> bytes:
    """Return a model whose matrices have their entries in random order.

    Tensors with less than two axes, such as biases and gains of norms, and constants inside the
    graph stay as they are.

    Args:
        data: The bytes of the file.
        seed: Of the random order.

    Raises:
        SetupError: The package onnx is not installed.
        ModelFaultError: The file is not a model, or has no matrices that can be told apart from
            other constants.
    """
    try:
        import onnx  # here, because it is an optional extra
        from google.protobuf.message import DecodeError
    except ImportError:
        raise SetupError(
            f"random weights of an ONNX model need the package onnx: {how_to_install('onnx')}"
        ) from None

    random = np.random.default_rng(seed)
    count = 0
    try:
        model = onnx.load_model_from_string(data)
        for tensor in model.graph.initializer:
            if len(tensor.dims) < 2 or tensor.data_type not in _weight_types(onnx):
                continue
            values = onnx.numpy_helper.to_array(tensor)
            order = random.permutation(values.size)
            shuffled = np.ascontiguousarray(values.reshape(-1)[order].reshape(values.shape))
            tensor.CopyFrom(onnx.numpy_helper.from_array(shuffled, tensor.name))
            count += 1
        changed: bytes = model.SerializeToString()
    except (DecodeError, ValueError, TypeError, OSError) as error:
        raise ModelFaultError(
            f"has weights that cannot be read ({cut(reason(error), 200)}); export it again"
        ) from error
    if not count:
        raise ModelFaultError(
            "stores no matrices as initializers, so that it has no variant with random weights; "
            "export it again without folding its weights into the graph"
        )
    return changed


def _weight_types(onnx: Any) -> tuple[int, ...]:
    kinds = onnx.TensorProto
    return (kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16, kinds.DOUBLE, kinds.INT8, kinds.UINT8)


def _open(data: bytes, needed_by: str, remedy: str) -> Any:
    """Return a session of ONNX Runtime. It reads no other file, and runs in the caller's thread."""
    try:
        import onnxruntime  # here, because it is an optional extra
    except ImportError:
        raise SetupError(f"{needed_by} needs ONNX Runtime: {how_to_install('onnx')}") from None

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
            raise ModelFaultError(
                "has weights in another file, which is not read; save it as one file, with "
                "onnx.save(onnx.load(FILE), NEW_FILE)"
            ) from None
        raise ModelFaultError(
            f"is not a model that ONNX Runtime loads ({words}); {remedy}"
        ) from None


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
