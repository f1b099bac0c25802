"""The steps from a decoded frame to the input of an encoder, stated once for each encoder."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from surgrec.ranges import Range, check_ranges

Channel: TypeAlias = Annotated[float, Range(-1000, 1000)]
Deviation: TypeAlias = Annotated[float, Range(0, 1000, above=True)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preprocessing of frames: crop, resize, subtract the mean, divide by the deviation."""

    size_px: Annotated[int, Range(1, 16_384)]
    """Side of the square input."""
    crop: Literal["central square"] = "central square"
    """The part of a frame that is resized as a whole: the largest square in its center."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Interpolation of the resize."""
    antialias: bool = True
    """Whether a resize to fewer pixels averages over all of them and rounds to whole levels, as
    Pillow and the processors of Hugging Face do."""
    mean: tuple[Channel, Channel, Channel] = IMAGENET_MEAN
    """Mean of red, green and blue, which are in [0, 1]."""
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
    """Standard deviation of red, green and blue."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def view(self) -> str:
        """The part and the resize of a frame in words, for settings of features."""
        smoothing = "with" if self.antialias else "without"
        return f"{self.crop}, {self.interpolation} {smoothing} antialiasing, {self.size_px} px"
