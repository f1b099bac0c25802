"""The tasks, copies of data sets and encoders of a benchmark, from the options of its command."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from surgrec.encoders import TIMM, is_preset, near_presets, read_preset
from surgrec.errors import ConfigError, ManifestError, MissingError, cut, reason
from surgrec.storage import file_sha256
from surgrec.tasks import TaskCard
from surgrec.video_folder import files_below

ENCODER_FILE = "encoder.safetensors"
"""Name of the encoder file in the folder of a run."""
_WITHOUT_WEIGHTS = "pixels"
"""Reader of a preset that has no weights."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class BenchTask:
    """A card, with one of its splits and the user's copy of its data set."""

    card: TaskCard
    split: str
    """A split of the preset. Empty: the card names lists of clips instead."""
    folder: Path
    """The copy of the data set, or the folder of the lists."""

    @property
    def data_set(self) -> str:
        """Name of the data set, also in the names of folders."""
        return self.card.data_set.name

    @property
    def preset(self) -> str:
        """Name of the preset, or the absolute path of a user's file."""
        name = self.card.preset
        return str(Path(name).absolute()) if name.endswith((".yaml", ".yml")) else name

    @property
    def name(self) -> str:
        """Name of the task, with the split if the card has several."""
        return (
            f"{self.card.name}-{self.split}" if len(self.card.split.names) > 1 else self.card.name
        )


@dataclass(frozen=True, kw_only=True)
class BenchEncoder:
    """One encoder. Several of one method are its pretraining seeds."""

    method: str
    """Name in tables."""
    name: str
    """Name of folders: the method, with a number from the second encoder on."""
    path: str
    """Run, encoder file or preset."""
    weights: Path | None = None
    """File of a preset's weights."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the encoder file, or of the preset and its weights.

        Raises:
            SurgrecError: There is no such encoder.
        """
        if not self.is_named:
            return file_sha256(self.file)

        # A preset has no file of its own: its facts and its weights identify it.
        facts = self.path if self.path.startswith(TIMM) else asdict(read_preset(self.path))
        needs_weights = isinstance(facts, str) or facts["reader"] != _WITHOUT_WEIGHTS
        if self.weights is None and needs_weights:
            raise ConfigError(
                f"the encoder {self.method} is the preset {self.path}, and it has no weights; give "
                f"--weights {self.method}=FILE"
            )

        try:
            weights = file_sha256(self.weights) if self.weights else ""
        except OSError as error:
            raise MissingError(
                f"--weights {self.method}={self.weights} cannot be read ({reason(error)}); give "
                "the local file of the weights"
            ) from None

        text = json.dumps([facts, weights], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def file(self) -> Path:
        """The encoder file.

        Raises:
            MissingError: There is none.
        """
        path = Path(self.path)
        file = path / ENCODER_FILE if path.is_dir() else path
        if not file.is_file():
            near = near_presets(self.path)
            meant = f"did you mean {' or '.join(near)}?" if near else "correct --encoders"
            raise MissingError(
                f"the encoder {self.method} is {path}, which is not an encoder file, a run with "
                f"{ENCODER_FILE} or a preset (`surgrec encoders` lists them); {meant}"
            )
        return file

    @property
    def is_named(self) -> bool:
        """Return whether this is a preset, which `surgrec evaluate` takes as it is written."""
        is_file = Path(self.path).exists() and not self.path.endswith(".yaml")
        return is_preset(self.path) and not is_file


def named_values(
    words: Sequence[str], option: str, value: str, *, pattern: re.Pattern[str] = _NAME
) -> list[tuple[str, str]]:
    """Return the pairs of words `NAME=VALUE`.

    Args:
        words: The words.
        option: Their option, for messages.
        value: Meaning of the values, for messages.
        pattern: The names that are accepted; by default those of folders.

    Raises:
        ConfigError: A word is no such pair, or a name does not match.
    """
    pairs = []
    for word in words:
        name, sign, found = word.partition("=")
        if not (sign and name and found):
            raise ConfigError(f"{option} has {cut(word)!r}; give NAME={value}")
        if not pattern.fullmatch(name):
            raise ConfigError(
                f"{option} has the name {cut(name)!r}; use letters, digits and "
                f"{'._-' if pattern is _NAME else '._:/@+-'}"
            )
        pairs.append((name, found))
    return pairs


def choose_encoders(words: Sequence[str], weights: Sequence[str] = ()) -> list[BenchEncoder]:
    """Return the encoders that `NAME=RUN_OR_PRESET` words name.

    Raises:
        ConfigError: A word is wrong, there is none, an encoder is given twice, or weights have no
            encoder.
        MissingError: An encoder does not exist.
    """
    files = dict(named_values(weights, "--weights", "FILE"))
    encoders: list[BenchEncoder] = []
    for method, path in named_values(words, "--encoders", "RUN_OR_PRESET"):
        number = 1 + sum(each.method == method for each in encoders)
        file = files.get(method)
        encoder = BenchEncoder(
            method=method,
            name=method if number == 1 else f"{method}.{number}",
            path=path,
            weights=Path(file).absolute() if file else None,
        )
        if not encoder.is_named:
            encoder = BenchEncoder(
                method=method, name=encoder.name, path=str(Path(path).absolute())
            )
        encoders.append(encoder)
    if not encoders:
        raise ConfigError("give one or several encoders with --encoders NAME=RUN_OR_PRESET")

    unused = files.keys() - {each.method for each in encoders}
    if unused:
        raise ConfigError(
            f"--weights names {min(unused)!r}, which is not in --encoders; correct it"
        )
    by_digest: dict[str, str] = {}
    for encoder in encoders:
        if encoder.digest in by_digest:
            raise ConfigError(
                f"{encoder.name} and {by_digest[encoder.digest]} are the same encoder; give it once"
            )
        by_digest[encoder.digest] = encoder.name
    return encoders


def choose_tasks(
    cards: Sequence[TaskCard],
    *,
    root: Path | None,
    sources: Sequence[str] = (),
    legacy_splits: Path | None = None,
) -> list[BenchTask]:
    """Return the tasks of cards, each with its copy: one for each fold of a card with folds.

    Args:
        cards: The cards.
        root: Folder with a copy of each data set, under the name of its preset.
        sources: `PRESET=PATH`: copies in other places.
        legacy_splits: Folder with the lists of clips of legacy cards, under their names.

    Raises:
        ConfigError: A copy or the lists of a legacy card have no place, or a word names a preset of
            no card.
    """
    paths = dict(named_values(sources, "--sources", "PATH"))
    unused = paths.keys() - {card.data_set.name for card in cards}
    if unused:
        raise ConfigError(
            f"--sources names {min(unused)!r}, which no task uses; the tasks use "
            f"{', '.join(sorted({card.data_set.name for card in cards}))}"
        )

    _require_one_preset_a_name(cards)
    tasks = []
    for card in cards:
        if card.legacy:
            tasks.append(
                BenchTask(card=card, split="", folder=_lists_of_clips(card, legacy_splits))
            )
            continue
        data_set = card.data_set.name
        if not card.data_set.public:
            raise ConfigError(
                f"{card.name}: the preset {card.preset} has `public: false`, so its corpus has "
                "pseudonyms, but the split of a benchmark lists the names of cases in the copy; "
                "set `public: true` if these names are no secret, or run `surgrec evaluate` with "
                "a split over the cases of a corpus"
            )
        if data_set in paths:
            folder = Path(paths[data_set])
        elif root is not None:
            folder = root / data_set
        else:
            raise ConfigError(
                f"{card.name} needs a copy of {data_set}; give --root DIR, which holds it as "
                f"DIR/{data_set}, or --sources {data_set}=PATH"
            )
        tasks += [
            BenchTask(card=card, split=split, folder=folder.absolute())
            for split in card.split.names
        ]
    return tasks


def _lists_of_clips(card: TaskCard, folder: Path | None) -> Path:
    """Return the folder with the lists of clips of a legacy card."""
    lists = folder.absolute() / card.split.files if folder else None
    if lists is None or not lists.is_dir():
        raise ConfigError(
            f"{card.name} needs the lists of clips of its release"
            f"{f', but {lists} is not a folder' if lists else ''}; give --legacy_splits DIR, which "
            f"holds them as DIR/{card.split.files}"
        )
    return lists


def _require_one_preset_a_name(cards: Sequence[TaskCard]) -> None:
    """Refuse two presets of one name: they would share folders."""
    presets: dict[str, str] = {}
    for card in cards:
        first = presets.setdefault(card.data_set.name, card.preset)
        if first != card.preset:
            raise ConfigError(
                f"the presets {first} and {card.preset} both have the name {card.data_set.name}; "
                "give one of them another name"
            )


def copy_digest(folder: Path) -> str:
    """Return a digest of the names, sizes and times of all files below a folder.

    It is empty if there is no such folder.
    """
    try:
        paths = files_below(folder).paths
    except ManifestError:
        return ""
    rows = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # a broken link: the check of the copy names it
            rows.append((str(path.relative_to(folder)), -1, -1))
            continue
        rows.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


def copy_digests(tasks: Sequence[BenchTask]) -> dict[Path, str]:
    """Return the digest of each copy that tasks use."""
    return {folder: copy_digest(folder) for folder in {task.folder for task in tasks}}
