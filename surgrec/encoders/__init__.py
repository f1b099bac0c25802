"""Facts of encoders as data, without torch: preprocessing, and presets of other projects."""

from surgrec.encoders._preprocessing import Preprocessing
from surgrec.encoders._presets import (
    Preset,
    Pretraining,
    is_preset,
    preset_names,
    read_preset,
)

__all__ = [
    "Preprocessing",
    "Preset",
    "Pretraining",
    "is_preset",
    "preset_names",
    "read_preset",
]
