"""Pretrained weights in SurgRec's names: an encoder, its predictor or decoder, and their origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from surgrec.models import DecoderConfig, EncoderConfig, PredictorConfig, State
from surgrec.models.encoder import Positions

Config = TypeVar("Config")

NON_COMMERCIAL = "CC-BY-NC-4.0"
"""License of the weights of V-JEPA 1, VideoMAE v1 and SurgRec. Derived weights keep it."""

NO_LICENSE_STATED = "NOASSERTION"
"""SPDX identifier of weights whose publisher states no license. None may be assumed."""

LicenseSource: TypeAlias = Literal["given", "note", "model card", "format"]


@dataclass(frozen=True, kw_only=True)
class Component(Generic[Config]):
    """The config and the tensors of one network: an encoder, predictor or decoder."""

    config: Config
    state: State
    """Tensors by SurgRec's names."""


@dataclass(frozen=True, kw_only=True)
class SkippedTensors:
    """An entry of a file that the import does not use."""

    name: str
    """Its key in the file."""
    why: str
    """The reason, for a reader."""
    tensors: int
    """Number of tensors in it."""
    kept: bool = False
    """Whether `ExtraTensors` has it, for an export to the file's format."""


@dataclass(frozen=True, kw_only=True)
class ExtraTensors:
    """Tensors of a file that no network here has, and its layout: an export restores both."""

    format: str
    """Format of the file: vjepa, videomae, hf or timm."""
    entry: str | None = None
    """The entry that the encoder was read from."""
    bare: bool = False
    """Whether the file holds one network's tensors without an entry. `entry` is then the entry
    that other files of this format have for them."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """Prefix of all tensor names of an entry, such as `module.`, by entry."""
    tensors: State = field(default_factory=dict)
    """Tensors by entry and name (`target_encoder.img_mod_embed`), or by name in a format without
    entries."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source of weights, as `init_from` of a provenance records it."""

    name: str
    """Name of the file or folder, without its parent folders."""
    sha256: str
    """Digest of the file."""
    format: str
    """The format that was read: vjepa1, vjepa2, vjepa2.1, videomae, videomae2, hf-vjepa2,
    hf-videomae, timm, surgrec-encoder, ..."""
    key: str | None
    """The entry that the encoder was read from; None for a file without entries."""
    license: str | None
    """SPDX identifier of the weights' license; `NOASSERTION` if their publisher states none; None
    for weights that were trained from scratch."""
    license_from: LicenseSource | None
    """Source of the license: the user, the note of `surgrec export`, the model card, or the
    project that publishes files of this format."""
    left_out: Sequence[SkippedTensors] = ()
    """Entries of the file that are not used."""
    init_from: Mapping[str, Any] | None = None
    """Origin of the weights that these were trained from, if recorded."""
    drawn: Mapping[str, Any] | None = None
    """Record of the videos that these weights were trained on (surgrec/runs); None if unknown."""
    pretraining: Mapping[str, Any] | None = None
    """`data`: names of the data sets that these weights were trained on; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights by SurgRec's names, with their origin."""

    origin: Origin
    encoder: Component[EncoderConfig]
    """The encoder to use: a JEPA's target encoder."""
    context_encoder: State | None = None
    """Tensors of a JEPA's context encoder, which the target encoder follows."""
    predictor: Component[PredictorConfig] | None = None
    """Holds all stored mask tokens; `fit_mask_tokens` selects those of a `Predictor`."""
    decoder: Component[DecoderConfig] | None = None
    extra: ExtraTensors | None = None
    """Rest of an external file; None for weights that were trained since."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """Published values that were used because neither the file nor the user gives one."""

    @property
    def heads(self) -> dict[str, Component[Any]]:
        """Predictor and decoder, as far as the weights have them, by name."""
        heads = {"predictor": self.predictor, "decoder": self.decoder}
        return {name: head for name, head in heads.items() if head is not None}

    def extra_of(self, format_name: str) -> ExtraTensors | None:
        """Return the extra tensors of a file of this format; None for weights of another origin."""
        return self.extra if self.extra is not None and self.extra.format == format_name else None


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Facts that a file of weights may lack. None: the published value."""

    num_heads: int | None = None
    """Attention heads of the encoder."""
    num_frames: int | None = None
    """Frames per clip."""
    crop_px: int | None = None
    """Side of a frame, pixels."""
    tubelet_size: int | None = None
    """Frames per tubelet, which an image model lacks."""
    positions: Positions | None = None
    """Kind of positions. Required for a V-JEPA file with a position table, which V-JEPA 1 uses and
    V-JEPA 2 ignores."""
    predictor_heads: int | None = None
    """Attention heads of the predictor."""
    predictor_depth: int | None = None
    """Number of predictor blocks, if different from the published one. A file with any other
    number is refused as incomplete."""
    decoder_heads: int | None = None
    """Attention heads of the decoder."""
    decoder_depth: int | None = None
    """Number of decoder blocks, as for the predictor."""
    license: str | None = None
    """SPDX identifier of the weights' license."""
    pretraining_data: Sequence[str] | None = None
    """Names of the data sets that the weights were trained on. None: those of the project that
    publishes files of this format."""
