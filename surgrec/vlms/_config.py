"""The options of an evaluation of a vision-language model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from surgrec.errors import ConfigError
from surgrec.ranges import Range, check_ranges
from surgrec.yaml_files import read_yaml

MOST_WORDINGS = 3
"""Wordings of the question that there are."""

Control = Literal["no_image", "other_case"]
"""The images of a control: none, or those of a window of another case."""

Constrain = Literal["auto", "structured", "json_schema", "json_object", "text"]
"""How a server keeps answers to their form; auto takes the first one that it enforces."""


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """The prompts of a window: its frames, their times, and the variations of the question."""

    frames: Annotated[int, Range(1, 64)] = 8
    """Frames of a window that the model sees, evenly spaced; the last one is that of the label."""
    times: Literal["window", "video", "none"] = "window"
    """Time beside each image: seconds before the last image, seconds of the video, or none."""
    class_names: Mapping[str, str] = field(default_factory=dict)
    """Words of the prompts for labels that are codes, by label."""
    context: str = ""
    """Sentence at the beginning of each prompt, such as the procedure."""
    wordings: Annotated[int, Range(1, MOST_WORDINGS)] = MOST_WORDINGS
    """Wordings of the question. The first one is scored, all others measure flips."""
    orders: Annotated[int, Range(1, 24)] = 3
    """Orders of the options. The first one (by name) is scored, all others measure flips."""
    variation_windows: Annotated[int, Range(0, 10_000_000)] = 200
    """Test windows that are asked in all wordings and orders; 0 for all of them."""
    controls: tuple[Control, ...] = ("no_image", "other_case")
    """Controls that are asked for every test window."""
    image_px: Annotated[int, Range(32, 4096)] = 448
    """Longest side of an image, pixels. Frames are never enlarged."""
    jpeg_quality: Annotated[int, Range(1, 100)] = 90
    """Quality of the JPEG files that are sent."""
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    """Seed of the orders, of the windows of variations and of the other cases."""

    def __post_init__(self) -> None:
        check_ranges(self)


def read_class_names(path: Path) -> dict[str, str]:
    """Read the texts of classes from a YAML file that maps labels to texts.

    Raises:
        ConfigError: The file is no such mapping, or two labels have one text.
    """
    content = read_yaml(path)
    is_mapping = isinstance(content, dict) and all(
        isinstance(each, str) and each for pair in content.items() for each in pair
    )
    if not is_mapping:
        raise ConfigError(
            f"{path} does not map labels to texts; write one line `label: text` for each class"
        )
    if len(set(content.values())) < len(content):
        raise ConfigError(f"{path} gives two labels one text; give each class a text of its own")
    return dict(content)


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """The windows of an evaluation. Equal ones of an encoder make both comparable."""

    num_frames: Annotated[int, Range(1, 4096)] = 16
    """Frames of a window. The label is that of the last one."""
    fps: Annotated[float, Range(0, 1000, above=True)] = 4.0
    """Frames per second within a window."""
    stride_s: Annotated[float, Range(1e-3, 1e6)] = 1.0
    """Seconds from the start of one window to the start of the next."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """An endpoint that speaks the protocol of OpenAI's chat completions, and how to ask it."""

    endpoint: str
    """Address up to the version, such as `http://127.0.0.1:8000/v1`."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts beside this machine that may receive images."""
    api_key_env: str = ""
    """Environment variable with the key of the server; empty for none."""
    constrain: Constrain = "auto"
    """How answers are kept to their form."""
    parallel: Annotated[int, Range(1, 256)] = 4
    """Requests at once."""
    timeout_s: Annotated[float, Range(0.01, 86_400)] = 300.0
    """Seconds after which a try ends."""
    tries: Annotated[int, Range(1, 100)] = 6
    """Tries of a request before the job ends."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A vision-language model: behind an endpoint, or in a local folder."""

    name: str
    """Name of the model: at the endpoint, and in tables."""
    server: ServerConfig | None = None
    """The endpoint."""
    folder: Path | None = None
    """Folder in the format of transformers, to run in this process."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of a model in this process."""
    max_tokens: Annotated[int, Range(0, 100_000)] = 0
    """Largest length of an answer, tokens; 0: as many as the form needs. Models that think need
    more."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.name:
            raise ConfigError("the model has no name; give --model NAME")
        if (self.server is None) == (self.folder is None):
            raise ConfigError(
                f"the model {self.name!r} needs one place; give either --endpoint, the address of "
                "a server, or --transformers, a local folder"
            )
