"""Read a split with the case of each row: from columns, from names, or from rules."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from surgrec.audit._cases import find_dataset, identify
from surgrec.audit._clips import Clip, SplitClips
from surgrec.audit._columns import Columns
from surgrec.audit._corpus import read_rules
from surgrec.audit._datasets import near_datasets
from surgrec.audit._read import read_split_files
from surgrec.errors import ConfigError, cut
from surgrec.options import refuse_unused
from surgrec.splits import is_split_file
from surgrec.text import counted, one_line


def read_split_clips(
    paths: Sequence[str],
    *,
    corpora: Sequence[str] = (),
    task: str = "",
    dataset: str = "",
    pattern: str = "",
    columns: Columns = Columns(),
    multilabel: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> SplitClips:
    """Read the rows of a split, and find the case of each.

    Args:
        paths: A YAML file of rules over cases, or the files of `read_split_files`.
        corpora: Corpora of the rules.
        task: Task of the labels in the corpora.
        dataset: Name of a published set, or a YAML file, that says where the case is in a name. It
            goes before a column of cases.
        pattern: Expression with the group `case`, instead.
        columns: Names of columns of tables.
        multilabel: Whether a clip may have several labels at once.
        tell: Called with a sentence about each file that is not UTF-8.

    Raises:
        SurgrecError: A file cannot be read, or the case of a row cannot be found.
        ConfigError: An option is given that this kind of split does not use.

    Example:
        >>> audit_split(read_split_clips(["splits/kvasir-capsule"])).failures[0].sentence
        '81 of 82 test clips are of 18 cases that train has, too'
    """
    if any(map(is_split_file, paths)):
        if len(paths) > 1:
            raise ConfigError(f"{len(paths)} files are given; give one file of rules alone")
        refuse_unused(
            f"{paths[0]}, which has rules over cases,",
            {"dataset": dataset, "pattern": pattern, "columns": columns != Columns()},
        )
        return replace(read_rules(Path(paths[0]), corpora, task), multilabel=multilabel)
    refuse_unused(
        f"{', '.join(map(str, paths))}, which names clips,",
        {"corpus": corpora, "task": task},
        "give a YAML file with rules over the cases of a corpus",
    )

    _refuse_names_of_sets(paths)
    files = read_split_files(paths, columns, tell)
    path = Path(paths[0]).resolve()
    name = path.stem if len(paths) == 1 else path.parent.name
    by_names = bool(dataset or pattern)
    by_column = not by_names and _unit_of_column(files.clips)
    if by_column:
        clips = _patients_as_cases(files.clips) if by_column == "patient" else files.clips
        rows = SplitClips(name=name, clips=clips, case_rule=f"the column {by_column} of the table")
    else:
        rows = _by_names(files.clips, name, dataset, pattern, columns)
    return replace(
        rows, multilabel=multilabel, label_names=files.label_names, digests=files.digests
    )


def _refuse_names_of_sets(paths: Sequence[str]) -> None:
    """Refuse the name of a published set in place of its split.

    Raises:
        ConfigError: Says how to write the split of the set.
    """
    for path in paths:
        is_word = len(Path(path).parts) == 1 and not Path(path).exists()
        near = near_datasets(path) if is_word else []
        if near:
            told = (
                "is the name of a published set, not a file; "
                if near[0] == path
                else f"does not exist; check the path, or if you mean the published set {near[0]}, "
            )
            raise ConfigError(
                f"{cut(path)} {told}write its split from your copy with `surgrec-shard "
                f"check-source {near[0]} DIR --write_split FILE.yaml`, and audit FILE.yaml with "
                "--corpus (`surgrec-shard check-source list` shows all sets)"
            )


def _unit_of_column(clips: Sequence[Clip]) -> Literal["case", "patient", ""]:
    """Return the column that has the case of each row; empty if no table has one.

    Raises:
        ConfigError: Some rows have a case, and others have none.
    """
    missing = [clip.path for clip in clips if not clip.case]
    if not missing:
        return "case"
    if len(missing) == len(clips):
        return "patient" if all(clip.patient for clip in clips) else ""
    raise ConfigError(
        f"the column case is empty in {counted(len(missing), 'row')} of {len(clips)}, the first "
        f"one {one_line(missing[0], 200)!r}; fill it, or give --pattern or --dataset for all rows"
    )


def _by_names(
    clips: Sequence[Clip], name: str, dataset: str, pattern: str, columns: Columns
) -> SplitClips:
    """Return the rows, completed from their names. A column of cases is not used, and this is said.

    Raises:
        ConfigError: A column of cases was named, too; or a name does not tell its case.
    """
    if columns.case:
        user = "--pattern" if pattern else "--dataset"
        refuse_unused(user, {"columns.case": columns.case}, f"leave {user} out")

    found = find_dataset(dataset, pattern, clips, name)
    option = "--pattern" if pattern else f"the data set {found.name}"
    title = f" ({found.title})" if found.title else ""
    unused = "; the column case of the table is not used" if any(c.case for c in clips) else ""
    return SplitClips(
        name=name,
        clips=identify(clips, found, option),
        case_rule=f"{found.case_is}{title}{unused}",
        dataset=found.name,
        subject_is=found.subject_is,
        subject_severity=found.subject_severity,
        subject_caveat=found.subject_caveat,
    )


def _patients_as_cases(clips: Sequence[Clip]) -> list[Clip]:
    """Return clips of tables without cases, each with its patient as the case."""
    return [
        clip._replace(case=clip.patient, video=clip.video or clip.patient, patient="")
        for clip in clips
    ]
