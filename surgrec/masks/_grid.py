"""The grid of tubelets that a clip is divided into."""

from dataclasses import dataclass

from surgrec.errors import ConfigError


@dataclass(frozen=True)
class TubeletGrid:
    """Number of tubelets along time, height and width.

    Token ids count width fastest, then height, then time.
    """

    frames: int
    """Tubelets along time."""

    height: int
    """Tubelets along a frame's height."""

    width: int
    """Tubelets along a frame's width."""

    @property
    def num_tokens(self) -> int:
        """Number of tokens of one clip."""
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
        """Return the grid of a clip.

        Args:
            num_frames: Frames of the clip.
            height_px: Height of a frame, pixels.
            width_px: Width of a frame, pixels.
            tubelet_size: Length of a tubelet, frames.
            patch_size: Side of a tubelet, pixels.

        Raises:
            ConfigError: A size of the clip is not a multiple of the tubelet's.

        Example:
            >>> TubeletGrid.of_clip(num_frames=16, height_px=224, width_px=224)
            TubeletGrid(frames=8, height=14, width=14)
        """
        sizes = (
            ("num_frames", num_frames, "tubelet_size", tubelet_size),
            ("crop_px (height)", height_px, "patch_size", patch_size),
            ("crop_px (width)", width_px, "patch_size", patch_size),
        )

        for name, size, step_name, step in sizes:
            if size < step or size % step:
                raise ConfigError(
                    f"{name} is {size}, which is not a multiple of {step_name} {step}; change one "
                    "of them"
                )

        return cls(num_frames // tubelet_size, height_px // patch_size, width_px // patch_size)

    def __str__(self) -> str:
        return f"{self.frames} x {self.height} x {self.width} tubelets"
