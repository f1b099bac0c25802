"""Resizing of all clips of a batch at once, in a number of operations that no clip adds to.

Clips differ in size, so no kernel of PyTorch resizes several. Here, the four pixels around each
pixel of the result are gathered from the pixels of all clips.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Float32, Int64, Shaped, UInt8
from torch import Tensor

_LARGEST = 2**31
"""Pixels above which their numbers need 64 bits."""


def resize_together(
    clips: Sequence[UInt8[Tensor, "t c _ _"]],
    mirrored: Sequence[bool],
    crop_px: int,
    device: torch.device,
) -> Float32[Tensor, "b t h w c"]:
    """Return clips of several sizes at one size, by bilinear interpolation.

    The values are those of `torch.nn.functional.interpolate` without antialiasing and with
    `align_corners=False`, up to rounding.

    Args:
        clips: Frames with 0 to 255; all of equal length, each clip at its own size.
        mirrored: Whether each clip is mirrored horizontally.
        crop_px: Height and width of the result, pixels.
        device: Where the result is computed. Frames travel there as they are.
    """
    pixels = _all_pixels(clips, device)
    frames, (top, bottom, left, right), (down, across) = _places(clips, mirrored, crop_px, device)

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        """Return one of the four pixels around each pixel of the result."""
        places = frames[:, :, None, None] + rows[:, None, :, None] + columns[:, None, None, :]
        return pixels.index_select(0, places.flatten()).view(*places.shape, -1).float()

    across, down = across[:, None, None, :, None], down[:, None, :, None, None]
    above = corner(top, left).lerp_(corner(top, right), across)
    below = corner(bottom, left).lerp_(corner(bottom, right), across)
    return above.lerp_(below, down)


def _all_pixels(
    clips: Sequence[UInt8[Tensor, "t c _ _"]], device: torch.device
) -> UInt8[Tensor, "n c"]:
    """Return the pixels of all clips on the device, one clip after the other."""
    flat = [rearrange(clip, "t c h w -> (t h w) c") for clip in clips]
    if flat[0].device == device:
        return torch.cat(flat)

    pixels = flat[0].new_empty((sum(map(len, flat)), flat[0].shape[1]), device=device)
    for part, clip in zip(torch.split(pixels, [*map(len, flat)]), flat, strict=True):
        part.copy_(clip, non_blocking=True)  # a copy by the memory engine, without a kernel
    return pixels


def _places(
    clips: Sequence[UInt8[Tensor, "t c _ _"]],
    mirrored: Sequence[bool],
    crop_px: int,
    device: torch.device,
) -> tuple[Shaped[Tensor, "b t"], list[Shaped[Tensor, "b s"]], list[Float32[Tensor, "b s"]]]:
    """Return where the pixels around each pixel of the result are, and their weights.

    A number of a pixel among those of all clips is the sum of those of its frame, row and column.

    Returns:
        The first pixel of each frame; the numbers of the rows above and below, and of the columns
        to the left and right; and the weights of the rows below and of the columns to the right.
    """
    height, width = (torch.tensor([clip.shape[axis] for clip in clips]) for axis in (2, 3))
    length = clips[0].shape[0]
    sizes = length * height * width
    starts = (sizes.cumsum(0) - sizes)[:, None]
    frames = starts + torch.arange(length) * (height * width)[:, None]

    top, bottom, down = _around(height, crop_px)
    left, right, across = _around(width, crop_px)
    flips = torch.tensor(mirrored)[:, None]
    left, right, across = (torch.where(flips, each.flip(1), each) for each in (left, right, across))
    rows = [each * width[:, None] for each in (top, bottom)]

    # All numbers travel in one copy; the weights as the bits of whole numbers.
    is_short = sum(len(clip) * clip[0, 0].numel() for clip in clips) < _LARGEST
    kind = torch.int32 if is_short else torch.int64
    numbers = [each.to(kind) for each in (frames, *rows, left, right)]
    weights = [each.view(torch.int32).to(kind) for each in (down, across)]
    table = torch.cat([*numbers, *weights], dim=1)
    if device.type == "cuda":
        table = table.pin_memory()  # else the copy would wait for the work of the device
    widths = [length, *6 * [crop_px]]
    sent = table.to(device, non_blocking=True)
    frames, *edges, down, across = torch.split(sent, widths, dim=1)
    return frames, edges, [each.to(torch.int32).view(torch.float32) for each in (down, across)]


def _around(
    size: Int64[Tensor, " b"], crop_px: int
) -> tuple[Int64[Tensor, "b s"], Int64[Tensor, "b s"], Float[Tensor, "b s"]]:
    """Return the pixels before and behind each place of the result, and the weight of the latter.

    Args:
        size: Former number of pixels of each clip.
        crop_px: New number.
    """
    scale = (size.float() / crop_px)[:, None]
    place = ((torch.arange(crop_px) + 0.5) * scale - 0.5).clamp_min(0)
    before = torch.minimum(place.long(), size[:, None] - 1)
    behind = torch.minimum(before + 1, size[:, None] - 1)
    return before, behind, place - before
