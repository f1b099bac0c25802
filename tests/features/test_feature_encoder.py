"""`load_encoder`: features of tensors, of a video file and of a corpus."""

from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange

import surgrec
from surgrec.errors import ConfigError, MissingError, SampleError, SetupError
from surgrec.features import FeatureEncoder, VideoFeatures, load_encoder, read_features
from surgrec.normalize import normalize
from tests.features.conftest import CONFIG, TINY
from tests.support.videos import make_video


@pytest.fixture(scope="module")
def encoder(run_dir: Path) -> FeatureEncoder:
    return load_encoder(run_dir, "cpu")


def clips(batch: int, height: int, width: int) -> torch.Tensor:
    shape = (batch, 3, TINY.num_frames, height, width)
    return torch.randint(256, shape, dtype=torch.uint8)


def test_the_package_exposes_load_encoder(run_dir: Path) -> None:
    assert surgrec.load_encoder is load_encoder
    assert load_encoder(str(run_dir), "cpu").encoder.width == TINY.width


def test_rgb_clips_are_cropped_resized_and_normalized(encoder: FeatureEncoder) -> None:
    rgb = clips(2, 50, 70)
    square = rearrange(rgb[..., 10:60], "b c t h w -> (b t) c h w")
    ready = rearrange(
        normalize(square, TINY.crop_px, torch.device("cpu"), antialias=True),
        "(b t) c h w -> b c t h w",
        b=2,
    )
    features = encoder.features(rgb)
    assert features.shape == (2, TINY.width)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, encoder.features(ready))


def test_a_feature_is_the_mean_of_the_output_tokens(encoder: FeatureEncoder) -> None:
    ready = torch.randn(2, 3, TINY.num_frames, TINY.crop_px, TINY.crop_px)
    with torch.inference_mode():
        expected = encoder.encoder.network(ready).mean(dim=1)
    torch.testing.assert_close(encoder.features(ready), expected)


def test_one_clip_with_time_first_is_a_batch_of_one(encoder: FeatureEncoder) -> None:
    rgb = clips(1, 40, 40)
    one = encoder.features(rearrange(rgb, "1 c t h w -> t c h w"))
    assert one.shape == (TINY.width,)
    torch.testing.assert_close(one, encoder.features(rgb)[0])


def test_a_tensor_of_another_shape_is_refused(encoder: FeatureEncoder) -> None:
    with pytest.raises(ConfigError, match=r"clips have shape \(3, 4, 4\); give"):
        encoder.features(torch.zeros(3, 4, 4))
    with pytest.raises(ConfigError, match=f"{TINY.num_frames}x{TINY.crop_px}x{TINY.crop_px}"):
        encoder.features(torch.zeros(1, 3, TINY.num_frames, 8, 8))


def test_a_video_file_has_features_per_window(encoder: FeatureEncoder, tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", seconds=6)
    video = encoder.features(path, stride_s=0.5)
    assert isinstance(video, VideoFeatures)
    assert video.features.shape == (len(video.start_s), TINY.width)
    assert np.diff(video.start_s).tolist() == [0.5] * (len(video.start_s) - 1)
    folder = encoder.features(tmp_path, stride_s=0.5)
    assert isinstance(folder, dict)
    torch.testing.assert_close(folder["videos/video.mp4"].features, video.features)


def test_a_corpus_has_the_features_that_extract_writes(
    encoder: FeatureEncoder, tiny_corpus: Path, undisturbed: Path
) -> None:
    corpus = encoder.features(tiny_corpus, stride_s=CONFIG.stride_s)
    assert isinstance(corpus, dict)
    written = read_features(undisturbed)
    rows = [(f"{row.source}/{row.video}", row.start_s) for row in written.rows]
    assert rows == [(name, start) for name, video in corpus.items() for start in video.start_s]
    values = torch.cat([video.features for video in corpus.values()])
    torch.testing.assert_close(values, written.values, atol=1e-4, rtol=1e-3)


def test_unreadable_inputs_are_refused(encoder: FeatureEncoder, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(SampleError, match=r"text\.mp4"):
        encoder.features(tmp_path / "text.mp4")
    with pytest.raises(MissingError, match="nowhere"):
        encoder.features(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"stride_s is 0; give"):
        encoder.features(tmp_path / "text.mp4", stride_s=0.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused(run_dir: Path) -> None:
    with pytest.raises(SetupError, match="torch finds no GPU"):
        load_encoder(run_dir, "cuda")
