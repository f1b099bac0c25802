"""Which tokens the encoder sees and which it must predict: pure functions of the grid, the seed and the global position."""

from surgrec.masks.grid import TubeletGrid
from surgrec.masks.groups import GroupMasks, batch_masks
from surgrec.masks.multiblock import LONG_RANGE, SHORT_RANGE, Masks, MultiblockConfig, Trim
from surgrec.masks.tube import tube_masks

__all__ = [
    "LONG_RANGE",
    "SHORT_RANGE",
    "GroupMasks",
    "Masks",
    "MultiblockConfig",
    "Trim",
    "TubeletGrid",
    "batch_masks",
    "tube_masks",
]
