"""Features in Python: of tensors, of a video file, and of a corpus."""

from pathlib import Path
from typing import overload

import torch
from einops import rearrange
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from surgrec.clips import central_crop
from surgrec.errors import ConfigError, SampleError, SetupError
from surgrec.features._encoders import EncoderChoice, open_encoder
from surgrec.features._extract_config import DeviceName
from surgrec.features._extract_video import clip_features, video_features
from surgrec.features._files import VideoFeatures
from surgrec.features._open_videos import open_videos
from surgrec.features._videos import VideoReader
from surgrec.features._windows import require_stride
from surgrec.features.folder import VideoFile
from surgrec.features.interface import VideoEncoder, prepare

_BATCH = 16


def load_encoder(
    path: Path | str,
    device: DeviceName = "auto",
    *,
    weights: Path | str | None = None,
    fps: float | None = None,
    allow_repeated_frames: bool = False,
) -> "FeatureEncoder":
    """Load a trained encoder for features.

    Args:
        path: Folder of a run, an encoder file, or a preset (`EncoderChoice.path`).
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        weights: Local file of a preset's weights.
        fps: Frames per second within a window. Default: the rate of the encoder's training.
        allow_repeated_frames: Accept videos with fewer frames per second. Their frames repeat.

    Raises:
        MissingError: The run or the file does not exist, or the run has not saved an encoder yet.
        CheckpointError: The file is damaged or not an encoder file.
        ConfigError: The frame rate is neither stored in the file nor given.
        SetupError: `device` is `cuda`, and torch finds no GPU.

    Example:
        >>> encoder = load_encoder("runs/jepa")
        >>> encoder.features(torch.zeros(8, 3, 16, 256, 256)).shape
        torch.Size([8, 1024])
        >>> video = encoder.features("case-7.mp4")
        >>> video.start_s[:3], video.features.shape
        (array([0., 1., 2.]), torch.Size([340, 1024]))
        >>> corpus = encoder.features("/data/corpus")
        >>> corpus["cholec80/80150181222a"].features.shape
        torch.Size([1733, 1024])
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise SetupError("device is cuda, but torch finds no GPU on this machine; give cpu")
    name = "cuda" if has_gpu and device != "cpu" else "cpu"
    file = Path(weights) if weights else None
    choice = EncoderChoice(path=Path(path), weights=file, fps=fps)
    encoder = open_encoder(choice, torch.device(name))
    return FeatureEncoder(encoder, torch.device(name), allow_repeated_frames=allow_repeated_frames)


class FeatureEncoder:
    """A frozen encoder that turns windows of video into feature vectors.

    A feature is one vector per window, float32, on the CPU: the mean of the encoder's output
    tokens, unless the encoder has its own pooling.
    """

    def __init__(
        self, encoder: VideoEncoder, device: torch.device, *, allow_repeated_frames: bool = False
    ) -> None:
        self.encoder = encoder
        """The encoder, with its `network`, `preprocessing`, `width` and `facts`."""
        self.sampling = encoder.sampling
        """Frames and frame rate of a window."""
        self._allow_repeated_frames = allow_repeated_frames
        self._device = device

    @overload
    def features(self, x: Tensor, *, stride_s: float = 1.0) -> Tensor: ...

    @overload
    def features(
        self, x: Path | str, *, stride_s: float = 1.0
    ) -> VideoFeatures | dict[str, VideoFeatures]: ...

    def features(
        self, x: Tensor | Path | str, *, stride_s: float = 1.0
    ) -> Tensor | VideoFeatures | dict[str, VideoFeatures]:
        """Return features of clips, of a video file, or of all videos of a corpus.

        Args:
            x: Clips (see `clip_features`), the path of a video file (see `video_features`), or the
                root of a corpus or a folder of videos (see `corpus_features`).
            stride_s: For videos: seconds from the start of one window to the start of the next.
        """
        if isinstance(x, Tensor):
            return self.clip_features(x)
        if Path(x).is_file():
            return self.video_features(x, stride_s=stride_s)
        return self.corpus_features(x, stride_s=stride_s)

    def clip_features(self, clips: Tensor) -> Float32[Tensor, "*b d"]:
        """Return one feature per clip.

        Args:
            clips: Clips `[b, c, t, h, w]`, or one clip `[t, c, h, w]`, with `t` of the encoder.
                uint8 values are RGB: the central square is resized and normalized as in
                `surgrec features`. Float values must be normalized and of the encoder's size.

        Returns:
            Features `[b, d]`, or `[d]` for one clip.

        Raises:
            ConfigError: The tensor has another number of dimensions, or another size than the
                encoder expects.
        """
        if clips.ndim not in (4, 5):
            raise ConfigError(
                f"clips have shape {tuple(clips.shape)}; give [b, c, t, h, w] or [t, c, h, w]"
            )
        batch = rearrange(clips, "t c h w -> 1 c t h w") if clips.ndim == 4 else clips
        inputs = self._from_rgb(batch) if batch.dtype == torch.uint8 else batch.float()
        features = clip_features(self.encoder, inputs.to(self._device), "no")
        return features[0] if clips.ndim == 4 else features

    def video_features(self, path: Path | str, *, stride_s: float = 1.0) -> VideoFeatures:
        """Return the features of all windows of a video file, with their start times.

        Args:
            path: The video file.
            stride_s: Seconds from the start of one window to the start of the next.

        Raises:
            SampleError: The file is not a readable video. A window that cannot be decoded is in
                `failed` instead.
            StorageError: The file cannot be read from disk.
        """
        video = self._extract(VideoFile(Path(path)), stride_s)
        for failure in video.failed:
            if failure.start_s is None:
                raise SampleError(f"{path}: {failure.reason}")
        return video

    def corpus_features(
        self, root: Path | str, *, stride_s: float = 1.0
    ) -> dict[str, VideoFeatures]:
        """Return the features of all videos of a corpus or of a folder of videos.

        All features stay in memory. For a large corpus, `extract` writes them to disk instead.

        Args:
            root: Corpus root, or a folder of video files.
            stride_s: Seconds from the start of one window to the start of the next.

        Returns:
            The features of each video, by `source/video`. For a folder of videos the source is
            `videos`, and the video is the path relative to the folder.

        Raises:
            ConfigError: Frames of a corpus would repeat.
        """
        require_stride(stride_s)
        videos = open_videos([str(root)])
        videos.require(self.sampling, allow_repeated_frames=self._allow_repeated_frames)
        return {
            f"{entry.source}/{entry.video}": self._extract(videos.open(entry), stride_s)
            for entry in videos.entries
        }

    def _extract(self, reader: VideoReader, stride_s: float) -> VideoFeatures:
        require_stride(stride_s)
        return video_features(
            reader,
            self.encoder,
            stride_s=stride_s,
            batch=_BATCH,
            precision="no",
            device=self._device,
            allow_repeated_frames=self._allow_repeated_frames,
        )

    def _from_rgb(self, clips: UInt8[Tensor, "b c t h w"]) -> Float[Tensor, "b c t s s"]:
        """Crop the central square, resize and normalize it."""
        box = central_crop(clips.shape[3], clips.shape[4])
        rows = slice(box.top, box.top + box.height)
        columns = slice(box.left, box.left + box.width)
        frames = rearrange(clips[..., rows, columns], "b c t h w -> (b t) c h w")
        resized = prepare(frames, self.encoder.preprocessing, self._device)
        return rearrange(resized, "(b t) c h w -> b c t h w", b=len(clips))
