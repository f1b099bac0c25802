"""The settings of an extraction of features."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from surgrec.errors import SetupError
from surgrec.features._extract_video import Precision
from surgrec.machines import EngineName, require_engine_of_address
from surgrec.ranges import Range, check_ranges

DeviceName = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Settings of the feature extraction."""

    stride_s: Annotated[float, Range(0.001, 10**9)] = 1.0
    """Seconds from the start of one window to the start of the next."""
    batch: Annotated[int, Range(1, 4096)] = 16
    """Windows per forward pass."""
    precision: Precision = "no"
    """Autocast of the forward passes."""
    device: DeviceName = "auto"
    """Device of the encoder; auto selects GPUs if there are any."""
    processes: Annotated[int, Range(1, 256)] = 1
    """Videos processed at once, each in its own process; processes share the GPUs."""
    engine: EngineName = "local"
    """local: processes of this machine; ray: tasks of a Ray cluster, each with a GPU or a core.
    Then `processes` tasks share each GPU."""
    address: str = ""
    """Of the Ray cluster; empty: that of RAY_ADDRESS, or else Ray is started on this machine."""
    allow_repeated_frames: bool = False
    """Also process videos with fewer frames per second than a window. Their frames repeat."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require_engine_of_address(self.engine, self.address)

    @property
    def devices(self) -> list[str]:
        """The device of each process: `cpu`, or `cuda:0` and so on.

        Raises:
            SetupError: `device` is `cuda`, and torch finds no GPU.
        """
        gpus = torch.cuda.device_count() if self.device != "cpu" else 0
        if self.device == "cuda" and not gpus:
            raise SetupError(
                "--device is cuda, but torch finds no GPU on this machine; give --device cpu"
            )
        return [f"cuda:{number % gpus}" if gpus else "cpu" for number in range(self.processes)]
