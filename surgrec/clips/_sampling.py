"""Frame times: which moments of a stored clip make one training clip."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float64

from surgrec.errors import ConfigError
from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class ClipSampling:
    """Frames of a training clip."""

    num_frames: Annotated[int, Range(1, 65_536)] = 16
    """Frames per clip."""
    fps: Annotated[float, Range(0, 1000, above=True)] = 4.0
    """Frames per second of video; V-JEPA 2 trains at 4 (arXiv:2506.09985, section 2.1)."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def span_s(self) -> float:
        """Seconds of video that a clip covers, including its last frame."""
        return self.num_frames / self.fps

    def times(self, duration_s: float, offset: float) -> Float64[np.ndarray, " t"]:
        """Return the times of a clip's frames, in seconds from the start of the stored clip.

        Args:
            duration_s: Length of the stored clip, at least `span_s`.
            offset: Start of the clip, from 0 (as early as possible) to 1 (as late as possible).

        Raises:
            ConfigError: The stored clip is shorter than the span.
        """
        slack_s = duration_s - self.span_s
        if slack_s < -1e-6:
            raise ConfigError(
                f"a stored clip of {duration_s:g} s is shorter than the {self.span_s:g} s of a "
                "training clip; sample fewer frames, or at a higher rate"
            )
        return np.asarray(offset * max(slack_s, 0.0) + np.arange(self.num_frames) / self.fps)
