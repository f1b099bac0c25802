"""Presets: encoders of other projects as data. Each is a YAML file with the fields of `Preset`."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from surgrec.config_files import read_config
from surgrec.config_values import to_type
from surgrec.encoders._preprocessing import Preprocessing
from surgrec.errors import ConfigError, SurgrecError, cut
from surgrec.ranges import Range, check_ranges

FOLDER = Path(__file__).parent
PREFIX = "preset:"
"""Beginning of a choice that names a preset."""
TIMM = "timm:"
"""Beginning of a choice that names an image model of timm, which states its own facts."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The data that an encoder was pretrained on."""

    data: tuple[str, ...]
    """Names of the data sets."""
    has_surgery: Literal["no", "unknown", "yes"]
    """Whether they hold surgical video. `no` answers the audit of pretraining data."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the facts of a preset are stated.

    Each is an address, an article, a release of timm, or begins with `chosen here` or `unknown`.
    Empty: not given.
    """

    sampling: str = ""
    """Of the frames of a window and their rate."""
    preprocessing: str = ""
    license: str = ""
    pretraining: str = ""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An encoder of another project."""

    summary: str
    """The encoder in one line."""
    reader: Literal["timm", "checkpoint", "timesformer", "separate_sinusoids", "onnx", "pixels"]
    """`timm`: an image model, whose frames are pooled. `checkpoint`: a format of surgrec import.
    `timesformer`, `separate_sinusoids`: the networks of Endo-FM and SurgVISTA. `onnx`: an ONNX
    model. `pixels`: no network, a baseline of pixels."""
    num_frames: Annotated[int, Range(1, 65_536)]
    """Frames of a window."""
    fps: Annotated[float, Range(0, 1000, above=True)]
    """Frames per second within a window."""
    preprocessing: Preprocessing
    """The steps from a decoded frame to its input."""
    license: str
    """SPDX identifier of the license of the weights, NOASSERTION if none is stated. Empty: there
    are no weights."""
    pretraining: Pretraining
    source: str
    """Where the file of weights is published. Empty: there is none."""
    sources: Sources = Sources()
    """Where the other facts are stated. A file with a `base` has those of its base."""
    model: str = ""
    """Name of timm's model."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of timm's model."""
    layout: Literal["timm", "torchvision_convnext"] = "timm"
    """Names of the tensors: those that timm reads, or torchvision's of a ConvNeXt."""
    entry: str = ""
    """Entry of the file that holds the tensors. Empty: the file itself."""
    prefix: str = ""
    """Beginning of the names of the tensors to read; others are left out."""
    left_out: tuple[str, ...] = ()
    """Beginnings of the names of tensors that the encoder does not use."""
    format: Literal["auto", "vjepa", "videomae", "hf", "timm", "surgrec"] = "auto"
    """Format of a checkpoint."""
    positions: Literal["rope", "sincos", "sincos3d"] | None = None
    """Positions of a V-JEPA checkpoint."""
    num_heads: Annotated[int, Range(1, 65_536)] | None = None
    """Attention heads of a checkpoint whose size is not published, or of a network of Endo-FM or
    SurgVISTA whose heads do not have 64 channels."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if (self.reader == "timm") != bool(self.model):
            raise ConfigError(
                f"reader is {self.reader} and model is '{cut(self.model)}'; name a model of timm "
                "if, and only if, the reader is timm"
            )


def preset_names() -> list[str]:
    """Return the names of all presets of SurgRec."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def near_presets(name: str) -> list[str]:
    """Return up to three presets whose names resemble a word, the nearest first."""
    return difflib.get_close_matches(name.lower(), preset_names(), n=3)


def is_preset(choice: str) -> bool:
    """Return whether an encoder's choice names an encoder of another project.

    That is `preset:NAME`, NAME, a YAML file, or `timm:MODEL`.
    """
    names_one = choice.startswith((PREFIX, TIMM)) or choice.endswith(".yaml")
    return names_one or choice in preset_names()


def read_preset(choice: str) -> Preset:
    """Read a preset of SurgRec, or a user's own YAML file, which may have a preset as its `base`.

    Args:
        choice: `preset:NAME`, NAME, or the path of a YAML file.

    Raises:
        ConfigError: The preset does not exist, or a field is missing, unknown or wrong.
    """
    name = choice.removeprefix(PREFIX)
    if not name.endswith(".yaml") and name not in preset_names():
        near = near_presets(name)
        meant = f"; did you mean {', '.join(near)}?" if near else "; `surgrec encoders` lists them"
        raise ConfigError(f"there is no preset '{cut(name)}' of an encoder{meant}")
    tree = read_config(name, FOLDER)
    try:
        preset: Preset = to_type(Preset, tree)
    except SurgrecError as error:
        raise ConfigError(f"the preset {name}: {error}") from error
    return preset
