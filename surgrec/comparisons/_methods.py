"""Group results by method and data set, and refuse those that cannot be paired."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from surgrec.comparisons._centers import joined_centers
from surgrec.comparisons._results import Result, read_result, result_folders
from surgrec.errors import ConfigError
from surgrec.text import counted


@dataclass(frozen=True, kw_only=True)
class Method:
    """An encoder, or several pretraining seeds of one that share a name."""

    name: str
    encoders: list[str] = field(default_factory=list)
    """SHA-256 of each encoder."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The results of all methods on one task and split by one primary classifier.

    They are restricted to the windows that all of them have. Cases of several centers are joined.
    """

    name: str
    """Task and split; with the primary classifier where several groups share them."""
    task: str
    split: str
    results: dict[str, list[Result]]
    """Results of each method, one per pretraining seed, by the name of the method."""

    @property
    def first(self) -> Result:
        """One of the results: windows, labels and classes are those of all."""
        return next(iter(self.results.values()))[0]


def read_groups(words: Sequence[str]) -> tuple[list[Method], list[Group]]:
    """Read all results.

    Args:
        words: Result folders, runs, or folders of result folders, each as FOLDER or NAME=FOLDER.
            Folders of one name are pretraining seeds of one method. Without names, an encoder is a
            method. Results of one encoder on other corpora are those of other centers.

    Raises:
        ConfigError: A folder is unfit, a result is given twice, no two methods share a task,
            split and primary classifier, or results that share them cannot be paired.
    """
    methods: dict[str, Method] = {}
    named: list[tuple[str, Result]] = []
    unnamed: dict[str, str] = {}  # name of each encoder
    for word in words:
        name, _, folder = word.rpartition("=")
        results = [read_result(each) for each in result_folders(Path(folder))]
        several = len({each.encoder_sha256 for each in results}) > 1
        if name and several:
            raise ConfigError(
                f"{name} names one encoder, but {folder} has results of several; give their "
                "folders one by one, or leave out the name"
            )
        for result in results:
            own = f"{folder}/{result.folder.name}" if several else folder
            method = name or unnamed.setdefault(result.encoder_sha256, own)
            encoders = methods.setdefault(method, Method(name=method)).encoders
            if result.encoder_sha256 not in encoders:
                encoders.append(result.encoder_sha256)
            named.append((method, result))

    found = _named_apart(_grouped(named))
    if not any(len(group.results) > 1 for group in found):
        has = "; ".join(
            f"{', '.join(g.results)}: {g.task}, split {g.split} by {g.first.primary}" for g in found
        )
        raise ConfigError(
            f"no two encoders have a task, split and primary classifier in common ({has}); "
            "evaluate them on the same task with the same split file by the same command"
        )
    return list(methods.values()), [
        replace(group, results=joined_centers(group.results)) for group in found
    ]


def _grouped(results: Sequence[tuple[str, Result]]) -> list[Group]:
    """Return the results by task, split and primary classifier.

    Probes with other classifiers, such as attentive ones, are data sets of their own. The answers
    of a model have no probe: they stand beside the encoders of each data set of their task and
    split.
    """
    groups: dict[tuple[str, str, str], Group] = {}
    for method, result in sorted(results, key=lambda each: each[1].gives_answers):
        key = (result.task, result.split, result.primary)

        # Answers of a model have no probe of their own: they join the group of every probe.
        beside = [key]
        if result.gives_answers:
            probes = [
                each
                for each, group in groups.items()
                if each[:2] == key[:2] and not group.first.gives_answers
            ]
            beside = probes or [key]

        for each in beside:
            name = f"{result.task}, split {result.split}"
            group = groups.setdefault(
                each, Group(name=name, task=result.task, split=result.split, results={})
            )
            _add(group, method, result)
    return list(groups.values())


def _named_apart(groups: Sequence[Group]) -> list[Group]:
    """Return groups with the primary classifier in the names that several share."""
    names = Counter(group.name for group in groups)
    return [
        replace(group, name=f"{group.name}, {group.first.text_of(group.first.primary)}")
        if names[group.name] > 1
        else group
        for group in groups
    ]


def _add(group: Group, method: str, result: Result) -> None:
    """Add a result to its group."""
    if group.results:
        _check_pair(group.first, result)
    others = group.results.setdefault(method, [])
    if any(
        other.encoder_sha256 == result.encoder_sha256
        and other.corpus_digests == result.corpus_digests
        for other in others
    ):
        raise ConfigError(
            f"{result.folder} and {others[0].folder} have the same encoder and task; give each "
            "result once"
        )
    others.append(result)


def _check_pair(first: Result, second: Result) -> None:
    """Raise ConfigError if predictions of two results cannot be paired."""
    differences = {
        "split files": not _have_one_split(first, second),
        "kinds of labels": first.kind.name != second.kind.name,
        "scopes of labels": first.scope != second.scope,
        "classes": first.classes != second.classes,
    }
    for what, differ in differences.items():
        if differ:
            raise ConfigError(
                f"{first.folder} and {second.folder} cannot be paired: both are named "
                f"{first.task}, split {first.split}, but have other {what} "
                f"({_numbers(first)}; {_numbers(second)}); evaluate both on the same corpus with "
                "the same split"
            )


def _have_one_split(first: Result, second: Result) -> bool:
    """Return whether two results have one split file, or one rule over the cases of two corpora."""
    if first.corpus_digests != second.corpus_digests and first.split_definition:
        return first.split_definition == second.split_definition
    return first.split_sha256 == second.split_sha256


def _numbers(result: Result) -> str:
    return (
        f"{counted(len(result.windows.label), result.unit)}, {len(result.classes)} classes, "
        f"split file {result.split_sha256[:8]}"
    )
