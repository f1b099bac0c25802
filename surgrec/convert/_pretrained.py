"""Pretrained weights in our terms, wherever they come from: an encoder, what was trained with it, and where it is from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from torch import Tensor

from surgrec.convert._checkpoint_file import NOTE, CheckpointFile
from surgrec.errors import CheckpointError
from surgrec.models import DecoderConfig, EncoderConfig, PredictorConfig, State
from surgrec.models.encoder import Positions

Config = TypeVar("Config")

NON_COMMERCIAL = "CC-BY-NC-4.0"
"""V-JEPA 1, VideoMAE v1 and SurgRec publish their weights under it; weights derived from them keep it."""

UNSTATED = "NOASSERTION"
"""SPDX's word for weights whose makers state no license, so that nobody may assume one."""

LicenseSource: TypeAlias = Literal["given", "note", "model card", "format"]

RemainderFormat: TypeAlias = Literal["vjepa", "videomae", "hf", "timm"]


@dataclass(frozen=True, kw_only=True)
class Component(Generic[Config]):
    """One network: its size, and its tensors by our names."""

    config: Config
    state: State


@dataclass(frozen=True, kw_only=True)
class SkippedTensors:
    """Something of a file that was knowingly not taken."""

    name: str
    """Its key in the file."""
    why: str
    """The reason, for a reader."""
    tensors: int
    """How many it holds."""
    kept: bool = False
    """Whether `ExtraTensors` has it, for an export to the format that it came in."""


@dataclass(frozen=True, kw_only=True)
class ExtraTensors:
    """What a foreign file has and no network here, kept so that the same file can be written again."""

    format: RemainderFormat
    """Whose file it was."""
    entry: str | None = None
    """The entry that the encoder was taken from."""
    bare: bool = False
    """Whether the file is one network's tensors alone, in no entry; `entry` is then where its like is in other files."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """What stands before every name of an entry, by entry."""
    tensors: State = field(default_factory=dict)
    """By entry and name: `target_encoder.img_mod_embed`; in a format without entries, by name."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where weights come from: what `init_from` of a provenance says."""

    name: str
    """Of the file or folder, without the folders that it is in."""
    sha256: str
    """Of the file."""
    format: str
    """As which format it was read: vjepa1, vjepa2, vjepa2.1, videomae, hf-vjepa2, hf-videomae, timm, surgrec-encoder, ..."""
    key: str | None
    """The entry that the encoder was taken from; None where the file holds nothing but tensors."""
    license: str | None
    """Of the weights, by its SPDX identifier; `UNSTATED` where their makers state none; None where there is none to keep."""
    license_from: LicenseSource | None
    """Who says so: the user, the note of `surgrec export`, the model card, or who publishes files of this format."""
    left_out: Sequence[SkippedTensors] = ()
    """What was not taken."""
    init_from: Mapping[str, Any] | None = None
    """What these weights were themselves started from, where they say so."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights, in our terms."""

    origin: Origin
    encoder: Component[EncoderConfig]
    """The one to use: the target encoder of a JEPA."""
    context_encoder: State | None = None
    """The tensors of a JEPA's trained encoder, which the target encoder follows."""
    predictor: Component[PredictorConfig] | None = None
    """With as many mask tokens as the file stores; `fit_mask_tokens` gives those that a `Predictor` has."""
    decoder: Component[DecoderConfig] | None = None
    remainder: ExtraTensors | None = None
    """Of a foreign file as it was read; None for weights that were trained on since."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """What the file does not say and nobody gave: the published values that were taken for it."""

    @property
    def contents(self) -> str:
        """What there is, for a reader: `encoder and predictor`."""
        parts = {"predictor": self.predictor, "decoder": self.decoder}
        return " and ".join(
            ["encoder", *(name for name, part in parts.items() if part is not None)]
        )


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What a file of weights does not say, where the reader knows it. None: the published value."""

    num_heads: int | None = None
    """Attention heads of the encoder."""
    num_frames: int | None = None
    """Frames of a clip."""
    crop_px: int | None = None
    """Side of a frame, pixels."""
    tubelet_size: int | None = None
    """Frames of a tubelet, which an image model does not have."""
    positions: Positions | None = None
    """Kind of positions; needed for V-JEPA files with a table of positions, which V-JEPA 1 uses and V-JEPA 2 does not."""
    predictor_heads: int | None = None
    """Attention heads of the predictor."""
    predictor_depth: int | None = None
    """Blocks of the predictor: the published number, or this one; with any other a block may be missing."""
    decoder_heads: int | None = None
    """Attention heads of the decoder."""
    decoder_depth: int | None = None
    """Blocks of the decoder, as of the predictor."""
    license: str | None = None
    """Of the weights: an SPDX identifier."""


def origin_of(
    container: CheckpointFile,
    format_name: str,
    options: ImportOptions,
    published: str | None,
    *,
    key: str | None = None,
    left_out: Sequence[SkippedTensors] = (),
) -> Origin:
    """Where a file's weights come from, and under which license: as given, else as the file says, else as is usual.

    Args:
        container: The file.
        format_name: As which it was read.
        options: Has the license that the user gave.
        published: The license of those who publish files of this format.
        key: The entry that the encoder was taken from.
        left_out: What was not taken.
    """
    license = published
    source: LicenseSource | None = "format" if published else None
    if container.license:
        license, source = (
            UNSTATED if container.license == "unknown" else container.license,
            "model card",
        )
    if container.note:
        license, source = container.note["license"], "note"
    if options.license:
        license, source = options.license, "given"
    return Origin(
        name=container.name,
        sha256=container.sha256,
        format=format_name,
        key=key,
        license=license,
        license_from=source,
        left_out=tuple(left_out),
        init_from=container.note["provenance"].get("init_from") if container.note else None,
    )


def num_tensors(value: object) -> int:
    """Tensors in a value of a file, however deep."""
    if isinstance(value, Tensor):
        return 1
    if isinstance(value, Mapping):
        return sum(num_tensors(item) for item in value.values())
    return sum(num_tensors(item) for item in value) if isinstance(value, (list, tuple)) else 0


def skipped_tensors(
    content: Mapping[str, Any], taken: set[str], known: Mapping[str, str], where: str
) -> list[SkippedTensors]:
    """The top-level entries of a file that are not taken.

    Args:
        content: The file's.
        taken: Entries whose tensors are used or kept.
        known: Reasons for those that hold tensors and are left out.
        where: The file, for the error.

    Raises:
        CheckpointError: An entry with tensors is in neither.
    """
    left_out = []
    for name, value in content.items():
        tensors = num_tensors(value)
        if name in taken:
            continue
        if tensors and name not in known:
            raise CheckpointError(
                f"{where}: the entry '{name}' with {tensors} tensors is not one that this format has; name the format that the "
                "file has"
            )
        why = (
            "the note of surgrec export"
            if name == NOTE
            else known.get(name, "a fact of the training")
        )
        left_out.append(SkippedTensors(name=name, why=why, tensors=tensors))
    return left_out
