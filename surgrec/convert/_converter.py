"""The interface of a converter. Each format has one, listed in `FORMATS` of _formats.py."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._pretrained import ImportOptions, Pretrained
from surgrec.models import State


@dataclass(frozen=True, kw_only=True)
class TorchFile:
    """A PyTorch file to write."""

    entries: Mapping[str, State]
    """Tensors by entry and name."""
    heads: Sequence[str] = ()
    """Heads that are written beside the encoder: predictor, decoder."""
    bare: bool = False
    """Write the tensors of the one entry without the entry."""


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A folder to write: JSON files, model.safetensors and a model card."""

    files: Mapping[str, Mapping[str, Any]]
    """Content of each JSON file, by its name."""
    tensors: State
    """Content of model.safetensors."""
    library: str
    """The library that loads the folder, as `library_name` of the model card."""
    example: str
    """Python code for the model card that loads `FOLDER`."""
    notes: Sequence[str] = ()
    """Sentences for the model card about the use of the weights."""
    heads: Sequence[str] = ()
    """Heads that are written beside the encoder: predictor, decoder."""


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Functions that recognize, read and write one format."""

    matches: Callable[[CheckpointFile], bool]
    """Return whether a file has this format, judged by its config and the names of its entries."""
    read: Callable[[CheckpointFile, ImportOptions], Pretrained]
    """Return the weights of a file; raise `CheckpointError` for tensors that the format lacks."""
    write: Callable[[Pretrained], TorchFile | ModelFolder]
    """Return the file or folder to write; raise `ConfigError` if the format cannot represent the
    encoder, so that its features would differ."""
    decoder_on_request: bool = False
    """Whether a decoder is written only on request, as usual loaders of the format warn of it."""
