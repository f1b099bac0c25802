"""An encoder with heads, as an encoder: its feature of a window is the outputs of all heads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.clips import ClipSampling
from surgrec.encoders import Preprocessing
from surgrec.features import VideoEncoder


@dataclass(frozen=True, kw_only=True)
class HeadedEncoder:
    """A `VideoEncoder` whose features are outputs of heads, side by side.

    So windows are read and decoded as those of `surgrec features`.
    """

    encoder: VideoEncoder
    head_outputs: Callable[[Float[Tensor, "b c t h w"]], Float[Tensor, "heads b k"]]
    """Maps clips to the outputs of all heads."""
    width: int
    """Heads times outputs."""

    @property
    def network(self) -> nn.Module:
        """The network of the encoder."""
        return self.encoder.network

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks of the encoder."""
        return self.encoder.blocks

    @property
    def sampling(self) -> ClipSampling:
        """Frames of a window and their rate."""
        return self.encoder.sampling

    @property
    def preprocessing(self) -> Preprocessing:
        """That of the encoder."""
        return self.encoder.preprocessing

    @property
    def provenance(self) -> dict[str, Any]:
        """That of the encoder."""
        return self.encoder.provenance

    @property
    def facts(self) -> dict[str, Any]:
        """Those of the encoder."""
        return self.encoder.facts

    def tokens(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of the encoder."""
        return self.encoder.tokens(clips)

    def features(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d"]:
        """Return the outputs of all heads, side by side."""
        outputs: Float[Tensor, "b d"] = rearrange(
            self.head_outputs(clips), "heads b k -> b (heads k)"
        )
        return outputs
