"""Options of the commands that a benchmark runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from surgrec.machines import EngineName, require_engine_of_address
from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of the commands that a benchmark runs."""

    allow: tuple[str, ...] = ()
    """Findings of `surgrec audit` that stop no evaluation."""
    allow_pretraining_overlap: bool = False
    """Continue if an encoder was pretrained on test cases."""
    allow_unknown_pretraining: bool = False
    """Continue if it is unknown whether an encoder was pretrained on test cases."""
    allow_repeated_frames: bool = False
    """Use videos with fewer frames per second than the windows of an encoder."""
    frame_fps: Mapping[str, float] = field(default_factory=dict)
    """By preset: rate of the picture numbers, of sets of pictures without a published rate."""
    fps: Mapping[str, float] = field(default_factory=dict)
    """By preset: frames per second of windows, in place of those of cards and encoders."""
    stored_fps: Annotated[float, Range(0, 1000)] = 8.0
    """Frames per second of the corpora; 0 keeps every picture."""
    short_side_px: Annotated[int, Range(16, 8192)] = 256
    """Shorter side of the stored pictures, pixels."""
    stride_s: Annotated[float, Range(0, 3600)] = 0.0
    """Seconds from the start of one window to the next; 0: that of each card."""
    temporal: bool = True
    """Also fit the causal heads of the cards that ask for them."""
    batch: Annotated[int, Range(1, 65_536)] = 16
    """Windows per forward pass."""
    precision: Literal["no", "bf16"] = "no"
    """Autocast type of the forward passes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the encoders."""
    processes: Annotated[int, Range(1, 1024)] = 1
    """Videos processed at once by an encoder."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts beside this machine that may receive images, for a vision-language model."""
    vlm_frames: Annotated[int, Range(1, 64)] = 8
    """Images of a window that a vision-language model sees."""
    api_key_env: str = ""
    """Environment variable that has the key of its server."""
    private: Path | None = None
    """Folder with the key of the corpora; None: one within the folder of the benchmark."""
    workers: Annotated[int, Range(0, 1024)] = 0
    """Videos encoded at once; 0: one per core."""
    engine: EngineName = "local"
    """local: one step after the other on this machine; ray: on the machines of a Ray cluster."""
    address: str = ""
    """Of the Ray cluster; empty: that of RAY_ADDRESS, or else Ray is started on this machine."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require_engine_of_address(self.engine, self.address)
