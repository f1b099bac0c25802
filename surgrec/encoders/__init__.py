"""Facts of encoders as data, without torch: preprocessing, and presets of other projects."""

from surgrec.encoders._preprocessing import Preprocessing
from surgrec.encoders._presets import (
    TIMM,
    Preset,
    Pretraining,
    Sources,
    is_preset,
    near_presets,
    preset_names,
    read_preset,
)

__all__ = [
    "TIMM",
    "Preprocessing",
    "Preset",
    "Pretraining",
    "Sources",
    "is_preset",
    "near_presets",
    "preset_names",
    "read_preset",
]
