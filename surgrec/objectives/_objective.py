"""The interface that training needs of every objective."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from surgrec.models import Encoder, EncoderConfig, State


@dataclass(frozen=True, kw_only=True)
class HeadWeights:
    """Pretrained weights of a head, with the names and shapes of an objective's head."""

    tensors: State
    """Tensors by the head's parameter names."""

    change: str | None = None
    """How the tensors differ from the pretrained ones, for a reader. None: not at all."""


@runtime_checkable  # for the tests, which check annotations at run time
class Objective(Protocol):
    """Encoder, head and loss of one method, in one module.

    The head is trained together with the encoder and discarded afterwards: a predictor or a
    decoder. A new method is one class of this room that inherits from `nn.Module` and `Objective`.
    Its recipe calls the module with the arguments of the method, so `forward` is not part of the
    protocol.
    """

    head_name: ClassVar[str]
    """Name of the head, and of the component of pretrained weights that can initialize it."""

    encoder: Encoder
    """The encoder that is trained."""

    @property
    def head(self) -> nn.Module:
        """The network that is trained with the encoder."""

    @property
    def has_fixed_shapes(self) -> bool:
        """Whether the masks of a run have few lengths, so that each can be compiled by itself."""
        return False

    def head_options(self) -> Mapping[str, int]:
        """Return the sizes of the head that external files do not store.

        Keys are fields of `surgrec.convert.ImportOptions`.
        """

    def head_mismatch(self, saved: Any, saved_encoder: EncoderConfig) -> str | None:
        """Return why pretrained weights do not fit the head, or None if they fit.

        Args:
            saved: Config of the pretrained head.
            saved_encoder: Config of the encoder that it was trained with.
        """

    def fit_head_weights(self, tensors: State) -> HeadWeights:
        """Return pretrained tensors in the shapes of the head.

        Args:
            tensors: Tensors of a pretrained head without `head_mismatch`.
        """

    def flops(self, masks: Any) -> float:
        """Return the floating-point operations of one training step: the numerator of MFU.

        Args:
            masks: Masks of the batch, as `forward` takes them.
        """
