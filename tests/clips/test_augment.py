import re
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from surgrec.clips import VIEWS_VERSION, AugmentConfig, Box, to_model_input
from surgrec.clips._crop import multi_scale_crop, random_resized_crop
from surgrec.clips.augment import View, apply_view, apply_views, draw_view
from surgrec.errors import ConfigError
from surgrec.normalize import RGB_MEAN, RGB_STD, denormalize
from surgrec.stream import hash_int, hash_uniform
from tests.support.batches import make_batch, random_clips

CPU = torch.device("cpu")


def random_frames(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def normalized(values: Tensor) -> Tensor:
    mean, deviation = torch.tensor(RGB_MEAN)[:, None, None], torch.tensor(RGB_STD)[:, None, None]
    return (values / 255 - mean) / deviation


def test_clips_of_any_size_become_one_float_batch_of_the_input_size() -> None:
    batch = make_batch([random_frames(4, 3, 50, 70), random_frames(4, 3, 33, 20)])
    clips = to_model_input(batch, 32, CPU)
    assert clips.shape == (2, 3, 4, 32, 32)
    assert clips.dtype == torch.float32


def test_denormalizing_model_input_restores_the_colors() -> None:
    frames = random_frames(4, 3, 32, 32)
    pixels = denormalize(to_model_input(make_batch([frames]), 32, CPU))
    torch.testing.assert_close(pixels[0].transpose(0, 1), frames / 255, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_values_are_normalized_by_the_statistics_of_imagenet(value: int) -> None:
    clips = to_model_input(
        make_batch([torch.full((2, 3, 10, 10), value, dtype=torch.uint8)]), 16, CPU
    )
    for channel in range(3):
        expected = (value / 255 - RGB_MEAN[channel]) / RGB_STD[channel]
        assert torch.allclose(clips[:, channel], torch.tensor(expected), atol=1e-5)


def test_frames_of_the_right_size_are_only_normalized() -> None:
    frames = random_frames(3, 3, 24, 24)
    clips = to_model_input(make_batch([frames]), 24, CPU)
    assert torch.allclose(clips[0], normalized(frames).transpose(0, 1), atol=1e-5)


def test_resizing_is_bilinear_without_antialiasing() -> None:
    frames = random_frames(1, 3, 40, 60)
    clips = to_model_input(make_batch([frames]), 16, CPU)
    resized = F.interpolate(frames.float(), size=(16, 16), mode="bilinear", align_corners=False)[0]
    assert torch.allclose(clips[0, :, 0], normalized(resized), atol=1e-5)


def test_a_flipped_clip_is_the_mirror_image_of_the_other() -> None:
    frames = random_frames(2, 3, 31, 45)
    straight, mirrored = (
        to_model_input(make_batch([frames], flips=[flip]), 20, CPU) for flip in (False, True)
    )
    assert not torch.allclose(straight, mirrored)
    assert torch.equal(mirrored, straight.flip(-1))


def test_each_clip_of_a_batch_is_flipped_by_its_own_view() -> None:
    frames = random_frames(2, 3, 31, 45)
    clips = to_model_input(make_batch([frames, frames], flips=[False, True]), 20, CPU)
    assert torch.equal(clips[1], clips[0].flip(-1))


def test_a_batch_holds_each_clip_as_its_view_gives_it() -> None:
    batch = make_batch(
        [random_frames(2, 3, 31, 45), random_frames(2, 3, 20, 20)], flips=[True, False]
    )
    expected = [
        apply_view(frames, view, 20, CPU)
        for frames, view in zip(batch.frames, batch.views, strict=True)
    ]
    assert torch.equal(to_model_input(batch, 20, CPU), torch.stack(expected))


@settings(max_examples=30)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=5),
    crop_px=st.integers(1, 48),
    data=st.data(),
)
def test_views_applied_together_are_those_applied_one_by_one(
    sizes: list[tuple[int, int]], crop_px: int, data: st.DataObject
) -> None:
    flips = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    batch = make_batch(random_clips(sizes), flips=flips)
    together = apply_views(batch.frames, batch.views, crop_px, CPU)
    one_by_one = to_model_input(batch, crop_px, CPU)
    assert together.is_contiguous()
    torch.testing.assert_close(together, one_by_one, atol=1e-4, rtol=0)


def test_numbers_of_64_bits_and_other_layouts_change_no_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch(random_clips([(20, 31), (44, 16)]), flips=[True, False])
    expected = apply_views(batch.frames, batch.views, 24, CPU)
    by_channels = [frames.contiguous() for frames in batch.frames]
    assert torch.equal(apply_views(by_channels, batch.views, 24, CPU), expected)
    monkeypatch.setattr("surgrec.clips._resize._LARGEST", 1)
    assert torch.equal(apply_views(batch.frames, batch.views, 24, CPU), expected)


class Operations(TorchDispatchMode):
    """Counts operations by name, without views of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, inputs: Any = (), options: Any = None
    ) -> Any:
        if not function.is_view:
            self.counts[str(function)] += 1
        return function(*inputs, **(options or {}))


def operations_for(clips: int, device: str) -> Counter[str]:
    """Count the operations that make the model input of some clips on a device."""
    batch = make_batch(random_clips([(20 + n, 31) for n in range(clips)]))
    apply_views(batch.frames, batch.views, 16, torch.device(device))  # keeps the statistics there
    with Operations() as operations:
        made = apply_views(batch.frames, batch.views, 16, torch.device(device))
    assert made.shape == (clips, 3, 4, 16, 16)
    return operations.counts


def test_more_clips_in_a_batch_need_no_more_operations() -> None:
    assert operations_for(2, "cpu") == operations_for(16, "cpu")


def test_frames_that_travel_to_a_device_need_one_copy_per_clip_and_no_more() -> None:
    few, many = operations_for(2, "meta"), operations_for(16, "meta")
    assert many - few == Counter({"aten.copy_.default": 14})
    assert not few - many


def test_only_a_cpu_applies_views_one_by_one() -> None:
    batch = make_batch(random_clips([(20, 31), (25, 10)]))
    made = to_model_input(batch, 16, torch.device("meta"))
    assert (made.device.type, tuple(made.shape)) == ("meta", (2, 3, 4, 16, 16))
    with Operations() as operations:
        to_model_input(batch, 16, CPU)
    assert operations.counts["aten.upsample_bilinear2d.default"] == 2


GOLDEN_VIEWS = [
    View(Box(top=6, left=34, height=81, width=78), False),
    View(Box(top=6, left=33, height=78, width=95), False),
    View(Box(top=22, left=76, height=64, width=71), False),
    View(Box(top=6, left=25, height=82, width=105), False),
    View(Box(top=2, left=23, height=88, width=113), True),
    View(Box(top=2, left=79, height=77, width=80), True),
]
"""Views of keys 0 to 5 in frames of 90 x 160 pixels with the default config."""


def test_views_never_change() -> None:
    views = [draw_view(90, 160, AugmentConfig(), key) for key in range(6)]
    assert (VIEWS_VERSION, views) == (1, GOLDEN_VIEWS), "other views need another version"


@pytest.mark.parametrize("key", range(20))
def test_crop_and_flip_hash_the_key_of_the_view_with_2_and_3(key: int) -> None:
    vjepa = draw_view(90, 160, AugmentConfig(), key)
    crop_key, flip = hash_int(key, 2), hash_uniform(key, 3) < 0.5
    box = random_resized_crop(90, 160, scale=(0.3, 1.0), aspect_ratio=(0.75, 1.35), key=crop_key)
    assert vjepa == View(box, flip)
    videomae = draw_view(90, 160, AugmentConfig(crop="multi_scale", flip=1.0), key)
    assert videomae == View(multi_scale_crop(90, 160, key=crop_key), True)
    assert not draw_view(90, 160, AugmentConfig(flip=0.0), key).flip


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("scale", (0.0, 1.0), "scale[0] is 0.0; give more than 0 and at most 1"),
        ("scale", (0.5, 0.4), "scale is 0.5, 0.4; give the smaller number first"),
        ("scale", (0.5, 1.1), "scale[1] is 1.1; give"),
        ("aspect_ratio", (0.0, 1.0), "aspect_ratio[0] is 0.0; give 0.01 to 100"),
        ("aspect_ratio", (2.0, 1.0), "aspect_ratio is 2.0, 1.0; give the smaller number first"),
        ("flip", -0.1, "flip is -0.1; give 0 to 1"),
        ("flip", 1.1, "flip is 1.1; give 0 to 1"),
    ],
)
def test_an_invalid_range_is_refused_by_field_and_value(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        AugmentConfig(**{field: value})  # type: ignore[arg-type]
