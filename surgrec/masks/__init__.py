"""Choose visible and predicted tokens: pure functions of grid, seed and position in the stream."""

from surgrec.masks._grid import TubeletGrid
from surgrec.masks._groups import GroupMasks, batch_masks
from surgrec.masks._heaviest import heaviest_lengths
from surgrec.masks._multiblock import LONG_RANGE, SHORT_RANGE, Masks, MultiblockConfig, Trim
from surgrec.masks._random_source import MASKS_VERSION
from surgrec.masks._tube import tube_masks

__all__ = [
    "LONG_RANGE",
    "MASKS_VERSION",
    "SHORT_RANGE",
    "GroupMasks",
    "Masks",
    "MultiblockConfig",
    "Trim",
    "TubeletGrid",
    "batch_masks",
    "heaviest_lengths",
    "tube_masks",
]
