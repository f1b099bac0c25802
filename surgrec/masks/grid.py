"""The grid of tubelets that a clip becomes."""

from dataclasses import dataclass

from surgrec.errors import ConfigError


@dataclass(frozen=True)
class TubeletGrid:
    """Tubelets along time, height and width. Token ids count width fastest, then height, then time."""

    frames: int
    height: int
    width: int

    @property
    def num_tokens(self) -> int:
        """Tokens of one clip."""
        return self.frames * self.height * self.width

    @classmethod
    def of_clip(
        cls,
        num_frames: int,
        height_px: int,
        width_px: int,
        tubelet_size: int = 2,
        patch_size: int = 16,
    ) -> "TubeletGrid":
        """The grid of a clip.

        Args:
            num_frames: Frames of the clip.
            height_px: Height of a frame, pixels.
            width_px: Width of a frame, pixels.
            tubelet_size: Frames of one tubelet.
            patch_size: Side of one tubelet, pixels.

        Raises:
            ConfigError: A side is not a whole number of tubelets.
        """
        sides = (
            ("num_frames", num_frames, tubelet_size),
            ("height", height_px, patch_size),
            ("width", width_px, patch_size),
        )
        for name, size, step in sides:
            if size < step or size % step:
                raise ConfigError(
                    f"{name} {size} is not a multiple of the tubelet's {step}; change one of the two"
                )
        return cls(num_frames // tubelet_size, height_px // patch_size, width_px // patch_size)
