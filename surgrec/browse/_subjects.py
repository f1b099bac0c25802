"""What is shown: the corpora, runs and evaluations that a command line names, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from surgrec.browse._answers import NotFoundError
from surgrec.browse._corpora import BrowsedCorpus
from surgrec.browse._evaluations import BrowsedEvaluation
from surgrec.browse._run_logs import BrowsedRun
from surgrec.comparisons import result_folders
from surgrec.errors import ConfigError
from surgrec.runs import RunFiles
from surgrec.shards import Source
from surgrec.shards.layout import CORPUS_FILE

_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class Subjects:
    """What is shown. Pages refer to each by its number in its list, never by a path."""

    corpora: list[BrowsedCorpus]
    runs: list[BrowsedRun]
    evaluations: list[BrowsedEvaluation]

    def corpus(self, number: int) -> BrowsedCorpus:
        """Return a corpus by its number, or raise NotFoundError."""
        return _numbered(self.corpora, number, "corpus")

    def run(self, number: int) -> BrowsedRun:
        """Return a run by its number, or raise NotFoundError."""
        return _numbered(self.runs, number, "run")

    def evaluation(self, number: int) -> BrowsedEvaluation:
        """Return an evaluation by its number, or raise NotFoundError."""
        return _numbered(self.evaluations, number, "evaluation")

    def all_sources(self) -> dict[str, Source]:
        """Return the sources of all corpora by name, as a run draws from them.

        Raises:
            ConfigError: There is no corpus, or two have a source of the same name.
        """
        if not self.corpora:
            raise ConfigError(
                "no corpus was named, so there is nothing to mix; start `surgrec browse` with "
                "one or several corpora"
            )

        # A run draws from sources by name, so no name may occur twice.
        owners: dict[str, str] = {}
        for corpus in self.corpora:
            for name in corpus.sources:
                if name in owners:
                    raise ConfigError(
                        f"the source {name} is in both {owners[name]} and {corpus.address}, so no "
                        "run can draw from both; start `surgrec browse` with one of them"
                    )
                owners[name] = corpus.address
        return {name: source for each in self.corpora for name, source in each.sources.items()}

    def find(self, source: str, video: str, time_s: float) -> list[int] | None:
        """Return the numbers of the corpus and of the clip that show a moment; None: none does."""
        for number, corpus in enumerate(self.corpora):
            if source in corpus.sources:
                clip = corpus.at(source, video, time_s)
                if clip is not None:
                    return [number, clip]
        return None


def open_subjects(addresses: Sequence[str]) -> Subjects:
    """Open what a command line names.

    Args:
        addresses: Corpora (folders or `s3://bucket/prefix`), run folders, and result folders of
            evaluations or folders of them. The evaluations of a run are shown with it.

    Raises:
        ConfigError: A folder is none of these, or a run is given as a corpus.
        ShardError: A corpus is damaged.
        StorageError: A store does not answer.

    Example:
        >>> open_subjects(["/data/corpus", "runs/a"]).corpora[0].clips.num_rows
        184498
    """
    subjects = Subjects(corpora=[], runs=[], evaluations=[])
    for address in dict.fromkeys(addresses):
        if address.startswith("s3://") or (Path(address).expanduser() / CORPUS_FILE).exists():
            subjects.corpora.append(BrowsedCorpus(address))
            continue

        folder = Path(address).expanduser()
        files = RunFiles(folder)
        is_run = any(path.exists() for path in (files.config, files.plan, files.metrics))
        if is_run:
            subjects.runs.append(BrowsedRun(str(folder)))
        subjects.evaluations.extend(
            BrowsedEvaluation(str(each), folder) for each in _results(folder, is_run=is_run)
        )
    return subjects


def _results(folder: Path, *, is_run: bool) -> list[Path]:
    try:
        return result_folders(folder)
    except ConfigError:
        if is_run:
            return []
        raise ConfigError(
            f"{folder} is not a corpus ({CORPUS_FILE}) or a run (config.yaml, metrics.jsonl), and "
            "has no evaluation (evaluation.json); give folders of these, or s3://bucket/prefix"
        ) from None


def _numbered(items: Sequence[_Item], number: int, kind: str) -> _Item:
    if not 0 <= number < len(items):
        raise NotFoundError(f"there is no {kind} {number}")
    return items[number]
