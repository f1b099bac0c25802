"""Types of the provenance in an encoder file: how its weights were made.

Only the values that SurgRec reads are declared. A file keeps all others.
"""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta


class OriginRecord(TypedDict, total=False):
    """`init_from`: the weights that a training or an import started from."""

    name: str
    sha256: str
    license: str | None
    license_from: str | None


class GivenOptions(TypedDict):
    """Format and license as the user gave them."""

    format: str
    license: str | None


class InitRecord(TypedDict):
    """`init_from` in the identity of a run."""

    name: str
    sha256: str
    given: NotRequired[GivenOptions]


class StageRecord(TypedDict):
    """Levels and weights of a mixture, from a mixing block on."""

    levels: list[dict[str, Any]]


class MixtureRecord(TypedDict):
    """The mixture that a run drew from."""

    splits: list[str]
    min_duration_s: float
    stages: list[StageRecord]


class SourceRecord(TypedDict):
    """A source that a run drew from."""

    digest: str
    rows: str


class OrderRecord(TypedDict):
    """The order of a run's samples."""

    mixture: MixtureRecord
    sources: dict[str, SourceRecord]


class ConfigRecord(TypedDict, total=False):
    """The config of a recipe."""

    sampling_fps: Annotated[float, Meta(gt=0, le=1000)] | None
    objective: dict[str, Any]


class Provenance(TypedDict, total=False):
    """How weights were made. A run records all fields, an import some.

    `surgrec.runs.pretraining_data` reads the content of `drawn`.
    """

    recipe: str
    versions: dict[str, int]
    order: OrderRecord
    config: ConfigRecord
    init_from: OriginRecord | None
    step: Annotated[int, Meta(ge=0)]
    consumed: dict[str, int]
    surgrec: str
    drawn: dict[str, Any] | None


class TunedRecord(TypedDict):
    """Changes of the optimizer at a resume."""

    step: Annotated[int, Meta(ge=0)]
    changed: list[str]


class RunIdentity(TypedDict):
    """The values that a run and its resumption share."""

    recipe: str
    versions: NotRequired[dict[str, int]]
    order: OrderRecord
    config: dict[str, Any]
    init_from: InitRecord | None
    tuned: NotRequired[list[TunedRecord]]


class RunProvenance(TypedDict):
    """The values that a run always records with its weights, besides those of `Provenance`."""

    order: OrderRecord
    init_from: OriginRecord | None
    consumed: dict[str, int]
