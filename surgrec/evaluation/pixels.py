"""The baseline of pixels: the same probes on small pictures of the same windows."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from surgrec.clips import ClipSampling
from surgrec.encoders import read_preset
from surgrec.evaluation.kinds.kind import Inputs
from surgrec.evaluation.probes.components import principal_components
from surgrec.features import EncoderChoice

PIXELS = "pixels"
"""Name of the features, and of the preset."""
COMPONENTS = 64
"""Principal components of the pixels that the probes see."""


def pixels_choice(sampling: ClipSampling) -> EncoderChoice:
    """Return the pixels of windows, as the choice of an encoder.

    Args:
        sampling: Frames of a window.
    """
    path = Path(f"preset:{PIXELS}")
    return EncoderChoice(path=path, num_frames=sampling.num_frames, fps=sampling.fps)


def is_pixels(encoder: Mapping[str, Any]) -> bool:
    """Return whether the facts of an encoder are those of pixels, which have no weights."""
    return bool(encoder["config"].get("reader") == "pixels")


def pixels_method() -> str:
    """Return the part of the protocol that describes the pixels."""
    side = read_preset(PIXELS).preprocessing.size_px
    return (
        f"pixels: {COMPONENTS} principal components, fitted on the train windows, of the "
        f"standardized mean picture of a window at {side} x {side} pixels and its mean absolute "
        "change from frame to frame"
    )


def reduced(inputs: Inputs) -> Inputs:
    """Return the inputs of a probe with principal components of the train windows as features."""
    parts = [part for part in inputs if part is not None]
    values = principal_components(COMPONENTS, *(part.values for part in parts))
    train, test, val = inputs
    return (
        replace(train, values=values[0]),
        replace(test, values=values[1]),
        None if val is None else replace(val, values=values[2]),
    )
