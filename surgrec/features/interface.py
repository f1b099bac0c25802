"""The interface of an encoder: all that features, probes and fine-tuning need of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from surgrec.clips import ClipSampling
from surgrec.encoders import Preprocessing
from surgrec.normalize import normalize


@runtime_checkable
class VideoEncoder(Protocol):
    """An encoder of any origin, from `open_encoder`: in evaluation mode, without gradients.

    Example:
        >>> encoder = open_encoder(EncoderChoice(path=Path("runs/jepa")), torch.device("cuda"))
        >>> clips = torch.stack([prepare(frames, encoder.preprocessing, device)]).transpose(1, 2)
        >>> encoder.tokens(clips).shape, encoder.features(clips).shape
        (torch.Size([1, 1568, 1024]), torch.Size([1, 1024]))
    """

    @property
    def network(self) -> nn.Module:
        """The network: clips `[b, c, t, h, w]` to tokens `[b, n, d]`."""

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks of the network from its input to its output; empty if they are not known.

        They serve layer decay and fine-tuning of the last blocks.
        """

    @property
    def sampling(self) -> ClipSampling:
        """Frames of a window and their rate."""

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps from a decoded frame to the input of the network; `prepare` does them."""

    @property
    def width(self) -> int:
        """Channels `d` of a token and of a feature."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of how the weights were made; empty for random weights."""

    @property
    def facts(self) -> dict[str, Any]:
        """The origin of the encoder as JSON.

        name, config, license, preprocessing and random_seed; provenance, with numbers of drawn
        videos in place of their digests; sha256, which identifies weights, architecture and
        preprocessing.
        """

    def tokens(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return one vector per token. Gradients flow if the caller lets them.

        Args:
            clips: Prepared clips: `sampling.num_frames` frames of `preprocessing.size_px`.
        """

    def features(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d"]:
        """Return one vector per clip: the mean token, or the result of the encoder's own pooling.

        Args:
            clips: As for `tokens`.
        """


def prepare(
    frames: UInt8[Tensor, "t c _ _"], preprocessing: Preprocessing, device: torch.device
) -> Float[Tensor, "t c h w"]:
    """Return frames as input of an encoder.

    Args:
        frames: The central squares of decoded frames, RGB, 0 to 255.
        preprocessing: Of the encoder.
        device: Device of the result.
    """
    return normalize(
        frames,
        preprocessing.size_px,
        device,
        interpolation=preprocessing.interpolation,
        antialias=preprocessing.antialias,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )


def mean_over_tokens(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
    """Return the mean token of each clip, in float32."""
    return tokens.float().mean(1)


def describe_encoder(facts: Mapping[str, Any]) -> str:
    """Return name and step of an encoder for a message: `jepa, step 300`.

    Args:
        facts: Origin of the encoder, as in `VideoEncoder.facts`, features.json or evaluation.json.
    """
    step = facts["provenance"].get("step")
    return facts["name"] if step is None else f"{facts['name']}, step {step}"
