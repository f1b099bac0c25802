"""What a domain is to the renderer: a scene that can be drawn at any moment of a case."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.optics import Optics
from surgrec_shard.phantom.phases import Moment


@runtime_checkable
class Scene(Protocol):
    """One case. Drawing has no memory: a moment looks the same whatever was drawn before."""

    optics: Optics

    def draw(self, moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
        """The frame at a moment: blue, green, red."""
        ...
