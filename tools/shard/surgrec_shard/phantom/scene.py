"""The interface of a domain's scene to the renderer."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.optics import Optics
from surgrec_shard.phantom.phases import Moment


@runtime_checkable
class Scene(Protocol):
    """One case. Drawing has no memory: a frame depends on its moment alone."""

    optics: Optics

    def draw(self, moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at a moment. Channels are blue, green, red."""
        ...
