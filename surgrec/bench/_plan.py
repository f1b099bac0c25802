"""The steps of a benchmark: check and split, build, dedup, audit, evaluate, compare."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from surgrec_shard.presets import Preset

from surgrec.bench._choice import BenchTask
from surgrec.bench._evaluations import allowed, evaluate_step
from surgrec.bench._models import Model
from surgrec.bench._names import (
    audit_name,
    build_name,
    check_file,
    check_name,
    corpus_folder,
    dedup_file,
    dedup_name,
    evaluate_name,
    fold_names,
    results_folder,
    split_file,
)
from surgrec.bench._settings import Settings
from surgrec.bench._steps import WITH_LOSSES, Step

_MIN_CLIP_S = 0.5
"""Shortest clip of a corpus, seconds: some data sets have clips of 3 s, and no rest is lost."""

_FINDS = frozenset((0, 1))
"""Exit statuses of commands that end with 1 if they find something. A failure prints nothing."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of a benchmark but for its comparisons, which depend on the steps that succeed."""

    tasks: list[BenchTask]
    models: list[Model]
    """Encoders, then vision-language models."""
    checks: list[Step]
    """Checks of the copies and of the lists of clips: they come first."""
    work: list[Step]
    """Builds, searches, audits and evaluations, in the order in which they run."""

    @property
    def steps(self) -> list[Step]:
        """All of these steps, in order."""
        return [*self.checks, *self.work]


def plan_steps(
    tasks: Sequence[BenchTask],
    models: Sequence[Model],
    copies: Mapping[Path, str],
    settings: Settings,
) -> Plan:
    """Return the steps of a benchmark. Nothing is run.

    Args:
        tasks: The tasks; those whose card is blocked have no step.
        models: Encoders and vision-language models.
        copies: Digest of each copy of a data set.
        settings: Options of the commands.
    """
    ready = [task for task in tasks if not task.card.blocked]
    scored = [task for task in ready if task.split]

    # Tasks of one data set share its check and its build.
    checks = {step.name: step for step in (_check(task, copies) for task in scored)}
    builds = {step.name: step for step in (_build(task, copies, settings) for task in scored[::-1])}
    work: list[Step] = []

    # The build of a data set comes before its first task.
    for task in scored:
        if build := builds.pop(build_name(task), None):
            work += [build, _dedup(task, settings)]
        work.append(_audit(task, settings))
        steps = [evaluate_step(task, model, settings) for model in models]
        work += [step for step in steps if step]

    lists = [_audit_lists(task, copies) for task in ready if not task.split]
    return Plan(
        tasks=list(tasks),
        models=list(models),
        checks=[*checks.values(), *lists],
        work=work,
    )


def comparison_steps(
    results: Mapping[str, Sequence[tuple[BenchTask, Model]]],
) -> list[Step]:
    """Return one comparison for each name, of the evaluations that are done.

    Args:
        results: For each folder of a comparison, its evaluations; those of fewer than two methods
            are left out.
    """
    return [
        Step(
            name=f"compare/{name}",
            kind="compare",
            program="surgrec",
            words=(
                "compare",
                *(f"{model.method}={results_folder(task, model)}" for task, model in pairs),
                *_folds(pairs),
                *("--out", name),
            ),
            needs=tuple(evaluate_name(task, model) for task, model in pairs),
            outputs=(name,),
        )
        for name, pairs in results.items()
        if len({model.method for _, model in pairs}) > 1
    ]


def _folds(pairs: Sequence[tuple[BenchTask, Model]]) -> tuple[str, ...]:
    """Return the option that names the folds of one task, for those of which several are there."""
    tasks = {task.name: task for task, _ in pairs}.values()
    cards = [task.card.name for task in tasks]
    several = [fold_names(task) for task in tasks if cards.count(task.card.name) > 1]
    families = dict.fromkeys(",".join(names) for names in several)
    return ("--folds", json.dumps(list(families))) if families else ()


def _check(task: BenchTask, copies: Mapping[Path, str]) -> Step:
    """Return the check of a copy, which also writes the split over its cases."""
    return Step(
        name=check_name(task),
        kind="check",
        program="surgrec-shard",
        words=(
            *("check-source", task.preset, str(task.folder), "--protocol", task.split),
            *("--write_split", split_file(task), "--json", "true"),
        ),
        inputs=_copy_inputs(task, copies),
        aliases={str(task.folder): "COPY"},
        outputs=(split_file(task),),
        prints=check_file(task),
        accepted=WITH_LOSSES,
    )


def _build(task: BenchTask, copies: Mapping[Path, str], settings: Settings) -> Step:
    """Return the build of a data set. Curation is off, so that every second is kept.

    All splits of the set share the corpus: an evaluation selects cases by a file, not by the stored
    split.
    """
    rate = settings.frame_fps.get(task.data_set)
    private = str(settings.private or "private")
    return Step(
        name=build_name(task),
        kind="build",
        program="surgrec-shard",
        words=(
            # Everything that decides the corpus, and so is part of the digest of the step.
            *("build", "--preset", task.preset, "--videos", str(task.folder)),
            *("--out", corpus_folder(task)),
            *("--encode.fps", f"{settings.stored_fps:g}"),
            *("--encode.short_side_px", str(settings.short_side_px)),
            *("--encode.min_clip_s", f"{_MIN_CLIP_S:g}"),
            *(("--frame_fps", f"{rate:g}") if rate else ()),
        ),
        # These do not change the corpus.
        machine=(
            *("--private", private),
            *(("--workers", str(settings.workers)) if settings.workers else ()),
        ),
        inputs=_copy_inputs(task, copies),
        aliases={str(task.folder): "COPY"},
        needs=(check_name(task),),
        outputs=(corpus_folder(task),),
        amended_by=dedup_name(task),
        is_resumable=True,
        locks=(private,),
        accepted=WITH_LOSSES,
    )


def _dedup(task: BenchTask, settings: Settings) -> Step:
    """Return the search for videos that show the same, whose groups the audit of a split reads."""
    return Step(
        name=dedup_name(task),
        kind="dedup",
        program="surgrec-shard",
        words=(
            *("dedup", corpus_folder(task), "--write", "true"),
            *("--json", "true", "--html", dedup_file(task, "html")),
        ),
        machine=("--workers", str(settings.workers)) if settings.workers else (),
        needs=(build_name(task),),
        outputs=(corpus_folder(task), dedup_file(task, "html")),
        prints=dedup_file(task, "json"),
        is_resumable=True,
        accepted=_FINDS,
    )


def _copy_inputs(task: BenchTask, copies: Mapping[Path, str]) -> dict[str, Any]:
    return {"copy": copies[task.folder], "preset": _preset_digest(task.card.data_set)}


def _preset_digest(preset: Preset) -> str:
    return hashlib.sha256(repr(asdict(preset)).encode()).hexdigest()


def _audit(task: BenchTask, settings: Settings) -> Step:
    """Return the audit of a split over the cases of a corpus."""
    kind = task.card.kind
    return Step(
        name=audit_name(task),
        kind="audit",
        program="surgrec",
        words=(
            *("audit", split_file(task), "--corpus", corpus_folder(task)),
            *(("--task", task.card.task) if kind != "numbers" else ()),
            *(("--multilabel", "true") if kind in ("labels", "triplets") else ()),
            *allowed(settings.allow),
            *("--json", "true", "--html", f"tasks/{task.name}/audit.html"),
        ),
        needs=(check_name(task), dedup_name(task)),
        outputs=(f"tasks/{task.name}/audit.html",),
        prints=f"tasks/{task.name}/audit.json",
    )


def _audit_lists(task: BenchTask, copies: Mapping[Path, str]) -> Step:
    """Return the audit of lists of clips, which are not scored."""
    return Step(
        name=audit_name(task),
        kind="audit",
        program="surgrec",
        words=(
            *("audit", str(task.folder)),
            *("--json", "true", "--html", f"tasks/{task.name}/audit.html"),
        ),
        inputs={"copy": copies[task.folder]},
        aliases={str(task.folder): "LISTS"},
        outputs=(f"tasks/{task.name}/audit.html",),
        prints=f"tasks/{task.name}/audit.json",
        accepted=_FINDS,
    )
