"""Compare methods by the predictions of their evaluations."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from surgrec.comparisons._center_pairs import pair_within_centers
from surgrec.comparisons._folds import fold_means
from surgrec.comparisons._kinds import Scored
from surgrec.comparisons._methods import Group, read_groups
from surgrec.comparisons._pairs import classifiers_of, correct, pair_methods, rank_methods
from surgrec.comparisons._records import Comparison, DataSet, FoldMean, counted_once
from surgrec.comparisons._results import Result
from surgrec.comparisons._rows import baseline_rows, method_rows
from surgrec.scores.units import Units, grouped_units
from surgrec.text import counted


def compare(words: Sequence[str], folds: Sequence[Sequence[str]] = ()) -> Comparison:
    """Compare the encoders of result folders.

    Args:
        words: Result folders or runs, each as FOLDER or NAME=FOLDER (see `read_groups`).
        folds: Names of splits that are folds of one task; several such lists for several tasks.
            Scores of a task are then also the means over its folds, by which methods are compared.

    Raises:
        ConfigError: A folder is unfit, or results cannot be paired.

    Example:
        >>> compare(["runs/a", "runs/b"]).standings["knn"][0].rank
        1.0
    """
    methods, groups = read_groups(words)
    data_sets = [_data_set(group, [method.name for method in methods]) for group in groups]
    means, not_independent = fold_means(data_sets, folds)
    # Corrected are the pairs that count: those of a task with folds once.
    entries = correct(counted_once(data_sets, means))
    means = [each for each in entries if isinstance(each, FoldMean)]
    corrected = {id(each.group): each for each in entries if isinstance(each, DataSet)}
    data_sets = [corrected.get(id(each.group)) or replace(each, pairs=[]) for each in data_sets]
    left_out = [
        f"{data_set.name}: {row.method}, {row.features}, {row.classifier} predicts the same for "
        "all windows; no mean, rank, pair or correction includes it"
        for data_set in data_sets
        for row in data_set.rows
        if row.degenerate and row.method
    ]
    return Comparison(
        methods=methods,
        data_sets=data_sets,
        folds=means,
        standings={
            classifier: rank_methods(methods, entries, classifier)
            for classifier in classifiers_of(entries)
        },
        left_out=[*not_independent, *left_out, *_windows_left_out(groups)],
        overrides=[
            f"{method}, {group.name}: {sentence}"
            for group in groups
            for method, results in group.results.items()
            for sentence in dict.fromkeys(each for r in results for each in r.overrides)
        ],
    )


def _windows_left_out(groups: Sequence[Group]) -> list[str]:
    """Return a sentence for each result with windows that others of its group lack."""
    sentences = [
        f"{group.name}: {counted(len(result.windows.label), result.unit)} "
        f"compared, {result.windows_left_out} of {method} left out (and "
        f"{counted(result.cases_left_out, 'whole case')}), as another result lacks their times"
        for group in groups
        for method, results in group.results.items()
        for result in results
        if result.windows_left_out
    ]
    return list(dict.fromkeys(sentences))


def _data_set(group: Group, methods: Sequence[str]) -> DataSet:
    """Score all methods of a group, and compare each two."""
    first = group.first
    windows = first.windows
    cases, case = np.unique(windows.case_names, return_inverse=True)
    videos = [f"{s}/{v}" for s, v in zip(windows.source, windows.video, strict=True)]
    video_names, video = np.unique(videos, return_inverse=True)
    scored = Scored(
        case=case.astype(np.int64),
        num_cases=len(cases),
        video=video.astype(np.int64),
        video_names=video_names.tolist(),
        time_s=windows.time_s,
        stride_s=windows.stride_s,
        classes=first.classes,
    )

    units = _units(group, [str(each) for each in cases])
    center_of = _centers(group)
    rows = []
    for method in methods:
        if method in group.results:
            rows += method_rows(method, group, scored, units)
    rows += baseline_rows(group, scored, units)
    return DataSet(
        name=group.name,
        groups=[group],
        kind=first.kind,
        scored=scored,
        units=units,
        cases=[str(each) for each in cases],
        windows=windows,
        classes=first.classes,
        primary=first.primary,
        rows=rows,
        num_windows=len(windows.label),
        pairs=pair_methods(group.name, rows, units),
        center_pairs=pair_within_centers(
            [row for row in rows if row.compared_as == first.primary],
            units,
            [center_of[str(each)] for each in cases] if center_of else [],
        ),
        center_of=center_of,
    )


def _centers(group: Group) -> dict[str, str]:
    """Return the center of each case as its number; nothing if centers are unknown."""
    results = [each for seeds in group.results.values() for each in seeds]
    named = [_named_centers(each) for each in results if each.unit_levels is not None]
    found = dict(named[0]) if named else {}
    # Cases that the first result lacks, by the numbers of the first.
    for other in named[1:]:
        numbers = {center: found[case] for case, center in other.items() if case in found}
        found |= {
            case: numbers[center]
            for case, center in other.items()
            if case not in found and center in numbers
        }
    return found


def _named_centers(result: Result) -> dict[str, str]:
    """Return the center of each case of a result; nothing if its centers are unknown."""
    centers = (result.unit_levels or {}).get("centers", {})
    return result.center_names or {case: str(each + 1) for case, each in centers.items()}


def _units(group: Group, cases: list[str]) -> Units:
    """Return the units that an evaluation of the group names, else the cases."""
    results = [each for seeds in group.results.values() for each in seeds]
    known = next((each.unit_levels for each in results if each.unit_levels is not None), {})
    levels = {name: [str(level[case]) for case in cases] for name, level in known.items()}
    return grouped_units(levels, cases)
