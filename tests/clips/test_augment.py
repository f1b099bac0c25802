from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from surgrec.clips import AugmentConfig, ClipBatch, to_model_input
from surgrec.clips.augment import random_box
from surgrec.clips.crop import multi_scale_crop, random_resized_crop
from surgrec.errors import ConfigError
from surgrec.normalize import RGB_MEAN, RGB_STD, denormalize

CPU = torch.device("cpu")


def batch_of(*frames: Tensor, flipped: bool = False) -> ClipBatch:
    return ClipBatch(
        positions=np.arange(len(frames)),
        keys=[f"alpha_{place}" for place in range(len(frames))],
        sources=["alpha"] * len(frames),
        frames=list(frames),
        flipped=[flipped] * len(frames),
        quarantined=[],
    )


def random_frames(*shape: int) -> Tensor:
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_clips_of_any_size_become_one_float_batch_of_the_size_of_the_network() -> None:
    clips = to_model_input(
        batch_of(random_frames(4, 3, 50, 70), random_frames(4, 3, 33, 20)), 32, CPU
    )
    assert clips.shape == (2, 3, 4, 32, 32)
    assert clips.dtype == torch.float32


def test_network_input_goes_back_to_the_colors_it_was_made_of() -> None:
    frames = random_frames(4, 3, 32, 32)
    pixels = denormalize(to_model_input(batch_of(frames), 32, CPU))
    torch.testing.assert_close(pixels[0].transpose(0, 1), frames / 255, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_values_are_normalized_by_the_statistics_of_imagenet(value: int) -> None:
    clips = to_model_input(batch_of(torch.full((2, 3, 10, 10), value, dtype=torch.uint8)), 16, CPU)
    for channel in range(3):
        expected = (value / 255 - RGB_MEAN[channel]) / RGB_STD[channel]
        assert torch.allclose(clips[:, channel], torch.tensor(expected), atol=1e-5)


def test_frames_of_the_right_size_are_only_normalized() -> None:
    frames = random_frames(3, 3, 24, 24)
    clips = to_model_input(batch_of(frames), 24, CPU)
    mean, deviation = torch.tensor(RGB_MEAN)[:, None, None], torch.tensor(RGB_STD)[:, None, None]
    expected = (frames / 255 - mean) / deviation
    assert torch.allclose(clips[0], expected.transpose(0, 1), atol=1e-5)


def test_frames_are_resized_by_bilinear_interpolation_without_antialiasing() -> None:
    frames = random_frames(1, 3, 40, 60)
    clips = to_model_input(batch_of(frames), 16, CPU)
    resized = F.interpolate(frames.float(), size=(16, 16), mode="bilinear", align_corners=False)[0]
    mean, deviation = torch.tensor(RGB_MEAN)[:, None, None], torch.tensor(RGB_STD)[:, None, None]
    assert torch.allclose(clips[0, :, 0], (resized / 255 - mean) / deviation, atol=1e-5)


def test_a_flipped_clip_is_the_mirror_image_of_the_other() -> None:
    frames = random_frames(2, 3, 31, 45)
    straight, mirrored = (
        to_model_input(batch_of(frames, flipped=flipped), 20, CPU) for flipped in (False, True)
    )
    assert not torch.allclose(straight, mirrored)
    assert torch.equal(mirrored, straight.flip(-1))


def test_each_clip_is_flipped_for_itself() -> None:
    frames = random_frames(2, 3, 31, 45)
    mixed = to_model_input(replace(batch_of(frames, frames), flipped=[False, True]), 20, CPU)
    assert torch.equal(mixed[1], mixed[0].flip(-1))


def test_a_crop_is_drawn_as_the_config_says() -> None:
    vjepa, videomae = AugmentConfig(), AugmentConfig(crop="multi_scale")
    for key in range(20):
        assert random_box(90, 160, videomae, key) == multi_scale_crop(90, 160, key=key)
        box = random_resized_crop(90, 160, scale=(0.3, 1.0), aspect_ratio=(0.75, 1.35), key=key)
        assert random_box(90, 160, vjepa, key) == box


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", (0.0, 1.0)),
        ("scale", (0.5, 0.4)),
        ("scale", (0.5, 1.1)),
        ("aspect_ratio", (0.0, 1.0)),
        ("aspect_ratio", (2.0, 1.0)),
        ("flip", -0.1),
        ("flip", 1.1),
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused(field: str, value: object) -> None:
    with pytest.raises(
        ConfigError, match=f"{field} {value}".replace("(", r"\(").replace(")", r"\)")
    ):
        AugmentConfig(**{field: value})  # type: ignore[arg-type]
